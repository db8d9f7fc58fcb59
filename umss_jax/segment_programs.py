"""The programs that are run on segments: pure functions of variables and arrays, compiled once.

Engines of equal settings share them, so that an adapted one needs no compilation. The model, and
all networks with it, is imported as they are traced: a program that was kept needs none.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax

from umss_jax.config import ModelConfig

if TYPE_CHECKING:
    from umss_jax import model

_jit = functools.partial(jax.jit, static_argnames="config")


@_jit
def salience_program(
    variables: model.Variables, mixture: jax.Array, config: ModelConfig
) -> jax.Array:
    """Multi-F0 salience ``[B, 360, frames]`` of mixtures ``[B, S]``."""
    from umss_jax import model

    heard = _without_strokes(mixture, config)
    return model.estimate_salience(variables, model.features(heard, config), config)


@_jit
def analysis_program(
    variables: model.Variables, mixture: jax.Array, config: ModelConfig
) -> model.Analysis:
    """Salience and F0 of mixtures ``[B, S]``, and what is assigned where F0 are found jointly."""
    from umss_jax import model

    analysis = model.analyse(variables, _without_strokes(mixture, config), config)
    assigned = analysis.assigned if config.f0.jointly else None
    return analysis._replace(features=None, assigned=assigned, binary=None)


@_jit
def voices_program(
    variables: model.Variables,
    mixture: jax.Array,
    channels: jax.Array,
    seeds: jax.Array,
    f0_hz_synth: jax.Array | None,
    config: ModelConfig,
) -> model.Separated:
    """Stems of channels ``[B, C, S]``, from F0 that are known or found here, and all between."""
    from umss_jax import model

    mixture, channels = (_without_strokes(one, config) for one in (mixture, channels))
    if f0_hz_synth is None:
        analysis = model.analyse(variables, mixture, config)
    else:
        analysis = model.given_f0(f0_hz_synth, config)
    return model.separate(variables, mixture, channels, analysis, seeds, config)


@_jit
def remainders_program(
    variables: model.Variables, mixture: jax.Array, f0_hz: jax.Array, config: ModelConfig
) -> jax.Array:
    """The mixture ``[B, S]`` once without each voice, by F0 ``[B, J, S // 256]``: ``[B, J, S]``."""
    from umss_jax.dsp.removal import without_each

    del variables  # as all programs take them
    heard = _without_strokes(mixture, config)
    return without_each(heard, f0_hz, config.audio.sample_rate_hz, config.mask)


def _without_strokes(signal: jax.Array, config: ModelConfig) -> jax.Array:
    """What is heard of a signal ``[..., S]``: all of it, or all but claps and knocks."""
    if not config.mask.strokes:
        return signal
    from umss_jax.dsp.strokes import without_strokes

    return without_strokes(signal, config.audio.sample_rate_hz)
