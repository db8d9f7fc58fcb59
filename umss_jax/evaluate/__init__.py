"""Evaluation: measures, baselines, the protocol, tables."""
