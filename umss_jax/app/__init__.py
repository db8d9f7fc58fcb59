"""A page on this computer: recordings in by drag and drop, players and files out."""
