"""An evaluation on disk with excerpts to hear, made by rows that need no network."""

import json
from pathlib import Path

import numpy as np
from small_engine import F0_HZ

from umss_jax.data.excerpts import Excerpt
from umss_jax.evaluate.listening import ExcerptAudio
from umss_jax.evaluate.rows import Estimate, Row
from umss_jax.evaluate.run import run_evaluation
from umss_jax.evaluate.tables import statistics

LEAK = 0.25
"""Part of the mixture that the rough row leaves in its stems."""


def make_excerpts(names: tuple[str, ...] = ("one_4.0", "two/part_8.0")) -> list[Excerpt]:
    """Four seconds of noise for each voice."""
    excerpts = []
    for seed, name in enumerate(names):
        sources = np.random.default_rng(seed).normal(0, 0.05, (4, 64_000)).astype(np.float32)
        scale = 1 / np.abs(sources.sum(axis=0)).max()
        tracks = np.repeat(F0_HZ[:, None], 250, axis=1)
        sources *= scale
        excerpts.append(
            Excerpt(name, f"song {seed}", 4.0 * (seed + 1), sources.sum(axis=0), sources, tracks)
        )
    return excerpts


def exact(excerpt: Excerpt) -> Estimate:
    """True voices, without F0."""
    return Estimate(excerpt.sources)


def rough(excerpt: Excerpt) -> Estimate:
    """True voices and a part of the mixture, with F0 a little sharp."""
    assert excerpt.f0_hz_synth is not None
    return Estimate(excerpt.sources + LEAK * excerpt.mixture, 1.02 * excerpt.f0_hz_synth)


def salience(excerpt: Excerpt) -> np.ndarray:
    """Of 344 frames."""
    return np.random.default_rng(len(excerpt.name)).random((360, 344), np.float32)


def make_rows() -> list[Row]:
    """The mixture, an exact row, and a rough one that has pitches and salience."""
    mixture = Row(
        "mixture",
        {"row": "mixture"},
        lambda excerpt: Estimate(np.stack([excerpt.mixture] * 4)),
        has_stems=False,
    )
    return [
        mixture,
        Row("exact", {"row": "exact"}, exact),
        Row("rough <b>, F0 (x/y)", {"row": "rough"}, rough, salience),
    ]


def make_evaluation(folder: Path) -> Path:
    """What `evaluate -o FOLDER --audio 2` would write of them, but the tables."""
    excerpts, rows = make_excerpts(), make_rows()
    audio = ExcerptAudio(folder / "audio", [excerpt.name for excerpt in excerpts])
    results = run_evaluation(excerpts, rows, audio=audio)
    (folder / "statistics.json").write_text(json.dumps(statistics(results)))
    return folder
