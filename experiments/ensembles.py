"""Rendered ensembles of other voices than SATB, separated by the starter weights.

Source:   the settings that the package embeds, arranged by `umss-jax chorale make --voices`.
Command:  python -m experiments.ensembles
Duration: README.md beside this file.
Score:    README.md beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

SETS = ("satb", "ttbb", "ssaa", "sab", "ssatb", "duet")


class Scored(NamedTuple):
    """Means over excerpts and voices."""

    si_sdr_db: float
    with_reference_f0_db: float
    mixture_db: float
    raw_pitch_accuracy: float
    voicing_false_alarm: float


def ensembles(
    out: Annotated[Path, typer.Option("--out", "-o", help="Kept between runs.")] = Path(
        "datasets/ensembles"
    ),
    sets: Annotated[list[str] | None, typer.Option("--set", help="Default: all.")] = None,
    assigner: Annotated[list[str] | None, typer.Option("--assigner")] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Model.")] = "starter",
    count: Annotated[int, typer.Option(min=1, help="Pieces of each.")] = 3,
) -> None:
    """Render a few pieces of each ensemble, separate them, and print RPA and SI-SDR."""
    from dataclasses import replace

    from umss_jax.chorales.config import ChoraleConfig
    from umss_jax.chorales.render import make
    from umss_jax.voice_sets import parse_voices

    typer.echo(
        "| voices | assigner | RPA | voicing false alarm | SI-SDR | its F0 known | mixture |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    longest = replace(ChoraleConfig(), longest_s=20.0)
    for one in sets or SETS:
        voices = parse_voices(one)
        make(out / one, count, seed=11, config=longest, voices=voices)
        for chosen in assigner or ["auto"]:
            scored = score(out / one, name, chosen, one)
            typer.echo(
                f"| {one} | {chosen} | {scored.raw_pitch_accuracy:.3f} "
                f"| {scored.voicing_false_alarm:.2f} | {scored.si_sdr_db:.2f} dB "
                f"| {scored.with_reference_f0_db:.2f} dB | {scored.mixture_db:.2f} dB |"
            )


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
    typer.run(ensembles)
