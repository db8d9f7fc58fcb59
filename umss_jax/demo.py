"""The main job end to end on nothing but the package: a quartet sings, is separated and scored.

The score is embedded and held out from training, the singers are synthetic, the weights are those
of the package; neither network nor data are needed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from umss_jax.audio.recording import scan
from umss_jax.audio.writing import write_sound
from umss_jax.chorales.config import ChoraleConfig, DemoConfig
from umss_jax.chorales.render import Rendering, render, write_rendering
from umss_jax.chorales.scores import embedded_scores
from umss_jax.config import VOICES
from umss_jax.errors import OutputError
from umss_jax.evaluate.pitch_metrics import melody_scores
from umss_jax.files import working_folder
from umss_jax.pitch.tables import read_voices
from umss_jax.report.page import write_reports
from umss_jax.report.scores import score_voices
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.stems import separate_file
from umss_jax.train.adapt import adapt_to_recording
from umss_jax.train.config import AdaptationConfig
from umss_jax.words import counted

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine


MIXTURE = "mixture.wav"
TARGETS = "targets"
"""Folder of the true voices, where `umss-jax report` looks for them."""


class DemoScore(NamedTuple):
    """How well a voice, or all of them, was separated."""

    voice: str
    si_sdr_db: float
    """Mean over seconds."""
    mixture_si_sdr_db: float
    """Of the mixture as the estimate: where separation starts from."""
    raw_pitch_accuracy: float


class Demo(NamedTuple):
    """What a demo wrote, and its scores."""

    folder: Path
    report: Path
    scores: list[DemoScore]


def run_demo(
    out: Path,
    seed: int = 0,
    config: DemoConfig = DemoConfig(),
    overwrite: bool = False,
    tell: Callable[[str], object] = lambda stage: None,
) -> Demo:
    """Renders a quartet, separates its mixture with the starter weights, and scores the stems.

    Writes ``OUT/mixture.wav``, ``targets/`` (true voices and their F0), and what
    `umss-jax separate` and `umss-jax report` write of it: stems, residual, ``f0.csv``,
    ``manifest.json`` and ``report.html``. The folder appears when all is done.

    Args:
        out: the folder.
        seed: of singers, room, adaptation and noise; the same seed gives the same files.
        config: which score, how much of it, and steps of adaptation to the mixture.
        overwrite: replace the files of an earlier demo; others stay.
        tell: called with each stage in words.

    Raises:
        OutputError: the folder exists or cannot be written.
        WeightsError: the starter weights are missing or damaged.
    """
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists", "use --overwrite or choose another -o")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, not a folder", "choose another -o")
    if (out / TARGETS).is_symlink():
        raise OutputError(f"{out / TARGETS} leads elsewhere", "remove the link")
    with working_folder(out) as work:
        tell(f"synthetic singers sing {config.score!r}")
        score = next(one for one in embedded_scores() if one.title == config.score)
        rendering = render(score, seed, replace(ChoraleConfig(), longest_s=config.longest_s))
        mixture = rendering.stems.sum(axis=0)
        write_sound(work / MIXTURE, mixture, rendering.sample_rate_hz, "PCM_24")
        engine = _engine(work / MIXTURE, seed, config, tell)
        tell("separating")
        separation = SeparationConfig(seed=seed)
        folder = separate_file(work / MIXTURE, work, engine, separation).folder
        os.replace(work / MIXTURE, folder / MIXTURE)
        write_rendering(folder / TARGETS, rendering, seed)
        tell("scoring, writing the report")
        scores = _scores(folder, rendering, mixture)
        (report,) = write_reports(folder)
        if out.exists():
            shutil.copytree(folder, out, dirs_exist_ok=True, copy_function=os.replace)
        else:
            os.replace(folder, out)
    return Demo(out, out / report.path.name, scores)


def demo_table(scores: list[DemoScore]) -> str:
    """The scores for people to read."""
    lines = [f"{'voice':<10}{'SI-SDR':>10}{'mixture':>11}{'RPA':>8}"]
    for voice, stem_db, mixture_db, accuracy in scores:
        lines.append(f"{voice:<10}{stem_db:>7.2f} dB{mixture_db:>8.2f} dB{accuracy:>8.3f}")
    return "\n".join(lines) + "\n"


def _engine(
    mixture: Path, seed: int, config: DemoConfig, tell: Callable[[str], object]
) -> ModelEngine:
    """The starter weights, adapted to the mixture where that is asked for."""
    from umss_jax import api

    engine = api.load(config=SeparationConfig(seed=seed)).engine
    if not config.adapt_steps:
        return engine
    tell(f"adapting in {counted(config.adapt_steps, 'step')}")
    options = AdaptationConfig(steps=config.adapt_steps, seed=seed)
    return adapt_to_recording(engine, scan(mixture), options).engine


def _scores(folder: Path, rendering: Rendering, mixture: np.ndarray) -> list[DemoScore]:
    """Of every voice and of all; from the files, as a user has them."""
    stems = np.stack([soundfile.read(folder / f"{voice}.wav")[0] for voice in VOICES])
    separated = score_voices(list(VOICES), rendering.stems, stems, mixture)
    estimate = read_voices(folder / "f0.csv").f0_hz
    reference = rendering.f0_hz_synth[:, : estimate.shape[1]]
    accuracy = melody_scores(reference, estimate).raw_pitch_accuracy
    rows = zip((*VOICES, "all"), separated, (*accuracy, accuracy.mean()), strict=True)
    return [
        DemoScore(voice, row.stems["si_sdr_db"].mean, row.mixture_si_sdr_db, pitch)
        for voice, row, pitch in rows
    ]
