"""Rendered ensembles of other voices than SATB, separated by the starter weights.

Source:   the settings that the package embeds, arranged by `umss-jax chorale make --voices`.
Command:  python -m experiments.ensembles run
          python -m experiments.ensembles scored    (F0 with the score that is sung)
Duration: README.md beside this file.
Score:    README.md beside this file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)
Out = Annotated[Path, typer.Option("--out", "-o", help="Kept between runs.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Default: all.")]
Count = Annotated[int, typer.Option(min=1, help="Pieces of each.")]
_OUT = Path("datasets/ensembles")
_SEED, _LONGEST_S = 11, 20.0
SETS = ("satb", "ttbb", "ssaa", "sab", "ssatb", "duet")


class Scored(NamedTuple):
    """Means over excerpts and voices."""

    si_sdr_db: float
    with_reference_f0_db: float
    mixture_db: float
    raw_pitch_accuracy: float
    voicing_false_alarm: float


@app.command()
def run(
    out: Out = _OUT,
    sets: Sets = None,
    assigner: Annotated[list[str] | None, typer.Option("--assigner")] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Model.")] = "starter",
    count: Count = 3,
) -> None:
    """Render a few pieces of each ensemble, separate them, and print RPA and SI-SDR."""
    typer.echo(
        "| voices | assigner | RPA | voicing false alarm | SI-SDR | its F0 known | mixture |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for one in sets or SETS:
        rendered(out, one, count)
        for chosen in assigner or ["auto"]:
            scored = score(out / one, name, chosen, one)
            typer.echo(
                f"| {one} | {chosen} | {scored.raw_pitch_accuracy:.3f} "
                f"| {scored.voicing_false_alarm:.2f} | {scored.si_sdr_db:.2f} dB "
                f"| {scored.with_reference_f0_db:.2f} dB | {scored.mixture_db:.2f} dB |"
            )


@app.command()
def scored(out: Out = _OUT, sets: Sets = None, count: Count = 3) -> None:
    """Print RPA and false alarms of whole pieces, without and with the score that is sung."""
    from umss_jax.api import load_tracker
    from umss_jax.audio.recording import scan
    from umss_jax.audio.resampling import read_16k
    from umss_jax.evaluate.pitch_metrics import melody_scores
    from umss_jax.pitch.tables import read_track
    from umss_jax.scores.fit import fit_score
    from umss_jax.voice_sets import parse_voices

    typer.echo("| voices | RPA without / with | false alarms without / with |\n| --- | --- | --- |")
    for one in sets or SETS:
        voices, rows = parse_voices(one), []
        tracker = load_tracker(voices=one)
        audio = tracker.engine.config.audio
        for folder in rendered(out, one, count):
            sounds = [read_16k(scan(folder / f"{name}.wav"), audio) for name in voices.names]
            mixture = sum(np.concatenate(list(sound.blocks), axis=1)[0] for sound in sounds)
            true = [read_track(folder / f"{name}.f0.csv", audio.hop_s) for name in voices.names]
            own = tracker.track(mixture, audio.sample_rate_hz)
            file, config = sung_score(folder, one), tracker.engine.config
            fit = fit_score(file, own.salience_synth, own.f0_hz_synth, config, folder.name)
            frames = min(own.f0_hz_synth.shape[1], *map(len, true))
            reference = np.stack([track[:frames] for track in true])
            for f0_hz in (own.f0_hz_synth, fit.f0_hz_synth):
                found = melody_scores(reference, f0_hz[:, :frames])
                rows.append((found.raw_pitch_accuracy.mean(), found.voicing_false_alarm.mean()))
        without, by_score = np.mean(rows[::2], axis=0), np.mean(rows[1::2], axis=0)
        typer.echo(
            f"| {one} | {without[0]:.3f} / {by_score[0]:.3f} "
            f"| {without[1]:.2f} / {by_score[1]:.2f} |"
        )


def rendered(out: Path, ensemble: str, count: int) -> list[Path]:
    """Folders of the pieces of an ensemble, which are sung where they are not there."""
    from dataclasses import replace

    from umss_jax.chorales.config import ChoraleConfig
    from umss_jax.chorales.render import make
    from umss_jax.voice_sets import parse_voices

    longest, voices = replace(ChoraleConfig(), longest_s=_LONGEST_S), parse_voices(ensemble)
    return make(out / ensemble, count, seed=_SEED, config=longest, voices=voices)


def sung_score(folder: Path, ensemble: str):  # type: ignore[no-untyped-def]
    """The whole score of a rendering, of which the beginning is sung, at its written tempo."""
    from umss_jax.chorales.arrange import arranged
    from umss_jax.chorales.scores import embedded_scores
    from umss_jax.scores.fit import ScoreFile
    from umss_jax.scores.notes import Score, part_of
    from umss_jax.scores.parts import cast_voices
    from umss_jax.voice_sets import parse_voices

    about, voices = json.loads((folder / "info.json").read_text()), parse_voices(ensemble)
    written = next(one for one in embedded_scores() if one.title == about["title"])
    written = arranged(written, voices, np.random.default_rng([about["seed"], 1]))
    beat_s = 60 / written.beats_per_minute
    parts = [
        part_of(
            name,
            [(n.start, n.end, n.start * beat_s, n.end * beat_s, n.midi, 0, 0) for n in line],
        )
        for name, line in zip(voices.names, written.voices, strict=True)
    ]
    cast = cast_voices(Score(tuple(parts), "written"), folder.name, voices.names)
    return ScoreFile(folder, (cast,))


def score(folder: Path, name: str, assigner: str, ensemble: str) -> Scored:
    """Scores of a model on the pieces of a folder, in the chain of `umss-jax separate`."""
    import contextlib

    from umss_jax.config import Assigner, Chain
    from umss_jax.data.config import Dataset
    from umss_jax.evaluate.config import F0Source
    from umss_jax.evaluate.run import Evaluation, evaluate
    from umss_jax.voice_sets import parse_voices

    what = Evaluation(
        [f"model={name}"],
        Dataset.FOLDER,
        folder,
        assigner=Assigner(assigner),
        chains=(Chain.IMPROVED,),
        sources=(F0Source.MIX, F0Source.ORACLE),
        out=folder.parent / "scores" / f"{ensemble}-{name.replace('/', '_')}-{assigner}",
        voices=parse_voices(ensemble),
    )
    results = evaluate(what, typer.echo, lambda _: contextlib.nullcontext(lambda: None))
    by_label = {result.label: result for result in results}
    model = by_label["model, improved"]
    assert model.f0 is not None
    f0 = model.f0.summary
    return Scored(
        model.stems.summary["si_sdr_db"].mean,
        by_label["model, improved, reference F0"].stems.summary["si_sdr_db"].mean,
        results[0].stems.summary["si_sdr_db"].mean,
        f0["raw_pitch_accuracy"].mean,
        f0["voicing_false_alarm"].mean,
    )


if __name__ == "__main__":
    app()
