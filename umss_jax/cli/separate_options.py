"""Options of ``umss-jax separate`` that say which files it writes."""

from __future__ import annotations

from typing import Annotated

import typer

from umss_jax.errors import UsageError
from umss_jax.separation.config import PracticeConfig, SoundFormat

PRACTICE = PracticeConfig()

FormatOption = Annotated[
    SoundFormat | None,
    typer.Option("--format", help="WAV (the default) and FLAC have 24 bits; OGG is Vorbis."),
]
StemsOption = Annotated[
    str | None,
    typer.Option(
        "--stems",
        metavar="NAMES",
        help="Write only these, such as soprano,bass or tenor,residual.",
    ),
]
FilenameOption = Annotated[
    str | None,
    typer.Option(
        "--filename",
        metavar="TEMPLATE",
        help="Names below OUT, of {track}, {folder} (that of the recording), {model}, {stem} and "
        "{ext}: {folder}/{stem}.{ext}.",
    ),
]
StartOption = Annotated[
    float, typer.Option("--start", help="Second of the recording to begin at.", metavar="SECONDS")
]
DurationOption = Annotated[
    float | None,
    typer.Option("--duration", help="Seconds to separate; default: to the end.", metavar="SECONDS"),
]
PracticeOption = Annotated[
    bool,
    typer.Option(
        "--practice",
        help="Write two mixes for each voice too: with it in front, and without it.",
    ),
]
OthersOption = Annotated[
    float,
    typer.Option("--others-db", help="With --practice: level of the others.", metavar="DB"),
]
TempoOption = Annotated[
    float,
    typer.Option("--tempo", help="With --practice: 0.8 is slower, at the same pitch."),
]


def stem_names(text: str | None) -> tuple[str, ...] | None:
    """The names of a list apart by commas."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())


def practice_config(practice: bool, others_db: float, tempo: float) -> PracticeConfig | None:
    """Settings of practice files, where they are asked for.

    Raises:
        UsageError: they are not, but their settings are, or a setting is out of range.
    """
    config = PracticeConfig(others_db, tempo)
    if practice:
        return config
    for option, value, usual in (
        ("--others-db", others_db, PRACTICE.others_db),
        ("--tempo", tempo, PRACTICE.tempo),
    ):
        if value != usual:
            raise UsageError(f"{option} is of practice files", "add --practice, or leave it out")
    return None
