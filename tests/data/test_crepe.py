"""F0 by CREPE: its decoding, the files it writes, and the tracks that come with the dataset."""

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from umss_jax.cli.data import app
from umss_jax.config import AudioConfig
from umss_jax.data import crepe as crepe_f0
from umss_jax.data.excerpts import Quartet, cut_excerpts
from umss_jax.data.references import f0_files, has_f0
from umss_jax.errors import DatasetError, UsageError

VOICES = ("soprano", "alto", "tenor", "bass")
AUDIO = AudioConfig()


def test_pitch_is_the_mean_of_the_bins_around_the_highest():
    activations = np.zeros((4, 360))
    activations[0, 100] = 0.8
    activations[1, [200, 201]] = 0.5, 0.25
    activations[2, [0, 5, 359]] = 0.9, 0.5, 0.2  # five bins away counts no more
    track = crepe_f0.pitch_of(activations)
    cents = 1200 * np.log2(track.frequency_hz / 10)
    bins = (cents - 1997.3794084376191) / 20
    np.testing.assert_allclose(bins, [100, 200 + 1 / 3, 0, 0], atol=1e-9)
    np.testing.assert_array_equal(track.confidence, [0.8, 0.5, 0.9, 0.0])


@pytest.fixture
def choir(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    (tmp_path / "choir" / "hymn").mkdir(parents=True)
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(80_000) / 16_000)
    for voice in VOICES:
        soundfile.write(tmp_path / "choir" / "hymn" / f"{voice}.wav", tone, 16_000)
    return tmp_path / "choir"


def known(samples, audio):
    frames = 1 + len(samples) // audio.hop_samples
    return crepe_f0.CrepeTrack(np.arange(frames) + 100.125, np.full(frames, 0.5))


@pytest.mark.parametrize("as_table", [False, True])
def test_what_is_written_is_what_the_evaluation_reads(choir, as_table):
    files = tuple(choir / "hymn" / f"{voice}.wav" for voice in VOICES)
    written = [crepe_f0.write_track(file, AUDIO, as_table, known) for file in files]
    table, (frequency, _) = f0_files(files[0])
    assert written[0] == (table if as_table else frequency)
    assert all(has_f0(file) for file in files)
    (excerpt,) = cut_excerpts([Quartet("hymn", "hymn", files, (10,))], audio=AUDIO)
    np.testing.assert_allclose(excerpt.f0_hz_synth[2], np.arange(10, 260) + 100.125)
    if as_table:
        assert table.read_text().splitlines()[:3] == [
            *("time,frequency,confidence", "0.000,100.125,0.500000", "0.016,101.125,0.500000")
        ]


def test_the_command_tracks_what_has_no_track_yet(choir, monkeypatch):
    monkeypatch.setattr(crepe_f0.write_track, "__defaults__", (False, known))
    run = CliRunner().invoke
    first = run(app, ["f0", str(choir)])
    assert first.exit_code == 0, first.output
    assert len(first.stdout.splitlines()) == 4
    assert str(choir / "hymn" / "crepe_f0_center" / "alto_frequency.npy") in first.stdout
    f0_files(choir / "hymn" / "bass.wav")[1][1].unlink()
    (choir / "psalm").mkdir()
    for voice in VOICES:
        (choir / "psalm" / f"{voice}.wav").write_bytes(b"no audio")
    second = run(app, ["f0", str(choir)], standalone_mode=False)
    assert second.return_value == 1
    assert "3 of 8 recordings have F0 tracks already" in second.stderr
    assert "psalm/alto.wav is not audio" in second.stderr
    assert [line.split("/")[-1] for line in second.stdout.splitlines()] == ["bass_frequency.npy"]
    mixtures = choir.parent / "mixtures"
    mixtures.mkdir()
    soundfile.write(mixtures / "choir.wav", np.zeros(100), 16_000)
    error = run(app, ["f0", str(mixtures)]).exception
    assert isinstance(error, DatasetError)
    assert "no complete piece with stems" in str(error)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchcrepe", None)
    with pytest.raises(UsageError, match=r'install it by pip install "umss-jax\[crepe\]"'):
        crepe_f0.track(np.zeros(1_000), AUDIO)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tracks_equal_those_that_come_with_the_dataset(shared):
    """CREPE's own program made them, from the recording before it was brought to 16 kHz."""
    pytest.importorskip("torchcrepe", exc_type=ImportError)
    folder = shared / "datasets" / "ChoralSingingDataset" / "Nino_Dios"
    recording = folder / "audio_16kHz" / "nino_Soprano_405.wav"
    samples, _ = soundfile.read(recording, stop=8 * 16_000, dtype="float32")
    track = crepe_f0.track(samples, AUDIO)
    expected = np.loadtxt(f0_files(recording)[0], delimiter=",", skiprows=1)[: 8 * 62]
    sure = expected[:, 2] > 0.6
    assert sure.sum() > 100
    cents = 1200 * np.log2(track.frequency_hz[: len(expected)] / expected[:, 1])[sure]
    assert np.median(np.abs(cents)) < 5
    assert np.mean(np.abs(cents) < 50) > 0.99
    voiced = (track.confidence[: len(expected)] >= 0.4) == (expected[:, 2] >= 0.4)
    assert voiced.mean() > 0.97
