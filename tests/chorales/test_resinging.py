"""Recorded singers: units of a recording, and scores sung by them at exactly known pitch."""

import numpy as np
import pytest
import soundfile

from umss_jax.chorales.bank import RATE_HZ, load_bank, make_bank, save_bank
from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.render import render
from umss_jax.chorales.scores import embedded_scores
from umss_jax.errors import DatasetError, UmssError

pyworld = pytest.importorskip("pyworld", reason="pyworld takes singers apart")


def voice(hz, seed):
    """Three syllables of a voice with two formants, hisses between them."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(0.6 * RATE_HZ)) / RATE_HZ
    tone = sum(
        np.exp(-abs(n * hz - 700) / 500) * np.sin(2 * np.pi * n * hz * time)
        for n in range(1, int(7000 / hz))
    )
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.03)
    hiss = 0.02 * np.diff(rng.standard_normal(int(0.1 * RATE_HZ) + 2), 2)
    silence = np.zeros(int(0.3 * RATE_HZ))
    syllable = np.concatenate([silence, hiss, 0.2 * tone * fade])
    return np.concatenate([syllable] * 3 + [silence])


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("singers")
    for name, hz in (("low", 110.0), ("high", 330.0)):
        soundfile.write(folder / f"{name}.wav", voice(hz, 1), RATE_HZ)
    return make_bank([folder / "low.wav", folder / "high.wav"])


def test_syllables_are_found_with_their_consonants(bank):
    assert list(bank.names) == ["low", "high"]
    singers, first, voiced, end = bank.units.T
    assert list(singers) == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(bank.unit_hz, [110] * 3 + [330] * 3, rtol=0.01)
    np.testing.assert_allclose((end - voiced) * 0.005, 0.6, atol=0.06)
    assert np.all(voiced - first >= 10)


def test_a_bank_is_read_as_it_was_written(bank, tmp_path):
    path = tmp_path / "bank.npz"
    save_bank(path, bank)
    for one, other in zip(bank, load_bank(path), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 garbage", b"x" * 1000])
def test_what_is_no_bank_is_refused(content, tmp_path):
    path = tmp_path / "bank.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is no bank of singers"):
        load_bank(path)


def test_silence_is_no_singer(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(UmssError, match=r"nothing that is sung|silent"):
        make_bank([tmp_path / "silence.wav"])


def test_scores_are_sung_at_the_pitch_that_is_said(bank):
    """Harvest hears in every stem the F0 that is written beside it."""
    config = ChoraleConfig(longest_s=8.0, singers_probability=(1.0,), dry_probability=1.0)
    rendering = render(embedded_scores()[0], 4, config, bank)
    again = render(embedded_scores()[0], 4, config, bank)
    np.testing.assert_array_equal(rendering.stems, again.stems)
    assert np.abs(rendering.stems.sum(axis=0)).max() == pytest.approx(0.9, rel=1e-3)
    for stem, said in zip(rendering.stems, rendering.f0_hz_synth, strict=True):
        heard, _ = pyworld.harvest(stem.astype(np.float64), RATE_HZ, 60.0, 1200.0, 16.0)
        count = min(len(heard), len(said))
        both = (heard[:count] > 0) & (said[:count] > 0)
        assert both.sum() > 0.8 * (said > 0).sum()
        cents = 1200 * np.log2(heard[:count][both] / said[:count][both])
        assert np.mean(np.abs(cents) < 20) > 0.9
