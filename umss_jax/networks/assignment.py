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
from umss_jax.networks.conv import (
    Conv,
    ConvWeights,
    StoredNorm,
    conv_blocks,
    conv_with_bias,
    over_batch,
)
from umss_jax.networks.frequency_conv import direct_conv

_COMMON = ((3, 3, 32), (3, 3, 32), (70, 3, 16), (70, 3, 16))
_VOICE_KERNEL = (3, 3, 16, 16)


class VoasNetwork(nn.Module):
    """What both networks share: normalisation, common blocks, and then a part for each voice.

    Parameters: ``input_norm``, ``block_1`` … ``block_4``, and one group for each voice: of
    four by the names of the usual ones, else ``voice_1`` …
    """

    config: ConvConfig = ConvConfig()
    voices: int = len(VOICES)

    @nn.compact
    def __call__(self, salience: jax.Array) -> jax.Array:
        """Salience of the mixture [B, 360, T] to those of the voices [B, J, 360, T], in (0, 1)."""
        return over_batch(self, type(self)._compute, salience, config=self.config)

    def _compute(self, salience: jax.Array) -> jax.Array:
        x = StoredNorm(self.config, name="input_norm")(salience[..., None])
        x = conv_blocks(x, _COMMON, self.config)
        return jnp.stack(self._voices(x), axis=1)

    def _groups(self) -> tuple[str, ...]:
        """What the parameters of each voice are called."""
        if self.voices == len(VOICES):
            return VOICES
        return tuple(f"voice_{number}" for number in range(1, self.voices + 1))

    def _voices(self, x: jax.Array) -> list[jax.Array]:
        """The output of every voice, [B, 360, T] each, from the common blocks' channels."""
        raise NotImplementedError


class _FirstBlock(nn.Module):
    config: ConvConfig

    def setup(self) -> None:
        self.conv = ConvWeights(_VOICE_KERNEL)
        self.norm = StoredNorm(self.config)


class _CnnVoice(nn.Module):
    """The part of one voice of `VoasCnn`; its first convolution is done for all voices at once."""

    config: ConvConfig

    def setup(self) -> None:
        taps_f, taps_t, _, channels = _VOICE_KERNEL
        self.block_1 = _FirstBlock(self.config)
        self.conv_2 = Conv((taps_f, taps_t, channels), self.config)
        self.output = Conv((1, 1, 1), self.config)

    def first_weights(self) -> tuple[jax.Array, jax.Array]:
        return self.block_1.conv()

    def __call__(self, convolved: jax.Array) -> jax.Array:
        x = self.block_1.norm(jax.nn.relu(convolved))
        x = jax.nn.relu(self.conv_2(x))
        return jax.nn.sigmoid(self.output(x)[..., 0])


class VoasCnn(VoasNetwork):
    """VoasCNN: common blocks, then three convolutions per voice (189 830 parameters).

    Parameters of each voice: ``block_1``, ``conv_2``, ``output``.
    """

    def _voices(self, x: jax.Array) -> list[jax.Array]:
        voices = [_CnnVoice(self.config, name=group) for group in self._groups()]
        # One convolution for all that share their input: wider ones are faster.
        kernels, biases = zip(*(voice.first_weights() for voice in voices), strict=True)
        kernel, bias = jnp.concatenate(kernels, axis=-1), jnp.concatenate(biases)
        first = jnp.split(conv_with_bias(x, kernel, bias, self.config), len(voices), axis=-1)
        return [voice(convolved) for voice, convolved in zip(voices, first, strict=True)]


def conv_lstm(
    x: jax.Array, input_kernel: jax.Array, recurrent_kernel: jax.Array, bias: jax.Array
) -> jax.Array:
    """Run Keras 2's ConvLSTM2D over time on an image that is one column wide.

    Gates in the order input, forget, cell, output; gates by Keras 2's hard sigmoid,
    clip(0.2 x + 0.5, 0, 1), cell and output by tanh; 'same' padding in both convolutions, zero
    initial state. (Keras 3 redefined the hard sigmoid; the published file is of Keras 2.4.) With
    one column only the middle column of the kernels ever meets data.

    A sequence of T images of F × 1, [B, F, T, C], kernels [k_f, k_w, C or H, 4 H] and bias [4 H]
    give [B, F, T, H], the output of every time step.
    """
    middle = (input_kernel.shape[1] - 1) // 2
    channels = recurrent_kernel.shape[2]
    inputs = direct_conv(x, input_kernel[:, middle : middle + 1]) + bias.reshape(1, 1, 1, -1)
    recurrent = recurrent_kernel[:, middle : middle + 1]

    def step(
        state: tuple[jax.Array, jax.Array], inputs_t: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        output, cell = state
        gates = inputs_t + direct_conv(output[:, :, None], recurrent)[:, :, 0]
        input_gate, forget_gate, candidate, output_gate = jnp.split(gates, 4, axis=-1)
        cell = _hard_sigmoid(forget_gate) * cell + _hard_sigmoid(input_gate) * jnp.tanh(candidate)
        output = _hard_sigmoid(output_gate) * jnp.tanh(cell)
        return (output, cell), output

    zeros = jnp.zeros((*x.shape[:2], channels), x.dtype)
    _, outputs = jax.lax.scan(step, (zeros, zeros), jnp.moveaxis(inputs, 2, 0))
    return jnp.moveaxis(outputs, 0, 2)


def _hard_sigmoid(x: jax.Array) -> jax.Array:
    return jnp.clip(0.2 * x + 0.5, 0.0, 1.0)


class ConvLstm(nn.Module):
    """Convolutional LSTM over time whose images are one column of pitch bins (see `conv_lstm`)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B, F, T, C] to [B, F, T, 32]."""
        glorot, (taps_f, taps_w, channels) = nn.initializers.glorot_uniform(), (3, 7, 32)
        shape = (taps_f, taps_w, x.shape[-1], 4 * channels)
        input_kernel = self.param("input_kernel", glorot, shape)
        shape = (taps_f, taps_w, channels, 4 * channels)
        recurrent_kernel = self.param("recurrent_kernel", glorot, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        return conv_lstm(x, input_kernel, recurrent_kernel, bias)


class _ClstmVoice(nn.Module):
    """The part of one voice of `VoasClstm`."""

    config: ConvConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = ConvLstm(name="lstm_1")(x)
        x = ConvLstm(name="lstm_2")(x)
        return jax.nn.sigmoid(Conv((1, 1, 1), self.config, name="output")(x)[..., 0])


class VoasClstm(VoasNetwork):
    """VoasCLSTM: the common blocks of `VoasCnn`, then two convolutional LSTMs per voice.

    Parameters of each voice: ``lstm_1`` and ``lstm_2`` (``input_kernel``, ``recurrent_kernel``,
    ``bias``) and ``output``.
    """

    def _voices(self, x: jax.Array) -> list[jax.Array]:
        return [_ClstmVoice(self.config, name=group)(x) for group in self._groups()]
