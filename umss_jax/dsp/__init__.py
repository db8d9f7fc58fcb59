"""Signal processing: transforms, filters, windows and masks. Pure functions, no parameters."""
