"""What is taken from music21's corpus."""

from pathlib import Path

import pytest

from umss_jax.chorales.scores import music21_scores


def test_of_a_file_of_several_works_each_is_taken(monkeypatch):
    pytest.importorskip("music21", reason="its corpus is read")
    from music21 import corpus, note, stream

    def work(parts):
        voices = [stream.Part([note.Note(pitch) for _ in range(8)]) for pitch in parts]
        return stream.Score(voices)

    four = work((72, 67, 60, 48))
    files = {
        "mass.krn": stream.Opus([four, work((72, 60)), work((71, 66, 59, 47))]),
        "motet.krn": work((74, 69, 62, 50)),
    }
    monkeypatch.setattr(corpus, "getComposer", lambda name: [Path(name) for name in files])
    monkeypatch.setattr(corpus, "parse", lambda path: files[path.name])
    scores = list(music21_scores(("anybody",)))
    assert [score.title for score in scores] == ["mass_1", "mass_3", "motet"]
    assert [score.voices[0][0].midi for score in scores] == [72, 71, 74]
