"""A part of a recording is the same samples that the whole has there."""

import numpy as np
import pytest
import soundfile
from media_files import KINDS, encode, make, song

from umss_jax.audio.recording import read_blocks, scan
from umss_jax.errors import AudioError, UsageError

RATE = 44_100


def noise(seconds=4.0):
    return np.random.default_rng(0).uniform(-0.5, 0.5, (int(seconds * RATE), 2))


def read(recording, block=65_536):
    return np.concatenate(list(read_blocks(recording, block)), axis=1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    ("start_s", "duration_s"),
    [
        (0.0, 1.0),
        (1.5, None),
        (1.5, 0.001),
        (0.7, 2.0),
        (3.0, 100.0),
        (0.0, 4.0),
        (65_536 / RATE, 1),
    ],
)
def test_the_part_is_that_of_the_whole(tmp_path, suffix, start_s, duration_s):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(), RATE)
    whole = read(scan(path))
    first = round(start_s * RATE)
    expected = whole[:, first : None if duration_s is None else first + round(duration_s * RATE)]
    part = scan(path, start_s, duration_s)
    assert (part.samples, part.first) == (expected.shape[1], first)
    assert part.peak == pytest.approx(np.abs(expected).max(), abs=0)
    for block in (65_536, 10_000):
        np.testing.assert_array_equal(read(part, block), expected)


def test_what_lies_outside_does_not_matter(tmp_path):
    sound = noise()
    sound[:RATE], sound[3 * RATE :] = np.nan, 1e30
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    part = scan(tmp_path / "a.wav", 1.0, 2.0)
    assert part.peak <= 0.5
    with pytest.raises(AudioError, match=r"NaN.*first at 0\.500 s"):
        scan(tmp_path / "a.wav", 0.5, 2.0)
    with pytest.raises(AudioError, match=r"first at 3\.000 s"):
        scan(tmp_path / "a.wav", 1.0)
    soundfile.write(tmp_path / "cut.flac", noise(), RATE)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    assert read(scan(tmp_path / "cut.flac", 0.25, 1.0)).shape == (2, RATE)
    with pytest.raises(AudioError, match="truncated"):
        scan(tmp_path / "cut.flac", 0.25)


@pytest.mark.parametrize("name", ["m4a", "mp4 opus", "aac", "wma", "webm", "mka flac"])
@pytest.mark.parametrize(("start_s", "duration_s"), [(0.0, 0.5), (0.4, None), (0.4, 0.3)])
def test_the_part_is_that_of_the_whole_by_ffmpeg_too(tmp_path, name, start_s, duration_s):
    path, rate = make(tmp_path, name), KINDS[name].rate
    first = round(start_s * rate)
    expected = read(scan(path))[:, first:]
    if duration_s is not None:
        expected = expected[:, : round(duration_s * rate)]
    part = scan(path, start_s, duration_s)
    assert (part.samples, part.first, part.is_part) == (expected.shape[1], first, True)
    for block in (65_536, 10_000):
        np.testing.assert_array_equal(read(part, block), expected)


def test_a_part_of_a_lossless_film_is_what_was_recorded(tmp_path):
    sound = song(2.0)
    path = encode(tmp_path / "film.mov", [sound], KINDS["mov pcm"], video=True)
    part = scan(path, 1.0, 0.5)
    expected = sound[:, RATE : RATE + RATE // 2]
    np.testing.assert_allclose(read(part), expected, atol=2.0**-23)


def test_what_ffmpeg_finds_after_the_part_does_not_matter(tmp_path):
    one = encode(tmp_path / "a.aac", [song(1.2)], KINDS["aac"])
    other = encode(tmp_path / "b.aac", [song(1.0)[:, ::2]], KINDS["aac"]._replace(rate=22_050))
    path = tmp_path / "joined.aac"
    path.write_bytes(one.read_bytes() + other.read_bytes())
    assert read(scan(path, 0.25, 0.75)).shape == (2, RATE * 3 // 4)
    with pytest.raises(AudioError, match="half-way"):
        scan(path, 0.25)
    whole = make(tmp_path, "m4a", 3.0)
    content = bytearray(whole.read_bytes())
    at = content.index(b"mdat") + 40_000  # 2.5 s of 128 kb/s
    content[at : at + 600] = bytes(600)
    path = tmp_path / "damaged.m4a"
    path.write_bytes(content)
    expected = read(scan(whole, 0.25, 1.0))
    np.testing.assert_array_equal(read(scan(path, 0.25, 1.0)), expected)
    with pytest.raises(AudioError, match="truncated or damaged after"):
        scan(path, 0.25)


def test_a_part_that_changes_is_noticed(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(), RATE)
    part = scan(path, 1.0, 2.0)
    soundfile.write(path, noise(2.0), RATE)
    with pytest.raises(AudioError, match="changed"):
        read(part)


def test_parts_that_are_none(tmp_path):
    path = tmp_path / "a.wav"
    sound = noise()
    sound[: 2 * RATE] = 0
    soundfile.write(path, sound, RATE)
    with pytest.raises(AudioError, match=r"ends at 4\.00 s, before --start 4"):
        scan(path, 4.0)
    with pytest.raises(AudioError, match=r"ends at 4\.00 s"):
        scan(path, 1e300)
    with pytest.raises(AudioError, match="silent in this part"):
        scan(path, 0.0, 1.0)
    for start_s, duration_s in ((-1.0, None), (np.nan, None), (np.inf, None), (0, 0), (0, np.nan)):
        with pytest.raises(UsageError, match=r"--(start|duration) is"):
            scan(path, start_s, duration_s)
