"""Multi-F0 salience networks on HCQT magnitude and phase difference.

Cuesta, McFee and Gómez, "Multiple F0 estimation in vocal ensembles using convolutional neural
networks", ISMIR 2020; layers after ``models.py`` of github helenacuesta/
multif0-estimation-polyvocals (`LateDeep` is its model 3). Kernel sizes are frequency × time ×
output channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from umss_jax.config import ConvConfig
from umss_jax.networks.conv import Conv, KernelSizes, StoredNorm, conv_blocks, over_batch

_FEATURES = ("magnitude", "phase")
_FIRST: KernelSizes = ((5, 5, 16),)
_MIDDLE: KernelSizes = ((5, 5, 32), (5, 5, 32), (5, 5, 32), (70, 3, 32), (70, 3, 32))
_DEEP: KernelSizes = ((3, 3, 64), (3, 3, 64))
_DISTRIBUTION: KernelSizes = ((360, 1, 8),)


class _Blocks(nn.Module):
    """Blocks of one branch, which normalises its input, or of all branches' channels."""

    kernel_sizes: KernelSizes
    config: ConvConfig
    is_branch: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.is_branch:
            x = StoredNorm(self.config, name="input_norm")(x)
        return conv_blocks(x, self.kernel_sizes, self.config)


class SalienceNetwork(nn.Module):
    """One convolutional branch per feature, their channels side by side, then common blocks.

    Parameters: ``magnitude`` (and ``phase``) each with ``input_norm`` and ``block_N``; ``merged``
    with ``block_N``; ``output``.

    ``branch`` and ``merged`` are the kernel sizes of the blocks before and after concatenation.
    """

    branch: KernelSizes
    merged: KernelSizes
    with_phase: bool = True
    config: ConvConfig = ConvConfig()

    @nn.compact
    def __call__(
        self, features_magnitude: jax.Array, features_phase: jax.Array | None = None
    ) -> jax.Array:
        """The salience of every pitch bin and frame, [B, 360, T] in (0, 1).

        Args:
            features_magnitude: [B, 5, 360, T], dB relative to the maximum.
            features_phase: [B, 5, 360, T], differences of the unwrapped phase in radians; absent
                for the networks without phase.

        Raises:
            ValueError: features are missing, superfluous or of different shapes.
        """
        features = [features_magnitude]
        if self.with_phase:
            if features_phase is None or features_phase.shape != features_magnitude.shape:
                raise ValueError("the phase features must have the shape of the magnitude features")
            features.append(features_phase)
        elif features_phase is not None:
            raise ValueError("this network takes no phase features")
        return over_batch(self, SalienceNetwork._compute, *features, config=self.config)

    def _compute(self, *features: jax.Array) -> jax.Array:
        branches = [
            _Blocks(self.branch, self.config, True, name=name)(jnp.moveaxis(feature, 1, -1))
            for name, feature in zip(_FEATURES, features, strict=False)
        ]
        x = jnp.concatenate(branches, axis=-1)
        x = _Blocks(self.merged, self.config, False, name="merged")(x)
        return jax.nn.sigmoid(Conv((1, 1, 1), self.config, name="output")(x)[..., 0])


class LateDeep(SalienceNetwork):
    """Late/Deep: the branches stay apart through both long filters (1 251 701 parameters)."""

    branch: KernelSizes = (*_FIRST, *_MIDDLE)
    merged: KernelSizes = (*_DEEP, *_DISTRIBUTION)


class LateDeepMagnitude(LateDeep):
    """Late/Deep without phase: the magnitude branch alone."""

    with_phase: bool = False


class EarlyDeep(SalienceNetwork):
    """Early/Deep: the branches join after their first block."""

    branch: KernelSizes = _FIRST
    merged: KernelSizes = (*_MIDDLE, *_DEEP, *_DISTRIBUTION)


class EarlyShallow(SalienceNetwork):
    """Early/Shallow: as Early/Deep, without the two 3×3×64 blocks."""

    branch: KernelSizes = _FIRST
    merged: KernelSizes = (*_MIDDLE, *_DISTRIBUTION)
