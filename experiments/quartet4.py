"""Nino Dios, quartet 4 of the Choral Singing Dataset: one recording, separated and scored.

Source:   SPEC of the evaluation protocol: 24 excerpts of 4 s, 376 of 384 frames of 1 s count.
Command:  python -m experiments.quartet4 mix DATA -o OUT
          umss-jax separate OUT/quartet4.wav -o OUT -n published --assigner heuristic --adapt 200
          python -m experiments.quartet4 score DATA OUT/published/quartet4
          python -m experiments.quartet4 f0 DATA
          python -m experiments.quartet4 multif0 DATA
Duration: README.md beside this file.
Score:    README.md beside this file.

DATA holds the folder Nino_Dios with audio_16kHz and crepe_f0_center.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)
Data = Annotated[Path, typer.Argument(help="Folder that holds Nino_Dios.")]


@app.command()
def mix(data: Data, out: Annotated[Path, typer.Option("--out", "-o")] = Path("quartet4")) -> None:
    """Write the mixture of the four singers, OUT/quartet4.wav, and print its path."""
    typer.echo(write_mixture(data, out))


@app.command()
def score(
    data: Data, stems: Annotated[Path, typer.Argument(help="Folder of the four stems.")]
) -> None:
    """Print the SI-SDR of separated stems over the frames that count."""
    result = score_stems(data, stems)
    summary = result.summary["si_sdr_db"]
    frames = f"{int(result.kept.sum())} of {result.kept.size} frames"
    typer.echo(f"SI-SDR {summary.mean:.2f} dB mean, {summary.median:.2f} dB median, {frames}")


@app.command()
def f0(
    data: Data,
    name: Annotated[str, typer.Option("--name", "-n", help="Model.")] = "published",
    assigner: Annotated[str, typer.Option("--assigner")] = "auto",
) -> None:
    """Print overall, raw pitch and raw chroma accuracy of a model's F0."""
    from umss_jax.api import load
    from umss_jax.cli.weights import bring_published
    from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts
    from umss_jax.evaluate.config import EvaluationConfig
    from umss_jax.evaluate.protocol import evaluate_f0

    bring_published(name)
    engine = load(name, assigner=assigner, init_missing=True).engine
    result = evaluate_f0(
        csd_excerpts(data, [NINO_DIOS], audio=EvaluationConfig().audio),
        lambda excerpt: engine.f0_hz_synth(excerpt.mixture[None])[0],
        windows="excerpt",
    )
    for measure in ("overall_accuracy", "raw_pitch_accuracy", "raw_chroma_accuracy"):
        summary = result.summary[measure]
        typer.echo(f"{measure} {summary.mean:.3f} mean, {summary.median:.3f} median")


@app.command()
def multif0(
    data: Data,
    name: Annotated[str, typer.Option("--name", "-n", help="Model.")] = "published",
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Minimum salience; by default the chain's."),
    ] = None,
    chain: Annotated[str, typer.Option("--chain")] = "improved",
) -> None:
    """Print multi-F0 precision, recall and F-measure of a model's salience, before assignment."""
    import numpy as np

    from umss_jax.api import load_tracker
    from umss_jax.cli.weights import bring_published
    from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts
    from umss_jax.evaluate.pitch_metrics import multi_pitch_scores
    from umss_jax.pitch.continuity import multi_f0_peaks

    bring_published(name)
    engine = load_tracker(name, assigner="none", chain=chain).engine
    minimum = engine.config.f0.least_salience if threshold is None else threshold
    scores = []
    for excerpt in csd_excerpts(data, [NINO_DIOS], audio=engine.config.audio):
        assert excerpt.f0_hz_synth is not None
        salience = engine.pitches(excerpt.mixture[None]).salience_synth[0]
        peaks_hz = multi_f0_peaks(salience, minimum, engine.config.hcqt)
        scores.append(multi_pitch_scores(excerpt.f0_hz_synth.T, peaks_hz))
    for measure in ("precision", "recall", "f_measure"):
        typer.echo(f"{measure} {np.mean([getattr(one, measure) for one in scores]):.3f}")


def write_mixture(data: Path, out: Path, seconds: float | None = None) -> Path:
    """Sum of the four singers, cut to the shortest, scaled to a peak of 0.9.

    Args:
        data: folder that holds Nino_Dios.
        out: folder to write to.
        seconds: how much of it; all by default.

    Returns:
        The file written.
    """
    import numpy as np
    import soundfile

    from umss_jax.data.excerpts import NINO_DIOS, singer_files
    from umss_jax.files import make_whole

    voices = [soundfile.read(file)[0] for file in singer_files(data, NINO_DIOS)]
    length = min(len(voice) for voice in voices)
    if seconds:
        length = min(length, round(seconds * 16_000))
    mixture = np.sum([voice[:length] for voice in voices], axis=0)
    path = out / "quartet4.wav"
    scaled = 0.9 * mixture / np.abs(mixture).max()
    write = partial(soundfile.write, data=scaled, samplerate=16_000, subtype="PCM_24", format="WAV")
    make_whole(path, write)
    return path


def score_stems(data: Path, stems: Path):  # type: ignore[no-untyped-def]
    """Scores of separated stems on those excerpts that they cover.

    Args:
        data: folder that holds Nino_Dios.
        stems: folder with soprano.wav … bass.wav at 16 kHz.

    Returns:
        :class:`umss_jax.evaluate.protocol.StemEvaluation`.
    """
    import numpy as np
    import soundfile

    from umss_jax.config import VOICES
    from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts
    from umss_jax.evaluate.config import EvaluationConfig
    from umss_jax.evaluate.protocol import evaluate_stems

    separated = np.stack([soundfile.read(stems / f"{voice}.wav")[0] for voice in VOICES])

    def cut(excerpt) -> np.ndarray:  # type: ignore[no-untyped-def]
        start = round(excerpt.start_s * 16_000)
        return separated[:, start : start + excerpt.mixture.size]

    covered = (
        excerpt
        for excerpt in csd_excerpts(
            data, [NINO_DIOS], with_f0=False, audio=EvaluationConfig().audio
        )
        if round(excerpt.start_s * 16_000) + excerpt.mixture.size <= separated.shape[1]
    )
    return evaluate_stems(covered, cut)


if __name__ == "__main__":
    app()
