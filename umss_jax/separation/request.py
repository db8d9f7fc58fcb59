"""What is asked of a separation: which files, in which format, of which part of the recording."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from umss_jax.audio.excerpt import check_excerpt
from umss_jax.config import VOICES
from umss_jax.errors import UsageError, brief
from umss_jax.separation.config import ClipMode, PracticeConfig
from umss_jax.separation.encodings import Encoding, choose_encoding
from umss_jax.separation.naming import Template, parse_template, wants_files
from umss_jax.separation.outputs import (
    ALIGNMENT,
    ALIGNMENT_PICTURE,
    F0_TABLE,
    MANIFEST,
    RESIDUAL,
    sounds_of,
    track_folder,
    wants_stems,
)
from umss_jax.separation.pitch_files import need_package
from umss_jax.separation.practice import check_practice, practice_mixes


class StemOptions(NamedTuple):
    """How stems are written. The gain of ``clip_mode`` is recorded in the manifest."""

    flac: bool = False
    float32: bool = False
    clip_mode: ClipMode = ClipMode.RESCALE
    overwrite: bool = False
    plot: bool = False
    """Of a recording with a score: a picture of both."""
    sound_format: str | None = None
    """Of :class:`SoundFormat`; by default WAV, or what the options above say."""
    stems: tuple[str, ...] | None = None
    """Voices to write, ``residual`` too if it is named; by default all. The residual stays what no
    voice was given, however few are written."""
    practice: PracticeConfig | None = None
    """Mixes to practise each of these voices with."""
    filename: str | None = None
    """A template of the files' names below the folder of results (:mod:`.naming`)."""
    start_s: float = 0.0
    duration_s: float | None = None
    """The part of the recording that is separated; None: to its end."""


class Request(NamedTuple):
    """Options that were checked."""

    encoding: Encoding
    clip_mode: ClipMode
    sounds: tuple[str, ...]
    """Stems to write, without extension, in the order of the voices; the residual last."""
    practice: PracticeConfig | None
    template: Template | None
    has_score: bool
    plot: bool
    voices: tuple[str, ...] = VOICES
    """All of them, the highest first."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Stems that are not written."""
        return tuple(name for name in sounds_of(self.voices) if name not in self.sounds)

    @property
    def mixes(self) -> tuple[str, ...]:
        """Practice files, without extension."""
        if self.practice is None:
            return ()
        return tuple(mix.name for mix in practice_mixes(self.sounds, self.practice, self.voices))

    @property
    def outputs(self) -> tuple[str, ...]:
        """All files but the manifest, as they are called in a folder of their own."""
        sounds = [f"{name}.{self.encoding.extension}" for name in (*self.sounds, *self.mixes)]
        alignment = [ALIGNMENT] * self.has_score + [ALIGNMENT_PICTURE] * self.plot
        return (*sounds, F0_TABLE, *alignment)

    @property
    def files(self) -> tuple[str, ...]:
        """All files."""
        return (*self.outputs, MANIFEST)


def targets_of(
    request: Request, recording: Path, out: Path, model: str, track: str = ""
) -> dict[str, Path]:
    """Where the files of a recording go, by the names they have in a folder of their own.

    ``track`` is what that folder is called where not as the recording; a template does not ask.
    """
    if request.template is not None:
        return request.template.targets(recording, out, model, request.files)
    folder = track_folder(recording, out, model, track)
    return {name: folder / name for name in request.files}


def wants_track(
    request: Request,
    recording: Path,
    out: Path,
    model: str,
    overwrite: bool,
    skip_existing: bool = False,
    track: str = "",
) -> bool:
    """Whether the files of a recording are to be written; ``track`` as for :func:`targets_of`.

    Raises:
        OutputError: as :func:`umss_jax.separation.outputs.wants_stems` and, with names by a
            template, :func:`umss_jax.separation.naming.wants_files`.
    """
    if request.template is None:
        folder = track_folder(recording, out, model, track)
        return wants_stems(folder, recording, overwrite, skip_existing)
    targets = targets_of(request, recording, out, model)
    return wants_files(targets, recording, overwrite, skip_existing)


def request_of(
    options: StemOptions, has_score: bool = False, voices: tuple[str, ...] = VOICES
) -> Request:
    """Checks options before anything is read; the voices are those that will be separated.

    Raises:
        UsageError: they contradict each other, or ask for what there is not or is not installed.
    """
    if options.clip_mode not in list(ClipMode):
        raise UsageError(
            f"no clip mode is called {options.clip_mode!r}", f"choose from {', '.join(ClipMode)}"
        )
    encoding = choose_encoding(options.flac, options.float32, options.sound_format)
    check_excerpt(options.start_s, options.duration_s)
    if options.plot and not has_score:
        raise UsageError(
            "--plot shows a score, and there is none", "give --score, or use f0 --plot"
        )
    if options.plot:
        need_package("--plot", "matplotlib", "plot")
    sounds = _sounds(options.stems, sounds_of(voices))
    if options.practice is not None:
        check_practice(options.practice, any(name != RESIDUAL for name in sounds))
    template = None if options.filename is None else parse_template(options.filename)
    clip_mode = ClipMode(options.clip_mode)
    return Request(
        encoding,
        clip_mode,
        sounds,
        options.practice,
        template,
        has_score,
        options.plot,
        voices,
    )


def _sounds(stems: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The sounds to write, in their usual order."""
    if stems is None:
        return known
    for name in stems:
        if name not in known:
            raise UsageError(
                f"--stems has no {brief(name)} to write", f"choose from {', '.join(known)}"
            )
    if not stems:
        raise UsageError("--stems names none", f"choose from {', '.join(known)}")
    return tuple(name for name in known if name in stems)
