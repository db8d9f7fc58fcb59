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

_TICKS = 480  # a quarter note
_MOST = 300


def write_midi(score: Score, path: Path) -> None:
    """A score as one track a voice, named after it, at the score's tempo."""
    import mido

    file = mido.MidiFile(ticks_per_beat=_TICKS)
    for voice, notes in zip(VOICES, score.voices, strict=True):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=voice)])
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(score.beats_per_minute)))
        # What ends comes before what begins at the same moment.
        events = [(round(n.start * _TICKS), True, n.midi) for n in notes]
        events += [(round(n.end * _TICKS), False, n.midi) for n in notes]
        now = 0
        for tick, begins, midi in sorted(events):
            kind = "note_on" if begins else "note_off"
            track.append(mido.Message(kind, note=midi, velocity=64, time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(path)


def main(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    composer: Annotated[list[str], typer.Option(help="In music21's corpus; repeatable.")],
    most: Annotated[int, typer.Option(min=1, help="Number of pieces at most.")] = _MOST,
) -> None:
    """Write the four-part pieces of some composers as MIDI files."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for score in music21_scores(composer):
        write_midi(score, out / f"{score.title}.mid")
        count += 1
        if count == most:
            break
    typer.echo(f"{count} scores in {out}")


if __name__ == "__main__":
    typer.run(main)
