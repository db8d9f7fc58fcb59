"""Separation with a score: note onsets, F0 and stems, with the score and without.

Source:   pieces with soprano.* … bass.* and a score, as ChoralSynth has them.
Command:  python -m experiments.scores run FOLDER… -o results
          python -m experiments.scores hard FOLDER… -o results
Duration: README.md beside this file.
Score:    README.md beside this file.

References are made once from the stems, by Harvest, voiced where D4C says so (`pyworld`, extra
`singers`), and kept in the folder of the results. Onsets are those of notes of a stem that begin
after silence or with another pitch: where the reference F0 first comes within half a semitone of
the note, within 0.4 s of where the score has it at the constant lag that suits the piece best.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)
Folders = Annotated[list[Path], typer.Argument(help="Of pieces.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of references and results.")]
Seconds = Annotated[float, typer.Option("--seconds", help="Of each piece, for F0 and stems.")]

_SILENT = 0.01  # of a stem's loudest frame (-40 dB): below, its F0 counts as unvoiced
_NEAR_S = 0.4
_REST_S = 0.5  # what is shorter may be a consonant or a breath within a note


class Piece(NamedTuple):
    """Stems ``[J, samples]`` at 16 kHz, and the F0 ``[J, frames]`` of their beginning."""

    name: str
    score: Path
    stems: np.ndarray
    f0_hz: np.ndarray

    @property
    def mixture(self) -> np.ndarray:
        """All stems together, ``[samples]``."""
        return self.stems.sum(axis=0)


def open_piece(folder: Path, kept: Path, seconds: float) -> Piece:
    """A piece, whose reference F0 is made where it is not kept."""
    from umss_jax.audio.recording import scan
    from umss_jax.audio.resampling import read_16k
    from umss_jax.config import VOICES, AudioConfig

    audio = AudioConfig()
    score = next(one for one in sorted(folder.iterdir()) if one.stem == "score")
    stems = []
    for voice in VOICES:
        file = next(one for one in sorted(folder.iterdir()) if one.stem == voice)
        sound = read_16k(scan(file), audio)
        stems.append(np.asarray(sound.downmix) @ np.concatenate(list(sound.blocks), axis=1))
    samples = min(map(len, stems))
    table = np.stack([stem[:samples] for stem in stems]).astype(np.float32)
    cut = table[:, : round(seconds * audio.sample_rate_hz)]
    place = kept / f"{folder.name}.f0.npy"
    if not place.exists():
        kept.mkdir(parents=True, exist_ok=True)
        np.save(place, np.stack([_reference(stem.astype(float)) for stem in cut]))
    f0_hz = np.load(place)
    loud = np.stack([_loudness(stem) for stem in cut])
    frames = min(f0_hz.shape[1], loud.shape[1])
    sounds = loud[:, :frames] > _SILENT * loud.max(axis=1, keepdims=True)
    return Piece(folder.name, score, table, np.where(sounds, f0_hz[:, :frames], 0))


def _reference(stem: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld

    f0_hz, times = pyworld.harvest(stem, 16_000, f0_floor=60.0, f0_ceil=1200.0, frame_period=16.0)
    noise = pyworld.d4c(stem, f0_hz, times, 16_000, threshold=0.85)
    return np.where((noise > 0.999).all(axis=1), 0, f0_hz)


def _loudness(stem: np.ndarray) -> np.ndarray:
    """Root mean square of 32 ms around every frame."""
    padded = np.pad(stem.astype(float), 256)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 512)[::256]
    return np.sqrt(np.mean(np.square(windows), axis=1))


def onset_errors_s(piece: Piece, fit) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Of every followed note whose onset the reference F0 shows, audio less reference."""
    frame_s, errors = fit.frame_s, []
    for f0_hz, notes, voice in zip(piece.f0_hz, fit.notes, fit.cast.voices, strict=True):
        with np.errstate(divide="ignore"):
            midi = 69 + 12 * np.log2(f0_hz / 440) - fit.tuning_semitones
        placed = np.flatnonzero(notes.is_followed & (notes.onset >= 0))
        lag = np.median(notes.onset[placed] * frame_s - voice.part.onset_s[notes.note[placed]])
        for n in placed:
            expected = round((voice.part.onset_s[notes.note[n]] + lag) / frame_s)
            first, last = expected - round(_NEAR_S / frame_s), expected + round(_NEAR_S / frame_s)
            if first < 1 or last >= len(midi):
                continue
            is_near = np.abs(midi[first - 1 : last] - notes.pitch[n]) < 0.5
            begins = first + np.flatnonzero(is_near[1:] & ~is_near[:-1])
            if len(begins):
                found = begins[np.argmin(np.abs(begins - expected))]
                errors.append((notes.onset[n] - found) * frame_s)
    return np.asarray(errors)


def raw_pitch_accuracy(reference_hz: np.ndarray, f0_hz: np.ndarray) -> float:
    """Share of voiced frames within half a semitone, of all voices together."""
    frames = min(reference_hz.shape[1], f0_hz.shape[1])
    reference_hz, f0_hz = reference_hz[:, :frames], f0_hz[:, :frames]
    voiced = reference_hz > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        cents = 1200 * np.abs(np.log2(f0_hz / reference_hz))
    return float((cents[voiced] < 50).mean())


def false_alarms_in_rests(reference_hz: np.ndarray, f0_hz: np.ndarray, frame_s: float) -> float:
    """Share of the frames of long rests ``[J, frames]`` in which a pitch is told; NaN of none."""
    frames, rests = min(reference_hz.shape[1], f0_hz.shape[1]), []
    for true, found in zip(reference_hz[:, :frames], f0_hz[:, :frames], strict=True):
        edges = np.flatnonzero(np.diff(np.r_[False, true == 0, False].astype(int)))
        spans = zip(edges[::2], edges[1::2], strict=True)
        rests += [found[a:b] > 0 for a, b in spans if (b - a) * frame_s >= _REST_S]
    return float(np.concatenate(rests).mean()) if rests else float("nan")


def mean_si_sdr_db(stems: np.ndarray, voices: np.ndarray) -> float:
    """Mean over seconds and voices ``[J, samples]`` in which the stem sounds."""
    values = []
    for stem, voice in zip(stems, voices, strict=True):
        loudest = np.abs(stem).max()
        for start in range(0, stem.shape[-1] - 16_000, 16_000):
            true, found = stem[start : start + 16_000], voice[start : start + 16_000]
            if np.abs(true).max() < _SILENT * loudest:
                continue
            target = true * (found @ true) / (true @ true)
            error = ((found - target) ** 2).sum()
            values.append(10 * np.log10((target**2).sum() / max(error, 1e-12)))
    return float(np.mean(values))


@app.command()
def run(folders: Folders, out: Out = Path("scores"), seconds: Seconds = 60.0) -> None:
    """Print onset errors, RPA and SI-SDR of every piece, with its score and without."""
    from umss_jax.api import load
    from umss_jax.errors import UmssError

    separator = load()
    rate_hz = separator.engine.config.audio.sample_rate_hz
    typer.echo(
        "piece  onset median/95 % ms  notes  RPA without/with  SI-SDR without/with dB  in rests"
    )
    rows = []
    for folder in folders:
        piece = open_piece(folder, out, seconds)
        samples = round(seconds * rate_hz)
        mixture, stems = piece.mixture[:samples], piece.stems[:, :samples]
        before = separator.separate(mixture, rate_hz)
        try:
            after = separator.separate(mixture, rate_hz, score=piece.score)
        except UmssError as error:
            typer.echo(f"{piece.name}: {error}")
            continue
        errors = np.abs(onset_errors_s(piece, after.fit)) * 1000
        row = [
            float(np.median(errors)),
            float(np.percentile(errors, 95)),
            len(errors),
            raw_pitch_accuracy(piece.f0_hz, before.f0_hz_synth),
            raw_pitch_accuracy(piece.f0_hz, after.f0_hz_synth),
            mean_si_sdr_db(stems, before.stems),
            mean_si_sdr_db(stems, after.stems),
            false_alarms_in_rests(piece.f0_hz, before.f0_hz_synth, after.fit.frame_s),
            false_alarms_in_rests(piece.f0_hz, after.f0_hz_synth, after.fit.frame_s),
        ]
        rows.append(row)
        typer.echo(_line(piece.name, row) + f"  {after.fit.summary()['followed']:.2f}")
    if rows:
        typer.echo(_line("mean", np.nanmean(rows, axis=0).tolist()))
        (out / "scores.json").write_text(json.dumps(rows))


def _line(name: str, row: list[float]) -> str:
    a, b, count, before, after, quiet, loud, alarms, fewer = row
    return (
        f"{name[:24]:24s} {a:4.0f}/{b:4.0f} {count:5.0f}  {before:.3f}/{after:.3f}  "
        f"{quiet:5.2f}/{loud:5.2f}  {alarms:.3f}/{fewer:.3f}"
    )


@app.command()
def hard(folders: Folders, out: Out = Path("scores"), seconds: Seconds = 60.0) -> None:
    """Print RPA and what is followed with scores that are not quite what is sung."""
    from umss_jax.api import load_tracker
    from umss_jax.config import Assigner
    from umss_jax.scores.fit import fit_score, open_score

    tracker = load_tracker(assigner=Assigner.AUTO)
    config = tracker.engine.config
    for folder in folders:
        piece = open_piece(folder, out, seconds)
        score = open_score(piece.score)
        as_it_is = tracker.track(piece.mixture, config.audio.sample_rate_hz)
        for name, change in CHANGES.items():
            mixture, changed = change(piece.mixture, score)
            own = as_it_is
            if mixture is not piece.mixture:
                own = tracker.track(mixture, config.audio.sample_rate_hz)
            fit = fit_score(changed, own.salience_synth, own.f0_hz_synth, config, piece.name)
            is_whole = len(mixture) == len(piece.mixture)
            rpa = raw_pitch_accuracy(piece.f0_hz, fit.f0_hz_synth) if is_whole else float("nan")
            spans = ", ".join(f"{a:.1f} to {b:.1f}" for a, b in fit.poor_stretches_s())
            reading = fit.reading
            typer.echo(
                f"{piece.name[:24]:24s} {name:22s} RPA {rpa:.3f}  followed {fit.followed:.2f}  "
                f"shift {reading.transposition:+d} speed {reading.speed:.2f}  without: {spans}"
            )


def _changed(score, change):  # type: ignore[no-untyped-def]
    """A score whose parts are changed."""
    casts = tuple(
        cast._replace(
            voices=tuple(
                voice._replace(part=change(number, voice.part))
                for number, voice in enumerate(cast.voices)
            )
        )
        for cast in score.casts
    )
    return score._replace(casts=casts)


def _transposed(mixture, score):  # type: ignore[no-untyped-def]
    return mixture, _changed(score, lambda _, part: part._replace(pitch=part.pitch + 2))


def _at_tempo(factor: float):  # type: ignore[no-untyped-def]
    def change(mixture, score):  # type: ignore[no-untyped-def]
        return mixture, _changed(
            score,
            lambda _, part: part._replace(
                onset_s=part.onset_s / factor, offset_s=part.offset_s / factor
            ),
        )

    return change


def _cut(mixture, score):  # type: ignore[no-untyped-def]
    """The fifth from 40 % on is not sung."""
    first, last = round(0.4 * len(mixture)), round(0.6 * len(mixture))
    return np.concatenate([mixture[:first], mixture[last:]]), score


def _sung_twice(mixture, score):  # type: ignore[no-untyped-def]
    """The fifth before 40 % is sung twice, and written once."""
    first, last = round(0.2 * len(mixture)), round(0.4 * len(mixture))
    return np.concatenate([mixture[:last], mixture[first:]]), score


def _wrong_page(mixture, score):  # type: ignore[no-untyped-def]
    """A fifth of the notes of each voice, from 40 % on, are others."""
    random = np.random.default_rng(0)

    def change(_, part):  # type: ignore[no-untyped-def]
        pitch = part.pitch.copy()
        first, last = round(0.4 * len(pitch)), round(0.6 * len(pitch))
        pitch[first:last] += random.choice([-5, -4, -3, -1, 1, 2, 3, 4, 6], last - first)
        return part._replace(pitch=pitch)

    return mixture, _changed(score, change)


CHANGES = {
    "as it is": lambda mixture, score: (mixture, score),
    "two semitones higher": _transposed,
    "at 70 % of the tempo": _at_tempo(0.7),
    "at 140 % of the tempo": _at_tempo(1.4),
    "a section cut": _cut,
    "a section sung twice": _sung_twice,
    "a wrong page": _wrong_page,
}


if __name__ == "__main__":
    app()
