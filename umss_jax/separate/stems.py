"""From one recording to one folder: stems, residual, F0 and manifest, all or nothing.

The work is done in a hidden folder beside the final one, which is renamed when everything is
written; so a track's folder is complete wherever it exists. Separated stems at 16 kHz go to a
scratch file there; a second pass over the input brings them to its rate and writes the residual.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

import umss_jax
from umss_jax.audio.config import FileConfig
from umss_jax.audio.recording import (
    Encoding,
    Recording,
    StemWriter,
    StreamResampler,
    choose_encoding,
    read_blocks,
    resampled_samples,
    scan,
)
from umss_jax.audio.segments import frame_times_s, plan_segments
from umss_jax.config import VOICES, AudioConfig
from umss_jax.errors import OutputError
from umss_jax.files import file_sha256, working_folder
from umss_jax.pitch.tables import voice_rows, voices_header
from umss_jax.separate.config import ClipMode, SeparationConfig
from umss_jax.separate.outputs import is_of_pitches, is_page
from umss_jax.separate.stream import SegmentEngine, separate_blocks

FILES = (*VOICES, "residual")
"""Names of the audio files of a track, without extension."""


class StemOptions(NamedTuple):
    """How stems are written. The gain of ``clip_mode`` is recorded in the manifest."""

    flac: bool = False
    float32: bool = False
    clip_mode: ClipMode = ClipMode.RESCALE
    overwrite: bool = False


class Track(NamedTuple):
    """A finished folder."""

    folder: Path
    manifest: dict[str, object]


Progress = Callable[[str, float], None]
"""Told the stage (``separating``, then ``writing``) and the seconds done since the last call."""


def track_folder(path: Path, out: Path, model: str) -> Path:
    """Folder of a recording's stems: ``OUT/<model>/<track>``."""
    return out / model / path.stem


def separate_file(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    engine: SegmentEngine,
    config: SeparationConfig | None = None,
    options: StemOptions | None = None,
    progress: Progress | None = None,
    recording: Recording | None = None,
) -> Track:
    """Separates one file into ``OUT/<model>/<track>/``.

    Writes ``soprano``, ``alto``, ``tenor``, ``bass`` and ``residual`` (.wav or .flac) with the
    input's rate, channels and number of samples, ``f0.csv`` and ``manifest.json``. The five audio
    files sum to the input times the manifest's ``gain``, which is 1 unless they had to be turned
    down; with 24-bit files and an input of at most 24 bits, to the last bit.

    Args:
        path: The recording.
        out: Folder for all results; made where it is missing.
        engine: The model.
        config: Segments, overlap and seed.
        options: Format, clipping and what to do with an existing folder.
        progress: Called after every segment, and again as the stems are written.
        recording: The result of :func:`umss_jax.audio.recording.scan`, where it is known already.

    Returns:
        The folder and what its manifest says.

    Raises:
        AudioError: The recording cannot be read or holds nothing to separate.
        OutputError: The folder exists already or cannot be written.
        UsageError: Options that exclude each other.
    """
    config, options, path = config or SeparationConfig(), options or StemOptions(), Path(path)
    encoding = choose_encoding(options.flac, options.float32)
    plan_segments(config)
    folder = track_folder(path, Path(out), engine.name)
    if folder.exists() and not options.overwrite:
        raise OutputError(f"{folder} exists", "use --overwrite or --skip-existing")
    recording = recording or scan(path)
    with _finished_together(folder) as work:
        scratch = work / "stems_16k.f32"
        _separate_to_scratch(recording, scratch, work / "f0.csv", engine, config, progress)
        gain, clipped = _write_stems(
            recording, scratch, work, encoding, options.clip_mode, progress
        )
        scratch.unlink()
        manifest = _manifest(recording, engine, config, options, encoding, gain, clipped)
        text = json.dumps(manifest, indent=2, ensure_ascii=True) + "\n"
        (work / "manifest.json").write_text(text, encoding="ascii")
    return Track(folder, manifest)


def read_blocks_16k(recording: Recording) -> tuple[int, Iterator[np.ndarray]]:
    """Reads a recording at the model's rate, block by block.

    Args:
        recording: from :func:`umss_jax.audio.recording.scan`.

    Returns:
        Number of samples at 16 kHz, and the blocks, float32 ``[C, n]``.
    """
    rate_16k = AudioConfig().sample_rate_hz
    samples_16k = resampled_samples(recording.samples, recording.sample_rate_hz, rate_16k)
    resampler = StreamResampler(recording.sample_rate_hz, rate_16k, recording.channels, samples_16k)

    def blocks() -> Iterator[np.ndarray]:
        for block in read_blocks(recording, FileConfig().block_samples):
            yield resampler.push(block)
        yield resampler.finish()

    return samples_16k, blocks()


def _separate_to_scratch(
    recording: Recording,
    scratch: Path,
    f0_csv: Path,
    engine: SegmentEngine,
    config: SeparationConfig,
    progress: Progress | None,
) -> None:
    """First pass: stems at 16 kHz as interleaved float32 ``[n, J, C]``, and the F0 table."""
    rate_16k = AudioConfig().sample_rate_hz
    samples_16k, blocks_16k = read_blocks_16k(recording)
    frame = 0
    with scratch.open("wb") as stems_file, f0_csv.open("w", newline="", encoding="ascii") as table:
        table.write(voices_header())
        for block in separate_blocks(
            blocks_16k, samples_16k, recording.downmix, recording.peak, engine, config
        ):
            stems_file.write(np.ascontiguousarray(np.moveaxis(block.stems_16k, -1, 0)).tobytes())
            frames = block.f0_hz_250.shape[-1]
            times = frame_times_s(frame + frames)[frame:]
            table.write(voice_rows(times, block.f0_hz_250))
            frame += frames
            if progress is not None:
                progress("separating", block.stems_16k.shape[-1] / rate_16k)


def _write_stems(
    recording: Recording,
    scratch: Path,
    work: Path,
    encoding: Encoding,
    clip_mode: ClipMode,
    progress: Progress | None,
) -> tuple[float, int]:
    """Second pass, and a third where the stems must be turned down.

    Returns:
        The gain of all files and the number of samples that were cut at full scale.
    """
    gain = 1.0
    peak, clipped = _render(recording, scratch, work, encoding, gain, clip_mode, progress)
    if clipped and clip_mode == ClipMode.RESCALE:
        gain = FileConfig().rescaled_peak / peak
        _, clipped = _render(recording, scratch, work, encoding, gain, clip_mode, None)
    return gain, clipped


def _render(
    recording: Recording,
    scratch: Path,
    work: Path,
    encoding: Encoding,
    gain: float,
    clip_mode: ClipMode,
    progress: Progress | None,
) -> tuple[float, int]:
    """Writes the five files at one gain; returns their peak before cutting, and samples cut.

    The residual is what the *written* stems leave of the input, so rounding and cutting of the
    stems end up in it instead of in the sum.
    """
    rate_16k, channels = AudioConfig().sample_rate_hz, recording.channels
    width = len(VOICES) * channels
    resampler = StreamResampler(rate_16k, recording.sample_rate_hz, width, recording.samples)
    rescale = clip_mode == ClipMode.RESCALE
    peak, clipped = 0.0, 0
    with contextlib.ExitStack() as stack:
        writers = []
        for name in FILES:
            writer = StemWriter(work / f"{name}.{encoding.extension}", encoding, recording)
            stack.callback(writer.close)
            writers.append(writer)
        ready = np.zeros((width, 0), np.float32)
        upsampled = _upsampled(scratch, width, resampler)
        for block in read_blocks(recording, FileConfig().block_samples):
            while ready.shape[1] < block.shape[1]:
                ready = np.concatenate([ready, next(upsampled)], axis=1)
            stems = ready[:, : block.shape[1]].reshape(len(VOICES), channels, -1)
            ready = ready[:, block.shape[1] :]
            left = _to_full_scale(block, gain, encoding)
            for voice, writer in enumerate(writers):
                is_residual = voice == len(VOICES)
                exact = left if is_residual else _to_full_scale(stems[voice], gain, encoding)
                written, block_peak, cut = _limit(exact, encoding, clip_mode)
                writer.write(written)
                # What is cut will not stay so when rescaling: it must not swell the residual.
                left = left - (exact if encoding.full_scale and rescale else written)
                peak, clipped = max(peak, block_peak), clipped + cut
            if progress is not None:
                progress("writing", block.shape[1] / recording.sample_rate_hz)
    return peak, clipped


def _upsampled(scratch: Path, width: int, resampler: StreamResampler) -> Iterator[np.ndarray]:
    block_bytes = FileConfig().block_samples // 4 * width * 4
    with scratch.open("rb") as file:
        while data := file.read(block_bytes):
            yield resampler.push(np.frombuffer(data, np.float32).reshape(-1, width).T)
    yield resampler.finish()


def _to_full_scale(block: np.ndarray, gain: float, encoding: Encoding) -> np.ndarray:
    """float64 in units of the file: rounded to its integers, or as it is for floating point."""
    scaled = block.astype(np.float64) * gain
    return np.rint(scaled * encoding.full_scale) if encoding.full_scale else scaled


def _limit(
    exact: np.ndarray, encoding: Encoding, clip_mode: ClipMode
) -> tuple[np.ndarray, float, int]:
    """What is written of a block, its peak relative to full scale, and how many samples are cut."""
    full_scale = encoding.full_scale or 1
    peak = float(np.abs(exact).max(initial=0.0)) / full_scale
    if encoding.full_scale:
        limited = np.clip(exact, -full_scale, full_scale - 1)
        return limited.astype(np.int32), peak, int(np.count_nonzero(limited != exact))
    if clip_mode == ClipMode.CLAMP:
        limited = np.clip(exact, -1.0, 1.0)
        return limited.astype(np.float32), peak, int(np.count_nonzero(limited != exact))
    return exact.astype(np.float32), peak, 0


def _manifest(
    recording: Recording,
    engine: SegmentEngine,
    config: SeparationConfig,
    options: StemOptions,
    encoding: Encoding,
    gain: float,
    clipped: int,
) -> dict[str, object]:
    """Everything needed to know where the stems came from and to make them again."""
    versions = {"umss_jax": umss_jax.__version__, "python": platform.python_version()}
    for package in ("jax", "flax", "numpy", "soundfile", "soxr"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    versions["libsndfile"] = soundfile.__libsndfile_version__
    return {
        "model": engine.name,
        **engine.provenance,
        "versions": versions,
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
            "clip_mode": options.clip_mode,
            "format": f"{encoding.container} {encoding.subtype}",
        },
        "seed": config.seed,
        "gain": gain,
        "clipped_samples": clipped,
        "outputs": [f"{name}.{encoding.extension}" for name in FILES] + ["f0.csv"],
    }


@contextlib.contextmanager
def _finished_together(folder: Path) -> Iterator[Path]:
    """A working folder that becomes ``folder`` if the block ends well, and vanishes if it does not.

    Files of a replaced folder that are not ours (somebody's notes or session, true voices) move to
    the new one. A page about the replaced stems does not, nor do pitches and salience of another
    recording.

    Raises:
        OutputError: The system refuses to write.
    """
    with working_folder(folder) as work:
        yield work
        work.chmod(0o777 & ~_umask())  # the folder is for its owner only
        _replace(work, folder)


def _replace(work: Path, folder: Path) -> None:
    if not folder.exists():
        work.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=folder.parent))
    folder.rename(old / "track")
    try:
        work.rename(folder)
    except BaseException:
        (old / "track").rename(folder)
        old.rmdir()
        raise
    ours = {f"{name}.{extension}" for name in FILES for extension in ("wav", "flac")}
    is_same = _recording_of(old / "track") == _recording_of(folder)
    for item in (old / "track").iterdir():
        is_stale = is_page(item) or (is_of_pitches(item, folder.name) and not is_same)
        if item.name not in ours | {"f0.csv", "manifest.json"} and not is_stale:
            item.rename(folder / item.name)
    shutil.rmtree(old)


def _recording_of(folder: Path) -> object:
    """Hash of the file whose stems a folder holds; None where its manifest does not say."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["input"]["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
