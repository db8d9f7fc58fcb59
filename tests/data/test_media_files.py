"""Data sets of recordings that FFmpeg reads."""

import numpy as np
import pytest
from media_files import KINDS, encode, song

from umss_jax.audio.cache import DecodedAudio
from umss_jax.config import VOICES
from umss_jax.data.folder_files import recordings_below, without_twins
from umss_jax.data.layouts import find_layout


@pytest.mark.parametrize(("kind", "suffix"), [("m4a", "m4a"), ("mka flac", "mka"), ("aac", "aac")])
def test_stems_of_a_piece_are_found_and_decoded(tmp_path, kind, suffix):
    for number, voice in enumerate(VOICES, 1):
        path = tmp_path / "set" / "psalm" / f"{voice}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, [song(1.0)[:, ::-1] / number], KINDS[kind])
    layout = find_layout(tmp_path / "set")
    (piece,) = layout.pieces
    assert [file.stem for voice in piece.voices for file in voice] == list(VOICES)
    sounds = [DecodedAudio(tmp_path / "kept").load(file) for file in piece.files]
    peaks = [np.abs(sound).max() for sound in sounds]
    assert {len(sound) for sound in sounds} <= {16_000, *range(16_600, 16_740)}  # aac is padded
    np.testing.assert_allclose(np.divide(peaks[0], peaks), [1, 2, 3, 4], rtol=0.1)


def test_films_are_no_data_and_the_best_format_is_taken(tmp_path):
    for name in ("a.m4a", "a.flac", "b.mp3", "b.m4a", "film.mp4", "c.opus"):
        (tmp_path / name).touch()
    found = recordings_below(tmp_path).files
    assert [file.name for file in found] == ["a.flac", "a.m4a", "b.m4a", "b.mp3", "c.opus"]
    assert [file.name for file in without_twins(found)[0]] == ["a.flac", "b.m4a", "c.opus"]
