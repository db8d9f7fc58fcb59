"""Four-part scores of music21's corpus as MIDI files, for `drawn.folder` of a pre-training.

    python -m experiments.polyphony datasets/polyphony --composer palestrina --composer monteverdi

Renaissance polyphony has what chorales lack: voices that rest, enter one by one, cross, and meet in
unison. Only notes are taken: who encoded them is named in the corpus.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.chorales.scores import Score, music21_scores
from umss_jax.config import VOICES
from umss_jax.separation.config import NoteConfig
from umss_jax.separation.midi import Note, write_midi

_MOST = 300


def write_score(score: Score, path: Path) -> None:
    """A score as one track a voice, named after it, at the score's tempo."""
    beat_s = 60 / score.beats_per_minute
    voices = {
        voice: [Note(n.start * beat_s, n.end * beat_s, n.midi) for n in notes]
        for voice, notes in zip(VOICES, score.voices, strict=True)
    }
    write_midi(path, voices, NoteConfig(microseconds_per_beat=round(1e6 * beat_s)))


def main(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    composer: Annotated[list[str], typer.Option(help="In music21's corpus; repeatable.")],
    most: Annotated[int, typer.Option(min=1, help="Number of pieces at most.")] = _MOST,
) -> None:
    """Write the four-part pieces of some composers as MIDI files."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for score in music21_scores(composer):
        write_score(score, out / f"{score.title}.mid")
        count += 1
        if count == most:
            break
    typer.echo(f"{count} scores in {out}")


if __name__ == "__main__":
    typer.run(main)
