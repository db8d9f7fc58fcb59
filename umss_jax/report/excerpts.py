"""The player of a page about an evaluation: excerpts and rows of its table, to choose between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.evaluate.listening import (
    AGAIN,
    REFERENCE,
    KeptExcerpt,
    is_of_model,
    read_gain,
    read_index,
)
from umss_jax.report.config import ReportConfig
from umss_jax.report.images import PitchAxis, clock, pitch_axis
from umss_jax.report.pitches import (
    Panel,
    Pitches,
    pitch_panel,
    read_f0,
    read_salience,
    voice_colours,
)
from umss_jax.report.player import Choice, Raw, encoded, loudest_db, player
from umss_jax.report.sounds import (
    Interval,
    PageAudio,
    choose_audio,
    read_header,
    read_sound,
)

_STRAY = 1.5
"""Times the pitch of the reference: what is found beyond lies at the edge of the picture."""
FEWER = "evaluate with a smaller --audio"
"""What to do where the page would be too large."""
_HINT = (
    "The stems of the chosen row of the table are heard; mixture and targets start muted. Another "
    "row goes on from the same moment."
)


def excerpts_player(folder: Path, config: ReportConfig = ReportConfig()) -> dict[str, Any] | None:
    """What the template of the player asks for; None where the evaluation kept nothing to hear.

    The folder is that which `umss-jax evaluate --audio` wrote.

    Raises:
        ReportError: A file is missing or damaged, or the page too large.
        AudioError: A sound is missing or cannot be decoded.
    """
    excerpts = read_index(folder)
    if not excerpts:
        return None
    rate, _, samples = read_header(folder / excerpts[0].folder / REFERENCE / "mixture.flac")
    interval = Interval(0.0, samples / rate)
    sounds = sum(1 + len(excerpt.voices) * (1 + len(excerpt.rows)) for excerpt in excerpts)
    audio = choose_audio(str(folder), rate, 1, interval.duration_s, sounds, config, FEWER)
    labels = _labels(folder, excerpts)
    return player(
        _tracks(folder, excerpts, labels, interval, audio, config),
        list(_panels(folder, excerpts, labels, interval, config)),
        interval,
        audio,
        _HINT,
        [
            Choice("excerpt", "Excerpt", [f"{one.song}, {clock(one.start_s)}" for one in excerpts]),
            Choice("row", "Stems of", labels),
        ],
        config,
    )


def _labels(folder: Path, excerpts: list[KeptExcerpt]) -> list[str]:
    """Of all rows, as the table has them, but models first: what they reach is the question."""
    of_models = {
        row.label: is_of_model(folder / excerpt.folder / row.folder)
        for excerpt in excerpts
        for row in excerpt.rows
    }
    return sorted(of_models, key=lambda label: not of_models[label])


def _tracks(
    folder: Path,
    excerpts: list[KeptExcerpt],
    labels: list[str],
    interval: Interval,
    audio: PageAudio,
    config: ReportConfig,
) -> Iterator[dict[str, Any]]:
    """Of every excerpt mixture, and for each voice the stem of every row before its target."""
    gain_of = {
        place: read_gain(place)
        for excerpt in excerpts
        for name in (REFERENCE, *(row.folder for row in excerpt.rows))
        for place in [folder / excerpt.folder / name]
    }
    down = min(gain_of.values())

    def read(path: Path) -> np.ndarray:
        return read_sound(path, interval, audio) * np.float32(down / gain_of[path.parent])

    for number, excerpt in enumerate(excerpts):
        place, scope = folder / excerpt.folder, str(number)
        mixture = read(place / REFERENCE / "mixture.flac")
        opaque_db = loudest_db(mixture, audio, config)
        encode = partial(encoded, audio=audio, opaque_db=opaque_db, config=config)
        yield encode(Raw("mixture", "mixture", "ink", mixture, scope))
        colours = voice_colours(excerpt.voices)
        for voice in excerpt.voices:
            for row in excerpt.rows:
                stem = read(place / row.folder / f"{voice}.flac")
                yield encode(
                    Raw(voice, "stem", colours[voice], stem, scope, str(labels.index(row.label)))
                )
            target = read(place / REFERENCE / f"{voice}.flac")
            yield encode(Raw(f"{voice}, target", "target", colours[voice], target, scope))


def _panels(
    folder: Path,
    excerpts: list[KeptExcerpt],
    labels: list[str],
    interval: Interval,
    config: ReportConfig,
) -> Iterator[Panel]:
    """Pitches of every row of every excerpt over its salience, beside those of the reference."""

    def read(path: Path, voices: Sequence[str]) -> Pitches | None:
        return read_f0(path, interval, AGAIN, tuple(voices)) if path.is_file() else None

    for number, excerpt in enumerate(excerpts):
        place, pitches = folder / excerpt.folder, partial(read, voices=excerpt.voices)
        reference = pitches(place / REFERENCE / "f0.csv")
        tracks = [pitches(place / row.folder / "f0.csv") for row in excerpt.rows]
        axis = _axis(reference, [one for one in tracks if one is not None], config)
        for row, track in zip(excerpt.rows, tracks, strict=True):
            path = place / row.folder / "salience.npz"
            salience = None
            if path.is_file():
                salience = read_salience(path, interval.duration_s, AGAIN, config)
            panel = pitch_panel(track, interval, config, salience, reference, axis)
            yield panel._replace(excerpt=str(number), row=str(labels.index(row.label)))


def _axis(reference: Pitches | None, tracks: list[Pitches], config: ReportConfig) -> PitchAxis:
    """One axis for all rows; lone frames octaves away from the reference must not flatten it."""
    known = tracks if reference is None else [reference, *tracks]
    found = np.concatenate([np.zeros(0), *(one.f0_hz_synth.ravel() for one in known)])
    found = found[found > 0]
    if reference is not None and (sung := reference.f0_hz_synth[reference.f0_hz_synth > 0]).size:
        low, high = np.percentile(sung, (1, 99))
        found = np.clip(found, low / _STRAY, high * _STRAY)
    return pitch_axis(found, config)
