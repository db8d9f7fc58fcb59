"""Audio files of stems: what they hold, and what they cannot."""

import numpy as np
import pytest
import soundfile

from umss_jax.audio.recording import scan
from umss_jax.errors import AudioError, UsageError
from umss_jax.separation.encodings import FLAC_24, WAV_24, choose_encoding
from umss_jax.separation.stem_writer import StemWriter


def recording(path, channels=2):
    soundfile.write(path, np.full((22_050, channels), 0.5), 44_100)
    return scan(path)


@pytest.mark.parametrize("encoding", [WAV_24, FLAC_24])
def test_24_bit_integers_come_back_exactly(tmp_path, encoding):
    integers = np.random.default_rng(0).integers(-(2**23), 2**23, (2, 5000), dtype=np.int32)
    whole = recording(tmp_path / "in.wav")
    writer = StemWriter(tmp_path / f"out.{encoding.extension}", encoding, whole)
    writer.write(integers[:, :3000])
    writer.write(integers[:, 3000:])
    writer.close()
    back, rate = soundfile.read(tmp_path / f"out.{encoding.extension}", dtype="int32")
    assert rate == 44_100
    np.testing.assert_array_equal(back.T >> 8, integers)


def test_formats_that_cannot_hold_the_input(tmp_path):
    with pytest.raises(UsageError, match="exclude"):
        choose_encoding(flac=True, float32=True)
    many = recording(tmp_path / "many.wav", channels=9)
    with pytest.raises(AudioError, match=r"9 channels.*write WAV"):
        StemWriter(tmp_path / "out.flac", FLAC_24, many)
