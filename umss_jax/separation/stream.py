"""Stems and pitches of recordings of any length, in memory or block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from umss_jax.audio.arrays import Sound, sound_of
from umss_jax.audio.config import FileConfig
from umss_jax.audio.resampling import Sound16k, array_16k, resample_whole
from umss_jax.audio.segments import cut_segments, frame_times_s, plan_segments, segment_seed
from umss_jax.config import VOICES
from umss_jax.pitch.ranges import sang_last
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.high_band import BandSharer
from umss_jax.separation.high_masks import Plan
from umss_jax.separation.joining import Answer, Layer, concatenate_tracks, joined_segments
from umss_jax.separation.likeness import Likeness, Likening

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine
    from umss_jax.scores.fit import Fit

Progress = Callable[[str, float], None]
"""Told the stage and the seconds done since the last call."""


def renamed(progress: Progress | None, stage: str) -> Progress | None:
    """The same, told of another stage: of work that is done a second time."""
    if progress is None:
        return None
    return lambda _, seconds: progress(stage, seconds)


class SeparatedBlock(NamedTuple):
    """The next finished interval of the recording, at 16 kHz."""

    stems_16k: np.ndarray
    """float32 ``[J, C, n]``."""
    f0_hz_synth: np.ndarray
    """float32 ``[J, frames]``; frame i of the recording stands at i · 256/16 000 s."""
    pitches_synth: np.ndarray
    """float32 ``[frames]``, how many pitches the salience shows; negative where not known."""


class PitchBlock(NamedTuple):
    """The pitches of the next finished interval of the recording."""

    f0_hz_synth: np.ndarray
    """float32 ``[N, frames]``; N differs between blocks where the pitches are given to nobody. They
    are then the peaks of one segment's salience, not of a cross-faded one."""
    salience_synth: np.ndarray
    """float32 ``[bins, frames]``."""


class KnownPitches(NamedTuple):
    """The pitches of a recording that a score gave."""

    f0_hz_synth: np.ndarray
    """float32 ``[J, frames]`` in Hz, 0 where unvoiced."""
    pitches_synth: np.ndarray
    """``[frames]``, how many pitches the salience shows."""

    def of_segments(self, numbers: np.ndarray, step: int, frames: int) -> KnownPitches:
        """Of some segments, that many frames apart and long: ``[B, J, frames]``, ``[B, frames]``.

        Beyond the end there is silence.
        """
        padded_f0 = np.pad(self.f0_hz_synth, ((0, 0), (0, frames)))
        padded_pitches = np.pad(self.pitches_synth, (0, frames))
        starts = [number * step for number in numbers.tolist()]
        return KnownPitches(
            np.stack([padded_f0[:, start : start + frames] for start in starts]),
            np.stack([padded_pitches[start : start + frames] for start in starts]),
        )


class Separation(NamedTuple):
    """A separated recording in memory, at its own rate.

    Stems and residual sum to it; to that of PCM at full scale 1.
    """

    stems: np.ndarray
    """float32 ``[J, ...]``, each shaped like the input, the highest voice first."""
    residual: np.ndarray
    """float32, shaped like the input: what no voice was given, and all in silence."""
    f0_hz_synth: np.ndarray
    """float32 ``[J, frames]`` in Hz, 0 where unvoiced."""
    time_s: np.ndarray
    """float64 ``[frames]``: the time of each F0."""
    sample_rate_hz: int
    likeness: Likeness
    """How much the recording looks like what the model is for."""
    fit: Fit | None = None
    """Of the score, where there is one."""
    names: tuple[str, ...] = VOICES
    """Of the voices."""

    @property
    def voices(self) -> dict[str, np.ndarray]:
        """Stems by name."""
        return dict(zip(self.names, self.stems, strict=True))


class PitchTracks(NamedTuple):
    """The pitches of a recording in memory."""

    f0_hz_synth: np.ndarray
    """float32 ``[N, frames]`` in Hz, 0 where there is no pitch."""
    salience_synth: np.ndarray
    """float32 ``[bins, frames]``."""
    time_s: np.ndarray
    """float64 ``[frames]``."""
    frequencies_hz: np.ndarray
    """float64 ``[bins]``."""
    fit: Fit | None = None
    """Of the score, where there is one."""


def separate_blocks(
    sound: Sound16k,
    engine: ModelEngine,
    config: SeparationConfig = SeparationConfig(),
    known: KnownPitches | None = None,
) -> Iterator[SeparatedBlock]:
    """Separates a recording at 16 kHz; holds a few segments in memory, whatever its length.

    The stems are the unscaled channels filtered, so levels are kept. In silence they are silent.
    Where the pitches of the whole recording are ``known``, the engine takes those.

    Yields:
        One block per segment, in order, ``samples`` in all and ``ceil(samples / 256)`` F0 frames.

    Raises:
        ValueError: the engine returned other shapes than agreed, or samples that are no numbers.
    """
    hop = engine.config.audio.hop_samples
    plan = plan_segments(config.segment_s, config.overlap, engine.config.audio)
    sang: np.ndarray | None = None

    def ask(mixture: np.ndarray, channels: np.ndarray, numbers: np.ndarray) -> Answer:
        nonlocal sang
        seeds = [segment_seed(config.seed, number) for number in numbers.tolist()]
        seeds_of = np.asarray(seeds, np.uint32)
        if known is not None:
            given = known.of_segments(numbers, plan.step // hop, plan.segment // hop)
            stems, f0_hz, _ = engine.separate(mixture, channels, seeds_of, given.f0_hz_synth)
            return stems, f0_hz, given.pitches_synth[:, None]
        stems, f0_hz, pitches = engine.separate(mixture, channels, seeds_of, sang_before=sang)
        sang = sang_last(f0_hz, sang)
        unknown = np.full((len(mixture), mixture.shape[-1] // hop), -1.0)
        return stems, f0_hz, (unknown if pitches is None else pitches)[:, None]

    voices = len(engine.config.voices)
    stems = Layer("stems", (voices, len(sound.downmix)), samples_each=1, is_faded=True)
    f0 = Layer("F0", (voices,), samples_each=hop, is_faded=False)
    pitches = Layer("pitches", (1,), samples_each=hop, is_faded=False)
    for joined in joined_segments(sound, engine, config, ask, (stems, f0, pitches)):
        yield SeparatedBlock(joined[0], joined[1], joined[2][0])


def track_blocks(
    sound: Sound16k, engine: ModelEngine, config: SeparationConfig = SeparationConfig()
) -> Iterator[PitchBlock]:
    """Finds the pitches of a recording at 16 kHz; errors as :func:`separate_blocks`.

    Yields:
        One block per segment, in order, ``ceil(samples / 256)`` frames in all.
    """
    hop = engine.config.audio.hop_samples
    sang: np.ndarray | None = None

    def ask(mixture: np.ndarray, channels: np.ndarray, numbers: np.ndarray) -> Answer:
        nonlocal sang
        found = engine.pitches(mixture, sang)
        sang = sang_last(found.f0_hz_synth, sang) if engine.voices else None
        return found

    rows = len(engine.voices) or None
    f0 = Layer("F0", (rows,), samples_each=hop, is_faded=False)
    salience = Layer("salience", (len(engine.frequencies_hz),), samples_each=hop, is_faded=True)
    for joined in joined_segments(sound, engine, config, ask, (f0, salience)):
        yield PitchBlock(*joined)


def separate_array(
    audio: ArrayLike,
    sample_rate_hz: float,
    engine: ModelEngine,
    config: SeparationConfig = SeparationConfig(),
) -> Separation:
    """Separates a recording that is in memory.

    Args:
        audio: ``[N]``, ``[C, N]`` or ``[N, C]``: what is accepted is said by
            :func:`umss_jax.audio.arrays.sound_of`.
        sample_rate_hz: Any rate.
        engine: The model.
        config: Segments, overlap and seed.

    Returns:
        Stems, residual and F0; sounds have the axes of ``audio``.

    Raises:
        AudioError: the array is no recording, or silent; UsageError: the rate is none.
    """
    return separate_sound(sound_of(audio, sample_rate_hz), engine, config)


def separate_sound(
    passed: Sound,
    engine: ModelEngine,
    config: SeparationConfig,
    known: KnownPitches | None = None,
) -> Separation:
    """As :func:`separate_array`, of an array that was checked, by its pitches where known."""
    sound = array_16k(passed, engine.config.audio)
    count, samples = passed.channels.shape
    separated = list(separate_blocks(sound, engine, config, known))
    names = engine.config.voices.names
    likening = Likening(sound.peak, engine.config.audio, engine.config.voices)
    for block in separated:
        likening.add(*block)
    stems_16k = np.concatenate([block.stems_16k for block in separated], axis=-1)
    rate_16k = engine.config.audio.sample_rate_hz
    flat = stems_16k.reshape(-1, sound.samples)
    stems = resample_whole(flat, rate_16k, passed.sample_rate_hz, samples)
    f0 = np.concatenate([block.f0_hz_synth for block in separated], axis=-1)
    plan = Plan(passed.sample_rate_hz, count, samples, sound.peak, engine.config.audio)
    sharer = BandSharer(plan, f0, config.full_band)
    done, length = 0, FileConfig.block_samples
    pieces = (passed.channels[:, at : at + length] for at in range(0, samples, length))
    for full in sharer.share_out(pieces, [stems]):
        # In place, for the memory: what is overwritten has been read by then.
        stems[:, done : done + full.shape[1]] = full
        done += full.shape[1]
    stems = stems.reshape(len(names), count, samples)
    residual = (passed.channels - stems.sum(axis=0, dtype=np.float64)).astype(np.float32)
    times = frame_times_s(f0.shape[-1], engine.config.audio)
    stems, residual = passed.shaped(stems), passed.shaped(residual)
    likeness = likening.result(sharer.residual)
    rate_hz = passed.sample_rate_hz
    return Separation(stems, residual, f0, times, rate_hz, likeness, names=names)


def track_array(
    audio: ArrayLike,
    sample_rate_hz: float,
    engine: ModelEngine,
    config: SeparationConfig = SeparationConfig(),
) -> PitchTracks:
    """Finds the pitches of a recording in memory; arguments, errors: :func:`separate_array`."""
    sound = array_16k(sound_of(audio, sample_rate_hz), engine.config.audio)
    blocks = list(track_blocks(sound, engine, config))
    f0_hz_synth = concatenate_tracks([block.f0_hz_synth for block in blocks])
    salience = np.concatenate([block.salience_synth for block in blocks], axis=1)
    times = frame_times_s(f0_hz_synth.shape[1], engine.config.audio)
    return PitchTracks(f0_hz_synth, salience, times, engine.frequencies_hz)


def segments_of_array(
    audio: ArrayLike,
    sample_rate_hz: float,
    engine: ModelEngine,
    config: SeparationConfig = SeparationConfig(),
) -> Iterator[tuple[float, np.ndarray, int]]:
    """The segments of a recording as the network hears them; all else as :func:`separate_array`.

    Returns:
        Iterator over start in seconds, mono mixture ``[S]`` at 16 kHz scaled to peak 1 (silence
        stays silence), and seed of every segment.
    """
    sound = array_16k(sound_of(audio, sample_rate_hz), engine.config.audio)
    plan = plan_segments(config.segment_s, config.overlap, engine.config.audio)
    mixture = [np.asarray(sound.downmix, np.float32)[None] @ block for block in sound.blocks]

    def segments() -> Iterator[tuple[float, np.ndarray, int]]:
        for index, segment in enumerate(cut_segments(mixture, sound.samples, 1, plan)):
            peak = np.abs(segment[0]).max()
            start_s = index * plan.step / engine.config.audio.sample_rate_hz
            yield start_s, segment[0] / (peak or 1), segment_seed(config.seed, index)

    return segments()
