"""How exactly each kind of product is made: asked for here, and nowhere else.

On a CPU all products of float32 are made in float32, whatever is asked. GPUs and TPUs multiply
faster what is rounded first: ``HIGH`` is TF32 (10 bits) on NVIDIA's tensor cores and three products
of bfloat16 on a TPU, ``HIGHEST`` float32. Sums are in float32 always. What the rounding does to
each stage is in ``experiments/benchmarks/README.md``.
"""

from __future__ import annotations

import os

from jax.lax import Precision

TENSOR_CORES = "UMSS_JAX_TENSOR_CORES"
"""The variable that is ``off`` where networks too shall multiply in float32."""

_NETWORKS = Precision.HIGHEST if os.environ.get(TENSOR_CORES) == "off" else Precision.HIGH

CONVOLUTIONS = _NETWORKS
"""Of the networks, and of their transforms along frequency."""

DENSE = _NETWORKS
"""Dense layers, and the products of recurrent layers with their inputs."""

OUTPUTS = Precision.HIGHEST
"""Layers whose results are physical: amplitudes, gains, filters."""

RECURRENCES = Precision.HIGHEST
"""Products of a state with itself, step after step."""

SIGNALS = Precision.HIGHEST
"""Resampling, HCQT, filters, interpolation of F0: phases hang on them."""
