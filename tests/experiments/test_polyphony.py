"""Scores as MIDI files keep every note."""

import numpy as np
import pytest

from experiments.polyphony import write_score
from umss_jax.chorales.scores import embedded_scores
from umss_jax.data.sung_scores import open_scores

pytest.importorskip("mido")


def test_the_notes_come_back(tmp_path):
    score = embedded_scores()[0]
    write_score(score, tmp_path / "one.mid")
    (parts,) = open_scores(tmp_path)
    for part, notes in zip(parts, score.voices, strict=True):
        assert part.pitch.tolist() == [note.midi for note in notes]
        np.testing.assert_allclose(part.onset_beats, [n.start for n in notes], atol=1 / 480)
        np.testing.assert_allclose(part.offset_beats, [n.end for n in notes], atol=1 / 480)
