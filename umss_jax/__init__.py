"""Unsupervised choir separation with a fully differentiable source-filter model, in JAX/Flax."""

__version__ = "0.1.0"
