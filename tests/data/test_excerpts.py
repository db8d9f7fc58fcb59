"""Test excerpts: names, starts and energies are the paper's; wrong folders say what is wrong."""

import csv

import numpy as np
import pytest
import soundfile

from umss_jax.config import AudioConfig
from umss_jax.data import excerpts
from umss_jax.errors import DatasetError
from umss_jax.evaluate import metrics

AUDIO = AudioConfig()
TINY = excerpts.Song("Tiny", "Tiny", 8, 1)


@pytest.fixture(scope="module")
def quartet4(shared):
    root = shared / "datasets" / "ChoralSingingDataset"
    return list(excerpts.csd_excerpts(root, (excerpts.NINO_DIOS,), audio=AUDIO))


def test_names_and_energies_equal_the_papers(shared, quartet4):
    with open(shared / "golden" / "csd_nino_dios_quartet4_energy.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["mix_name"] for row in rows))
    assert [excerpt.name for excerpt in quartet4] == names
    expected = np.array([float(row["energy"]) for row in rows]).reshape(24, 4, 4)
    energy = metrics.frame_energy(np.stack([excerpt.sources for excerpt in quartet4]))
    np.testing.assert_allclose(energy, expected, rtol=1e-4, atol=1e-6)
    dropped = energy < 10
    assert dropped.sum() == 8
    np.testing.assert_array_equal(dropped, expected < 10)


def test_sources_sum_to_a_mixture_of_peak_one(quartet4):
    assert len(quartet4) == 24
    for excerpt in quartet4:
        assert np.abs(excerpt.mixture).max() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(excerpt.sources.sum(axis=0), excerpt.mixture, atol=1e-6)
        assert excerpt.f0_hz_synth.shape == (4, 250)


def test_starts_are_floored_to_the_grid():
    starts = excerpts.excerpt_start_frames(103, AUDIO)
    assert len(starts) == 24
    assert starts[0] == 249
    assert starts == [int(4 * (n + 1) // 0.016) for n in range(24)]
    assert len(excerpts.excerpt_start_frames(134, AUDIO)) == 32
    assert len(excerpts.excerpt_start_frames(190, AUDIO)) == 46


@pytest.fixture
def tiny(tmp_path):
    """A song of 8 s with constant sources, so of one excerpt."""
    tmp_path = tmp_path / "data"
    folder, tracks = tmp_path / "Tiny" / "audio_16kHz", tmp_path / "Tiny" / "crepe_f0_center"
    folder.mkdir(parents=True)
    tracks.mkdir()
    for level, voice in enumerate(TINY.voice_ids, start=1):
        stem = f"tiny_{voice}_101"
        audio = np.full(8 * 16_000, 0.05 * level, np.float32)
        soundfile.write(folder / f"{stem}.wav", audio, 16_000, "FLOAT")
        np.save(tracks / f"{stem}_frequency.npy", np.arange(500) + 100.0 * level)
        np.save(tracks / f"{stem}_confidence.npy", (np.arange(500) % 2) * 0.4)
    return tmp_path


def test_crepe_arrays_are_cut_at_the_excerpt_and_thresholded(tiny):
    (excerpt,) = excerpts.csd_excerpts(tiny, (TINY,), audio=AUDIO)
    np.testing.assert_allclose(excerpt.sources[:, 0], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    # 249 is odd: confidence exactly at the threshold is voiced
    np.testing.assert_array_equal(excerpt.f0_hz_synth[:, 0], [349, 449, 549, 649])
    np.testing.assert_array_equal(excerpt.f0_hz_synth[:, 1], 0)
    (without,) = excerpts.csd_excerpts(tiny, (TINY,), with_f0=False, audio=AUDIO)
    assert without.f0_hz_synth is None


def test_wrong_layouts_are_one_line_errors(tiny):
    def error(root=tiny):
        with pytest.raises(DatasetError) as caught:
            list(excerpts.csd_excerpts(root, (TINY,), audio=AUDIO))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert f"point higher, at {tiny}" in error(tiny / "Tiny")
    assert f"point higher, at {tiny}" in error(tiny / "Tiny" / "audio_16kHz")
    (tiny / "Empty").mkdir()
    assert "point at the folder that holds Tiny/audio_16kHz" in error(tiny / "Empty" / "a" / "b")
    assert f"point one level deeper, at {tiny}" in error(tiny.parent)
    folder, tracks = tiny / "Tiny" / "audio_16kHz", tiny / "Tiny" / "crepe_f0_center"
    (tracks / "tiny_Bajos_101_confidence.npy").rename(tracks / "other.npy")
    assert "no F0 of tiny_Bajos_101" in error()
    (tracks / "other.npy").rename(tracks / "tiny_Bajos_101_confidence.npy")
    np.save(tracks / "tiny_Bajos_101_frequency.npy", np.ones(400))
    assert "damaged" in error()
    np.save(tracks / "tiny_Bajos_101_confidence.npy", np.ones(400))
    assert "ends before frame 499" in error()
    soprano = folder / "tiny_Soprano_101.wav"
    soundfile.write(soprano, np.zeros(100_000), 16_000)
    assert f"{soprano} ends at sample 100000" in error()
    soundfile.write(soprano, np.zeros(100_000), 22_050)
    assert "22050 Hz, 1 channel: convert it to 16000 Hz mono" in error()
    soprano.write_bytes(b"no audio")
    assert "is not readable audio" in error()
    soprano.unlink()
    assert "holds 0 recordings named *Soprano*.wav" in error()
