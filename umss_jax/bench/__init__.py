"""Measuring speed and memory of every stage and strategy."""
