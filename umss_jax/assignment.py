"""Voice assignment networks: from the salience of the mixture to one salience per voice.

Cuesta and Gómez, "Voice assignment in vocal quartets using deep learning models based on pitch
salience", TISMIR 2022; layers after ``voas/models.py`` of github helenacuesta/voas-vocal-quartets.
Kernel sizes are frequency × time × output channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from umss_jax.config import VOICES, ConvConfig
from umss_jax.conv_block import Conv, StoredNorm, conv_blocks

_COMMON = ((3, 3, 32), (3, 3, 32), (70, 3, 16), (70, 3, 16))


class _CnnVoice(nn.Module):
    """The part of one voice of `VoasCnn`."""

    config: ConvConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = conv_blocks(x, ((3, 3, 16),), self.config)
        x = jax.nn.relu(Conv((3, 3, 16), self.config, name="conv_2")(x))
        return jax.nn.sigmoid(Conv((1, 1, 1), self.config, name="output")(x)[..., 0])


class VoasCnn(nn.Module):
    """VoasCNN: common blocks, then three convolutions per voice (189 830 parameters).

    Parameters: ``input_norm``, ``block_1`` … ``block_4``, and for each voice ``block_1``,
    ``conv_2``, ``output``.
    """

    config: ConvConfig = ConvConfig()

    @nn.compact
    def __call__(self, salience: jax.Array) -> jax.Array:
        """Assign the salience of the mixture to voices.

        Args:
            salience: [B, 360, T], in (0, 1).

        Returns:
            [B, J, 360, T], in (0, 1), voices in the order of ``config.VOICES``.
        """
        x = StoredNorm(self.config, name="input_norm")(salience[..., None])
        x = conv_blocks(x, _COMMON, self.config)
        return jnp.stack([_CnnVoice(self.config, name=voice)(x) for voice in VOICES], axis=1)
