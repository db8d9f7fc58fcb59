"""Experiments: scripts that use the package as anybody would."""
