"""Stored weights: trees, the store, combinations, downloads."""
