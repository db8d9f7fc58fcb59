"""Recordings on disk: reading, resampling, cutting into segments, keeping decoded audio."""
