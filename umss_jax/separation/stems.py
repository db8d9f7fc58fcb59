"""From one recording to one folder: stems, residual, F0 and manifest, all or nothing.

The work is done in a hidden folder beside the final one, which is renamed when everything is
written; so a track's folder is complete wherever it exists. Separated stems at 16 kHz go to a
scratch file there; a second pass over the input brings them to its rate, gives them their part of
what lies above 8 kHz, and writes the residual.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from umss_jax.audio.recording import Recording, scan
from umss_jax.audio.resampling import read_16k
from umss_jax.audio.segments import frame_times_s
from umss_jax.pitch.tables import voice_rows, voices_header
from umss_jax.scores.fit import Fit, ScoreFile
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.encodings import check_encoding
from umss_jax.separation.labels import sound_tags
from umss_jax.separation.likeness import Likeness, Likening
from umss_jax.separation.manifest import manifest_of
from umss_jax.separation.naming import finished_as
from umss_jax.separation.outputs import (
    ALIGNMENT,
    ALIGNMENT_PICTURE,
    F0_TABLE,
    MANIFEST,
    finished_together,
)
from umss_jax.separation.pitch_plot import SalienceImage, image_columns, write_plot
from umss_jax.separation.practice import write_practice
from umss_jax.separation.request import Request, StemOptions, request_of, targets_of, wants_track
from umss_jax.separation.scored import fit_sound, note_boxes, score_manifest, write_alignment
from umss_jax.separation.stem_writer import Separated16k, full_band_stems, write_stems
from umss_jax.separation.stream import KnownPitches, Progress, separate_blocks

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine


class Track(NamedTuple):
    """A finished folder."""

    folder: Path
    """Where the manifest is."""
    manifest: dict[str, object]
    likeness: Likeness
    """How much the recording looks like what the model is for; the manifest has it too."""
    score_warning: str | None = None
    """One line, where a score fits little of the recording."""
    files: tuple[Path, ...] = ()
    """All that was written."""


def separate_file(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    engine: ModelEngine,
    config: SeparationConfig = SeparationConfig(),
    options: StemOptions | None = None,
    progress: Progress | None = None,
    recording: Recording | None = None,
    score: ScoreFile | None = None,
) -> Track:
    """Separates one file into ``OUT/<model>/<track>/``.

    Writes a file for each voice (``soprano`` to ``bass``) and ``residual`` (.wav, .flac, .ogg or
    .mp3) with the input's rate, channels and number of samples, ``f0.csv`` and ``manifest.json``.
    The audio files sum to the input times the manifest's ``gain``, which is 1 unless they had to
    be turned down; with 24-bit files and an input of at most 24 bits, to the last bit. With a score
    there is ``alignment.csv`` as well, and the F0 are by its notes. Of the options, ``practice``
    adds mixes to practise with, ``stems`` leaves sounds out, and ``filename`` names all files.

    Args:
        path: The recording.
        out: Folder for all results; made where it is missing.
        engine: The model.
        config: Segments, overlap and seed.
        options: Format, clipping and what to do with an existing folder.
        progress: Told ``separating`` after every segment, and ``writing`` as stems are written.
        recording: The result of :func:`umss_jax.audio.recording.scan`, where it is known already:
            what it was scanned of is separated.
        score: What is sung (:func:`umss_jax.scores.fit.open_score`).

    Returns:
        The folder and what its manifest says.

    Raises:
        AudioError: The recording cannot be read or holds nothing to separate.
        OutputError: The folder exists already or cannot be written.
        ScoreError: The recording is not of the score.
        UsageError: Options that exclude each other.
    """
    options = options or StemOptions()
    request = request_of(options, score is not None, engine.config.voices.names)
    out, path = Path(out), Path(path)
    track = recording.track if recording is not None else ""
    wants_track(request, path, out, engine.name, options.overwrite, track=track)
    targets = targets_of(request, path, out, engine.name, track)
    folder = targets[MANIFEST].parent
    recording = recording or scan(path, options.start_s, options.duration_s)
    check_encoding(request.encoding, recording)
    is_named = request.template is not None
    with finished_as(targets, out) if is_named else finished_together(folder) as work:
        made, likeness, fit = _write_all(
            recording, work, engine, config, request, targets, progress, score
        )
    warning = fit.warning(str(path)) if fit is not None else None
    return Track(folder, made, likeness, warning, tuple(targets.values()))


def _write_all(
    recording: Recording,
    work: Path,
    engine: ModelEngine,
    config: SeparationConfig,
    request: Request,
    targets: Mapping[str, Path],
    progress: Progress | None,
    score: ScoreFile | None,
) -> tuple[dict[str, Any], Likeness, Fit | None]:
    """Writes all files into the working folder, by their usual names."""
    scratch = work / "stems_16k.f32"
    likening = Likening(recording.peak, engine.config.audio, engine.config.voices)
    table = work / F0_TABLE
    fit, known = None, None
    if score is not None:
        fit, known = _fit_files(recording, work, engine, config, request, score, progress)
    f0 = _separate_to_scratch(recording, scratch, table, likening, engine, config, progress, known)
    separated = Separated16k(scratch, f0, engine.config.audio, config.full_band, request.voices)
    tags = sound_tags(recording, request)
    stem_tags = {name: tags[name] for name in request.sounds}
    encoding, clip_mode = request.encoding, request.clip_mode
    level = write_stems(recording, separated, work, encoding, clip_mode, progress, stem_tags)
    practice_gain = None
    if request.practice is not None:
        mix_tags = {name: tags[name] for name in request.mixes}
        blocks = functools.partial(full_band_stems, recording, separated)
        practice_gain = write_practice(
            recording, blocks, work, encoding, request.practice, mix_tags, progress, request.voices
        )
    scratch.unlink()
    likeness = likening.result(level.residual)
    made = manifest_of(recording, engine, config, request, level, likeness, targets)
    if request.practice is not None:
        made["practice"] = {**dataclasses.asdict(request.practice), "gain": practice_gain}
    if fit is not None:
        made["score"] = score_manifest(fit)
    text = json.dumps(made, indent=2, ensure_ascii=True) + "\n"
    (work / MANIFEST).write_text(text, encoding="ascii")
    return made, likeness, fit


def _fit_files(
    recording: Recording,
    work: Path,
    engine: ModelEngine,
    config: SeparationConfig,
    request: Request,
    score: ScoreFile,
    progress: Progress | None,
) -> tuple[Fit, KnownPitches]:
    """The pitches by a score, and the files that tell of it."""
    name = str(recording.path)
    sound = read_16k(recording, engine.config.audio)
    fit, known, salience = fit_sound(sound, engine, config, score, name, progress)
    write_alignment(work / ALIGNMENT, fit)
    if request.plot:
        image = SalienceImage(len(salience), salience.shape[1], image_columns(recording.duration_s))
        image.push(salience)
        times = frame_times_s(salience.shape[1], engine.config.audio)
        title = f"{recording.path.name} ({score.path.name})".encode("utf-8", "replace").decode()
        write_plot(
            work / ALIGNMENT_PICTURE,
            title,
            image,
            fit.f0_hz_synth,
            times,
            engine.frequencies_hz,
            engine.voices,
            notes=note_boxes(fit),
        )
    return fit, known


def _separate_to_scratch(
    recording: Recording,
    scratch: Path,
    f0_csv: Path,
    likening: Likening,
    engine: ModelEngine,
    config: SeparationConfig,
    progress: Progress | None,
    known: KnownPitches | None,
) -> np.ndarray:
    """First pass: stems at 16 kHz as interleaved float32 ``[n, J, C]``, and the F0 table.

    Returns:
        The F0, float32 ``[J, frames]``: 4 MB for an hour.
    """
    audio = engine.config.audio
    frame, tracks = 0, []
    with scratch.open("wb") as stems_file, f0_csv.open("w", newline="", encoding="utf-8") as table:
        table.write(voices_header(engine.config.voices.names))
        for block in separate_blocks(read_16k(recording, audio), engine, config, known):
            stems_file.write(np.ascontiguousarray(np.moveaxis(block.stems_16k, -1, 0)).tobytes())
            likening.add(*block)
            frames = block.f0_hz_synth.shape[-1]
            times = frame_times_s(frame + frames, audio)[frame:]
            table.write(voice_rows(times, block.f0_hz_synth))
            frame += frames
            tracks.append(np.array(block.f0_hz_synth))  # a copy: blocks are views of more
            if progress is not None:
                progress("separating", block.stems_16k.shape[-1] / audio.sample_rate_hz)
    return np.concatenate(tracks, axis=1)
