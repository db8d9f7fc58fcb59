"""How much of an adaptation is kept: what explains seconds best that it did not train on."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.dsp.envelopes import fit_envelopes
from umss_jax.dsp.stft import centred_stft
from umss_jax.interruption import checked
from umss_jax.trees import mean_variables

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine

_LEAST = 5  # segments of which some can be held back
_BLOCK = 10  # segments for every one that is held back in each of two places
_BETTER = 0.99  # of the distance before: where an adaptation wins less, stems do not
_FLOOR = 1e-12


class Split(NamedTuple):
    """Numbers of the segments of a recording, ascending."""

    trained: np.ndarray
    held_back: np.ndarray
    """None of fewer than five segments."""


class Kept(NamedTuple):
    """What is kept of an adaptation."""

    variables: dict[str, Any]
    share: float | None
    """0 is the model as it was, 1 as it is after the last step, between them the mean of their
    weights; None where nothing was held back."""


def split(count: int) -> Split:
    """Holds back a fifth of the segments, in one stretch, or two of many.

    Segments overlap their neighbours: what lies beside a stretch trains nothing either.
    """
    stretches = 0 if count < _LEAST else 1 if count < 2 * _BLOCK else 2
    length = max(1, count // (5 * max(1, stretches)))
    is_held, is_near = np.zeros(count, bool), np.zeros(count, bool)
    for number in range(stretches):
        middle = int((number + 0.5) * count / stretches)
        first = middle - length // 2
        is_held[first : first + length] = True
        is_near[first - 1 : first + length + 1] = True
    return Split(np.flatnonzero(~is_near), np.flatnonzero(is_held))


def keep_best(
    engine: ModelEngine,
    adapted: Mapping[str, Any],
    mixtures_16k: np.ndarray,
    f0_hz_synth: np.ndarray | None,
) -> Kept:
    """The model before, after, or half-way, whichever explains what was held back best.

    The one before stays unless another is clearly better.

    Args:
        engine: the model before.
        adapted: all its parts, after.
        mixtures_16k: ``[N, samples]``, held back; with none what was adapted is kept.
        f0_hz_synth: ``[N, J, frames]``, its F0; None where each model finds its own.
    """
    if not len(mixtures_16k):
        return Kept(dict(adapted), None)
    best, least = Kept(dict(adapted), 1.0), np.inf
    before, after = dict(engine.variables), dict(adapted)
    for share, variables in ((0.0, before), (0.5, mean_variables([before, after])), (1.0, after)):
        one = engine.with_variables(variables)
        known = f0_hz_synth
        if known is None:
            found = (one.f0_hz_synth(mixture[None]) for mixture in checked(mixtures_16k))
            known = np.concatenate(list(found))
        distance = _mean_distance(zip(mixtures_16k, known, strict=True), variables, engine.config)
        if distance < least:
            best, least = Kept(variables, share), distance * (1.0 if share else _BETTER)
    return best


def _mean_distance(
    segments: Iterable[tuple[np.ndarray, np.ndarray]],
    variables: Mapping[str, Any],
    config: ModelConfig,
) -> float:
    on_device = jax.device_put(dict(variables))
    found = [_distance(on_device, m[None], f0[None], config) for m, f0 in checked(segments)]
    return float(np.mean(found))


@functools.partial(jax.jit, static_argnames="config")
def _distance(
    variables: model.Variables, mixture: jax.Array, f0_hz: jax.Array, config: ModelConfig
) -> jax.Array:
    """Of the magnitudes of all voices together from the mixture's, as a share of these.

    The voices are fitted to the mixture first where they are when it is separated: of what fitting
    mends nothing needs to be learned.
    """
    mask, uniform = config.mask, model.sample_uniform(jax.random.key(0), mixture, config)
    output = model.resynthesise(variables, mixture, model.given_f0(f0_hz, config), uniform, config)

    def magnitude(sound: jax.Array) -> jax.Array:
        return jnp.abs(centred_stft(sound, mask.fft_size, mask.hop_samples))

    heard, voices = magnitude(mixture), magnitude(output.sources)
    if mask.fit:
        voices = fit_envelopes(voices, heard, config.audio.sample_rate_hz, mask)
    together = jnp.sqrt(jnp.sum(voices**2, axis=1))
    return jnp.sum(jnp.abs(together - heard)) / (jnp.sum(heard) + _FLOOR)
