"""A part of a recording is the same samples that the whole has there."""

import numpy as np
import pytest
import soundfile

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
