"""Audio files: what is read, what is refused and why."""

import os

import numpy as np
import pytest
import soundfile
from refused_recordings import refused

from umss_jax.audio.recording import choose_downmix, read_blocks, scan
from umss_jax.errors import AudioError

RATE = 44_100


def tone(seconds=0.5, channels=2, rate=RATE, peak=0.5):
    t = np.arange(round(seconds * rate)) / rate
    waves = [np.sin(2 * np.pi * 220 * (1 + channel) * t) for channel in range(channels)]
    return (peak * np.stack(waves)).astype(np.float32)


def write(path, audio, rate=RATE, **options):
    soundfile.write(path, np.asarray(audio).T, rate, **options)
    return path


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_are_the_file(tmp_path, extension, channels):
    path = write(tmp_path / f"a.{extension}", tone(1.3, channels))
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    recording = scan(path)
    assert recording[1:4] == (RATE, channels, whole.shape[1])
    assert recording.peak == np.abs(whole).max()
    blocks = list(read_blocks(recording, 10_000))
    assert {block.shape[1] for block in blocks[:-1]} == {10_000}
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


def test_refuses_missing_empty_directory_and_text(tmp_path):
    refused(tmp_path / "none.wav", "does not exist")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", "is empty")
    refused(tmp_path, "is a directory")
    (tmp_path / "text.mp3").write_text("this is not music " * 500)
    refused(tmp_path / "text.mp3", "not audio")
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "not a regular file")


def test_refuses_a_file_without_samples(tmp_path):
    refused(write(tmp_path / "none.wav", np.zeros((1, 0))), "no samples")


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_refuses_truncated_files(tmp_path, extension, kept, capfd):
    noise = np.random.default_rng(0).standard_normal((2, 3 * RATE)) * 0.1
    path = write(tmp_path / f"a.{extension}", noise)
    scan(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    refused(path, "truncated")
    assert capfd.readouterr().err == ""


def test_accepts_wav_of_unknown_length(tmp_path):
    path = write(tmp_path / "piped.wav", tone())
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert scan(path).samples == tone().shape[1]


def split_off_length_header(path):
    """An MP3 without the first frame, which holds nothing but the length."""
    content = path.read_bytes()
    second = content.index(content[:2], 100)
    assert b"Xing" in content[:second] or b"Info" in content[:second]
    path.write_bytes(content[second:])


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_accepts_mp3_of_constant_rate_without_a_length_header(tmp_path, rate):
    constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    path = write(tmp_path / "a.mp3", tone(3.0, rate=rate), rate, **constant)
    split_off_length_header(path)
    assert abs(scan(path).samples - 3 * rate) < 4 * 1152


def test_refuses_mp3_that_would_lose_its_end(tmp_path):
    path = write(tmp_path / "a.mp3", tone(3.0))
    split_off_length_header(path)
    refused(path, "convert it", "holds 3.0")
    # Two files joined: the header of the first speaks of itself alone.
    first = write(tmp_path / "first.mp3", tone(2.0)).read_bytes()
    path.write_bytes(first + first)
    refused(path, "says it is 2.00 s long but holds 4.")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_samples_that_are_no_numbers(tmp_path, bad):
    audio = tone(2.0)
    audio[1, RATE] = bad
    refused(write(tmp_path / "nan.wav", audio, subtype="FLOAT"), "NaN", "1.000 s")


def test_refuses_silence_but_not_whispers(tmp_path):
    refused(write(tmp_path / "silent.wav", np.zeros((2, RATE))), "silent")
    assert scan(write(tmp_path / "low.wav", tone(peak=1e-5), subtype="FLOAT")).peak < 2e-5


def test_downmix_is_the_mean_unless_channels_cancel(tmp_path):
    assert scan(write(tmp_path / "a.wav", tone())).downmix == (0.5, 0.5)
    one = tone(channels=1)[0]
    opposed = write(tmp_path / "b.wav", np.stack([-0.9 * one, 0.9 * one]))
    assert sorted(scan(opposed).downmix) == [0.0, 1.0]
    assert choose_downmix(np.array([0.5, 0.9]), 1e-4) == (0.0, 1.0)


def test_notices_a_file_that_changes(tmp_path):
    recording = scan(write(tmp_path / "a.wav", tone(1.0)))
    for changed in (tone(0.5), tone(1.5), tone(1.0, channels=1)):
        write(recording.path, changed)
        with pytest.raises(AudioError, match="changed"):
            list(read_blocks(recording, 4096))
    recording.path.unlink()
    with pytest.raises(AudioError, match="changed"):
        list(read_blocks(recording, 4096))


def touched(path):
    write(path, tone(1.0, peak=0.25))


@pytest.mark.parametrize("change", [touched, os.unlink, lambda path: os.truncate(path, 5000)])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_notices_a_file_that_changes_while_it_is_read(tmp_path, change, after):
    """Also where length, rate and channels stay: then by the time of its last change."""
    recording = scan(write(tmp_path / "a.wav", tone(1.0)))
    blocks = read_blocks(recording, 4096)
    for _ in range(after):
        next(blocks)
    os.utime(recording.path, ns=(0, 0))  # clocks of some file systems are slow
    change(recording.path)
    with pytest.raises(AudioError, match=r"a\.wav changed while it was being read"):
        list(blocks)
