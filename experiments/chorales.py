"""F0 of a model on synthetic chorales with known F0.

Source:   data of `umss-jax chorale make`.
Command:  umss-jax chorale make -n 14 -o datasets/test_chorales --seed 3 --longest 40
          python -m experiments.chorales datasets/test_chorales
Duration: README.md beside this file.
Score:    README.md beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def f0(
    folder: Annotated[Path, typer.Argument(help="Of pieces with stems and F0 tables.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Model.")] = "starter",
    assigner: Annotated[str, typer.Option("--assigner")] = "auto",
    chain: Annotated[str, typer.Option("--chain")] = "improved",
) -> None:
    """Print overall, raw pitch and raw chroma accuracy, of whole pieces, per voice and of all."""
    import numpy as np

    from umss_jax.api import load_tracker
    from umss_jax.config import VOICES
    from umss_jax.data.config import SetConfig
    from umss_jax.data.pitched_mixes import open_pitched
    from umss_jax.evaluate.pitch_metrics import melody_scores

    tracker = load_tracker(name, assigner=assigner, chain=chain)
    audio = tracker.engine.config.audio
    measures = ("overall_accuracy", "raw_pitch_accuracy", "raw_chroma_accuracy")
    rows = []
    for voices in open_pitched(SetConfig(folders=(str(folder),)), audio):
        mixture = np.sum([voice.samples for voice in voices], axis=0)
        reference = np.stack([voice.f0_hz_synth for voice in voices])
        estimate = tracker.track(mixture, audio.sample_rate_hz).f0_hz_synth
        frames = min(reference.shape[-1], estimate.shape[-1])
        scores = melody_scores(reference[:, :frames], estimate[:, :frames])
        rows.append([getattr(scores, measure) for measure in measures])
    typer.echo(f"{len(rows)} pieces, {tracker.engine.name}, {tracker.engine.assigner}, {chain}")
    typer.echo("voice    OA    RPA   RCA")
    table = np.asarray(rows)
    by_label = {voice: table[..., number] for number, voice in enumerate(VOICES)}
    for label, values in {**by_label, "all": table.mean(axis=-1)}.items():
        typer.echo(f"{label:8s} " + "  ".join(f"{value:.3f}" for value in values.mean(axis=0)))


if __name__ == "__main__":
    typer.run(f0)
