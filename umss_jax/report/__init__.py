"""Pages to listen to: of a separation, or of an evaluation."""
