"""Synthetic ensembles: sung scores with exact F0 and stems, deterministic by seed.

Score → :func:`umss_jax.chorales.performance.perform` → the source-filter synthesiser, singer by
singer → rooms → stems. :func:`make` writes folders of them in the layout that training reads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import signal

from umss_jax.audio.writing import write_sound
from umss_jax.chorales.arrange import arranged, sections_of
from umss_jax.chorales.bank import SingerBank
from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.hymnal import abc_scores
from umss_jax.chorales.performance import Singing, synthetic_singing
from umss_jax.chorales.resinging import SungVoices, human_voices
from umss_jax.chorales.scores import Score, bach_chorales, embedded_scores
from umss_jax.config import VOICES, SynthConfig, VoicesConfig
from umss_jax.errors import OutputError, UsageError
from umss_jax.files import working_folder
from umss_jax.interruption import checked
from umss_jax.pitch.tables import track_text
from umss_jax.synth.harmonic import HarmonicControls
from umss_jax.synth.noise import NoiseControls, sample_noise
from umss_jax.synth.source_filter import Controls, synthesise

SCORES = {"embedded": embedded_scores, "music21": bach_chorales}
"""Where scores come from, by name."""

_PEAK = 0.9
_SYNTH = SynthConfig()


class Rendering(NamedTuple):
    """A sung score at 16 kHz."""

    score: Score
    stems: np.ndarray
    """float32 [J, samples]; they sum to a mixture of peak 0.9."""
    f0_hz_synth: np.ndarray
    """float32 [J, frames + 1] at multiples of 16 ms from 0, Hz, 0 where nobody of the part sings a
    pitch; of several singers the geometric mean."""
    singers: tuple[int, ...]
    """Of each part."""
    voices: tuple[str, ...] = VOICES
    """Names of the parts."""
    sample_rate_hz: int = _SYNTH.sample_rate_hz


def render(
    score: Score,
    seed: int,
    config: ChoraleConfig = ChoraleConfig(),
    bank: SingerBank | None = None,
    voices: VoicesConfig = VoicesConfig(),
) -> Rendering:
    """Sings a score, by the singers of a bank or by sampled ones; a seed gives the same samples.

    The score has a part for each of the voices.
    """
    sections, count = sections_of(voices), len(voices)
    rng = np.random.default_rng(seed)
    if bank is None:
        singing = synthetic_singing(score, rng, config, sections)
        samples = _voices(singing, rng, config.lanes)
        parts_hz = np.stack([_part_f0(singing, number) for number in range(count)])
        sung = SungVoices(singing.voice, samples, parts_hz)
    else:
        sung = human_voices(score, bank, rng, config, sections)
    stems = np.stack(
        [_part(sung.samples[sung.voice == number], rng, config) for number in range(count)]
    )
    stems = _in_a_room(stems, rng, config)
    stems *= _PEAK / np.abs(stems.sum(axis=0)).max()
    counts = tuple(map(int, np.bincount(sung.voice, minlength=count)))
    return Rendering(score, stems.astype(np.float32), sung.f0_hz, counts, voices.names)


def make(
    out: Path,
    count: int,
    seed: int = 0,
    scores: str = "embedded",
    config: ChoraleConfig = ChoraleConfig(),
    bank: SingerBank | None = None,
    progress: Callable[[int], None] | None = None,
    voices: VoicesConfig = VoicesConfig(),
) -> list[Path]:
    """Writes renderings as ``OUT/<piece>/{soprano,alto,tenor,bass}.wav`` with their F0.

    Beside each ``<voice>.wav`` (16 kHz, 16 bit) lies ``<voice>.f0.csv`` in the layout of CREPE's
    files (time, frequency, confidence; every 16 ms; confidence 1 where a pitch is sung, else 0) and
    for all ``info.json``. A piece that is there already is left, so that a set can be continued.

    Args:
        out: folder of all pieces.
        count: of renderings.
        seed: of the whole set; piece *n* of it does not depend on how many there are.
        scores: ``embedded``, ``music21`` or a folder of ABC files; they are taken in a random
            order, then again.
        config: ranges of what is sampled.
        bank: of the singers; None for sampled ones.
        progress: told the number of each piece when it is made; they count from 0.
        voices: that the scores are arranged for (:func:`umss_jax.chorales.arrange.arranged`).

    Returns:
        The pieces' folders.

    Raises:
        UsageError: the scores are not known or need a package.
        OutputError: a folder cannot be written.
    """
    library = _library(scores)
    folders = []
    for number in checked(range(count)):
        passed, position = divmod(number, len(library))
        order = np.random.default_rng([seed, passed]).permutation(len(library))
        score = library[int(order[position])]
        folder = out / f"{number:04d}_{_file_name(score.title)}"
        folders.append(folder)
        if folder.is_dir():
            continue
        piece_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        score = arranged(score, voices, np.random.default_rng([piece_seed, 1]))
        rendering = render(score, piece_seed, config, bank, voices)
        write_rendering(folder, rendering, piece_seed)
        if progress is not None:
            progress(number)
    return folders


def _library(scores: str) -> list[Score]:
    if scores in SCORES:
        return SCORES[scores]()
    if Path(scores).is_dir():
        return abc_scores(Path(scores))
    raise UsageError(
        f"no scores are called {scores!r}",
        f"choose from {', '.join(SCORES)}, or give a folder of ABC files",
    )


def _file_name(title: str) -> str:
    plain = "".join(c if c.isalnum() else "_" for c in title.lower())
    return "_".join(part for part in plain.split("_") if part)


def _voices(singing: Singing, rng: np.random.Generator, lanes: int) -> np.ndarray:
    """Every singer alone, [lanes, samples]; a fixed number at once, so that shapes repeat."""
    total = len(singing.voice)
    noise_key = jax.random.key(int(rng.integers(2**31)))
    voices = []
    for first in checked(range(0, total, lanes)):
        chosen = np.minimum(np.arange(first, first + lanes), total - 1)
        key = jax.random.fold_in(noise_key, first)
        voices.append(np.asarray(_sing(key, *(array[chosen] for array in singing[1:6]))))
    return np.concatenate(voices)[:total]


@jax.jit
def _sing(
    key: jax.Array,
    f0_hz_synth: jax.Array,
    amplitude: jax.Array,
    noise_gain: jax.Array,
    noise_magnitudes: jax.Array,
    lsf_rad: jax.Array,
) -> jax.Array:
    """The synthesiser's sound from physical controls: [lanes, samples]."""
    below = jnp.ceil(_SYNTH.sample_rate_hz / 2 / f0_hz_synth) - 1
    harmonics = jnp.minimum(below, np.float32(_SYNTH.harmonics))
    lanes, frames = f0_hz_synth.shape
    uniform = sample_noise(key, (lanes,), frames * _SYNTH.hop_samples, _SYNTH.hop_samples)
    controls = Controls(
        HarmonicControls(amplitude, harmonics, f0_hz_synth),
        NoiseControls(noise_gain, noise_magnitudes),
        lsf_rad,
    )
    return synthesise(controls, uniform, _SYNTH).voice


def _part(voices: np.ndarray, rng: np.random.Generator, config: ChoraleConfig) -> np.ndarray:
    """The singers of one part together, at a random level."""
    gains = 10 ** (rng.normal(0, 1.5, (len(voices), 1)) / 20) / np.sqrt(len(voices))
    level = 10 ** (rng.normal(0, config.balance_db) / 20)
    part: np.ndarray = level * (gains * voices).sum(axis=0)
    return part


def _in_a_room(stems: np.ndarray, rng: np.random.Generator, config: ChoraleConfig) -> np.ndarray:
    """Stems with the reverberation of one room, each from a place of its own.

    Exponentially decaying noise after a gap, which darkens as it decays; the direct sound stays at
    time 0, so that F0 and sound remain aligned.
    """
    dry = rng.uniform() < config.dry_probability
    decay_s = rng.uniform(*config.reverberation_s) * (0.4 if dry else 1.0)
    direct_db = rng.uniform(*config.direct_db) + (15 if dry else 0)
    rate = _SYNTH.sample_rate_hz
    time = np.arange(int(decay_s * rate)) / rate
    wet = []
    for stem in stems:
        tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay_s)
        tail[: int(rng.uniform(0.002, 0.02) * rate)] = 0
        pole = rng.uniform(0.2, 0.8)
        tail = signal.lfilter([1 - pole], [1, -pole], tail)
        tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
        wet.append(stem + signal.oaconvolve(stem, tail)[: len(stem)])
    return np.stack(wet)


def _part_f0(singing: Singing, number: int) -> np.ndarray:
    """F0 of a part at multiples of the hop, where two frames of the synthesiser meet."""
    mine = singing.voice == number
    log_f0, voiced = np.log(singing.f0_hz_synth[mine]), singing.voiced[mine]
    counts = voiced.sum(axis=0)
    mean = np.where(voiced, log_f0, 0).sum(axis=0) / np.maximum(counts, 1)
    # F0 is linear between frames; the ends are held.
    f0_hz = np.pad(np.exp(mean), 1, mode="edge")
    sung = np.pad(counts > 0, 1, mode="edge")
    between = 0.5 * (f0_hz[:-1] + f0_hz[1:])
    return np.where(sung[:-1] & sung[1:], between, 0).astype(np.float32)


def write_rendering(folder: Path, rendering: Rendering, seed: int) -> None:
    """Writes one piece, in a hidden folder that is renamed when it is whole.

    Args:
        folder: of the piece; its files are those that :func:`make` describes.
        rendering: what was sung.
        seed: with which.

    Raises:
        OutputError: the folder cannot be written.
    """
    hop_s = _SYNTH.hop_samples / _SYNTH.sample_rate_hz
    with working_folder(folder) as work:
        inner = work / folder.name
        try:
            inner.mkdir()
            tracks = zip(rendering.voices, rendering.stems, rendering.f0_hz_synth, strict=True)
            for voice, stem, f0_hz in tracks:
                rate = rendering.sample_rate_hz
                write_sound(inner / f"{voice}.wav", stem, rate, "PCM_16")
                text = track_text(f0_hz, (f0_hz > 0).astype(float), hop_s, decimals=1)
                (inner / f"{voice}.f0.csv").write_text(text, encoding="ascii")
            about = {
                "title": rendering.score.title,
                "origin": rendering.score.origin,
                "seed": seed,
                "singers": dict(zip(rendering.voices, rendering.singers, strict=True)),
            }
            (inner / "info.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            os.replace(inner, folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error})", "make room") from error
