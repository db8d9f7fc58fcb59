"""From one recording to one folder: stems, residual, F0 and manifest, all or nothing.

The work is done in a hidden folder beside the final one, which is renamed when everything is
written; so a track's folder is complete wherever it exists. Separated stems at 16 kHz go to a
scratch file there; a second pass over the input brings them to its rate, gives them their part of
what lies above 8 kHz, and writes the residual.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import soundfile

import umss_jax
from umss_jax.audio.recording import Recording, scan
from umss_jax.audio.resampling import read_16k
from umss_jax.audio.segments import frame_times_s
from umss_jax.errors import UsageError
from umss_jax.files import file_sha256
from umss_jax.pitch.tables import voice_rows, voices_header
from umss_jax.scores.fit import Fit, ScoreFile
from umss_jax.separation.config import ClipMode, SeparationConfig
from umss_jax.separation.likeness import Likeness, Likening
from umss_jax.separation.outputs import (
    ALIGNMENT,
    ALIGNMENT_PICTURE,
    F0_TABLE,
    MANIFEST,
    SOUNDS,
    finished_together,
    track_folder,
    wants_stems,
)
from umss_jax.separation.pitch_files import need_package
from umss_jax.separation.pitch_plot import SalienceImage, image_columns, write_plot
from umss_jax.separation.scored import fit_sound, note_boxes, score_manifest, write_alignment
from umss_jax.separation.stem_writer import (
    Encoding,
    Level,
    Separated16k,
    choose_encoding,
    write_stems,
)
from umss_jax.separation.stream import KnownPitches, Progress, separate_blocks

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine


class StemOptions(NamedTuple):
    """How stems are written. The gain of ``clip_mode`` is recorded in the manifest."""

    flac: bool = False
    float32: bool = False
    clip_mode: ClipMode = ClipMode.RESCALE
    overwrite: bool = False
    plot: bool = False
    """Of a recording with a score: a picture of both."""


def clip_mode_of(options: StemOptions) -> ClipMode:
    """The clip mode, which may be given as text; UsageError where there is none of that name."""
    if options.clip_mode not in list(ClipMode):
        raise UsageError(
            f"no clip mode is called {options.clip_mode!r}", f"choose from {', '.join(ClipMode)}"
        )
    return ClipMode(options.clip_mode)


class Track(NamedTuple):
    """A finished folder."""

    folder: Path
    manifest: dict[str, object]
    likeness: Likeness
    """How much the recording looks like what the model is for; the manifest has it too."""
    score_warning: str | None = None
    """One line, where a score fits little of the recording."""


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

    Writes ``soprano``, ``alto``, ``tenor``, ``bass`` and ``residual`` (.wav or .flac) with the
    input's rate, channels and number of samples, ``f0.csv`` and ``manifest.json``. The five audio
    files sum to the input times the manifest's ``gain``, which is 1 unless they had to be turned
    down; with 24-bit files and an input of at most 24 bits, to the last bit. With a score there is
    ``alignment.csv`` as well, and the F0 are by its notes.

    Args:
        path: The recording.
        out: Folder for all results; made where it is missing.
        engine: The model.
        config: Segments, overlap and seed.
        options: Format, clipping and what to do with an existing folder.
        progress: Told ``separating`` after every segment, and ``writing`` as stems are written.
        recording: The result of :func:`umss_jax.audio.recording.scan`, where it is known already.
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
    check_plot(options, score is not None)
    encoding = choose_encoding(options.flac, options.float32)
    track = recording.track if recording is not None else ""
    folder, clip_mode = (
        track_folder(Path(path), Path(out), engine.name, track),
        clip_mode_of(options),
    )
    wants_stems(folder, Path(path), options.overwrite)
    recording = recording or scan(path)
    with finished_together(folder) as work:
        scratch = work / "stems_16k.f32"
        likening = Likening(recording.peak, engine.config.audio)
        table = work / F0_TABLE
        fit, known = None, None
        if score is not None:
            fit, known = _fit_files(recording, work, engine, config, options, score, progress)
        f0 = _separate_to_scratch(
            recording, scratch, table, likening, engine, config, progress, known
        )
        separated = Separated16k(scratch, f0, engine.config.audio, config.full_band)
        level = write_stems(recording, separated, work, encoding, clip_mode, progress)
        scratch.unlink()
        likeness = likening.result(level.residual)
        made = _manifest(recording, engine, config, clip_mode, encoding, level, likeness)
        if fit is not None:
            names = (ALIGNMENT, ALIGNMENT_PICTURE) if options.plot else (ALIGNMENT,)
            made |= {"score": score_manifest(fit), "outputs": [*made["outputs"], *names]}
        text = json.dumps(made, indent=2, ensure_ascii=True) + "\n"
        (work / MANIFEST).write_text(text, encoding="ascii")
    warning = fit.warning(str(path)) if fit is not None else None
    return Track(folder, made, likeness, warning)


def check_plot(options: StemOptions, has_score: bool) -> None:
    """Refuses a picture that could not be made.

    Raises:
        UsageError: there is no score, or matplotlib is not installed.
    """
    if options.plot and not has_score:
        raise UsageError(
            "--plot shows a score, and there is none", "give --score, or use f0 --plot"
        )
    if options.plot:
        need_package("--plot", "matplotlib", "plot")


def _fit_files(
    recording: Recording,
    work: Path,
    engine: ModelEngine,
    config: SeparationConfig,
    options: StemOptions,
    score: ScoreFile,
    progress: Progress | None,
) -> tuple[Fit, KnownPitches]:
    """The pitches by a score, and the files that tell of it."""
    name = str(recording.path)
    sound = read_16k(recording, engine.config.audio)
    fit, known, salience = fit_sound(sound, engine, config, score, name, progress)
    write_alignment(work / ALIGNMENT, fit)
    if options.plot:
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
    with scratch.open("wb") as stems_file, f0_csv.open("w", newline="", encoding="ascii") as table:
        table.write(voices_header())
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


def _manifest(
    recording: Recording,
    engine: ModelEngine,
    config: SeparationConfig,
    clip_mode: ClipMode,
    encoding: Encoding,
    level: Level,
    likeness: Likeness,
) -> dict[str, Any]:
    """What is written as JSON beside the stems of a recording."""
    return {
        "model": engine.name,
        **engine.provenance,
        "versions": _versions(),
        "input": {
            "file": recording.path.name,
            "sha256": file_sha256(recording.path),
            "sample_rate_hz": recording.sample_rate_hz,
            "channels": recording.channels,
            "samples": recording.samples,
            "peak": recording.peak,
            "downmix": list(recording.downmix),
        },
        "options": {
            "segment_s": config.segment_s,
            "overlap": config.overlap,
            "full_band": config.full_band,
            "clip_mode": clip_mode,
            "format": f"{encoding.container} {encoding.subtype}",
        },
        "seed": config.seed,
        "gain": level.gain,
        "clipped_samples": level.clipped_samples,
        "likeness": {**likeness._asdict(), "findings": likeness.findings()},
        "outputs": [f"{name}.{encoding.extension}" for name in SOUNDS] + [F0_TABLE],
    }


def _versions() -> dict[str, str]:
    versions = {"umss_jax": umss_jax.__version__, "python": platform.python_version()}
    for package in ("jax", "flax", "numpy", "soundfile", "soxr"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    versions["libsndfile"] = soundfile.__libsndfile_version__
    return versions
