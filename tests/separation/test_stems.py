"""Folders of stems, with an engine that needs no network."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from places import HELPERS
from stub_engine import StubEngine

from umss_jax.audio.segments import SegmentStems
from umss_jax.config import VOICES
from umss_jax.errors import OutputError
from umss_jax.report.page import write_reports
from umss_jax.separation.config import ClipMode, SeparationConfig
from umss_jax.separation.stems import StemOptions, separate_file
from umss_jax.separation.stream import separate_array

SHORT = SeparationConfig(segment_s=1.0, overlap=0.25)


def noise(samples, channels=2, peak=0.4, seed=0):
    audio = np.random.default_rng(seed).uniform(-1, 1, (channels, samples))
    return (audio * peak / np.abs(audio).max()).astype(np.float32)


def read_stems(folder, extension="wav", dtype="float64"):
    names = (*VOICES, "residual")
    files = [
        soundfile.read(folder / f"{n}.{extension}", dtype=dtype, always_2d=True) for n in names
    ]
    assert len({rate for _, rate in files}) == 1
    return np.stack([audio.T for audio, _ in files]), files[0][1]


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(("rate", "channels", "seconds"), [(44_100, 2, 2.7), (16_000, 1, 0.2)])
def test_file_to_folder(tmp_path, extension, rate, channels, seconds):
    path = tmp_path / f"choir.{extension}"
    soundfile.write(path, noise(int(seconds * rate), channels).T, rate)
    audio = soundfile.read(path, dtype="float64", always_2d=True)[0].T
    track = separate_file(path, tmp_path / "out", StubEngine(), SHORT)
    assert track.folder == tmp_path / "out" / "stub" / "choir"
    assert sorted(item.name for item in track.folder.iterdir()) == sorted(
        [f"{name}.wav" for name in (*VOICES, "residual")] + ["f0.csv", "manifest.json"]
    )
    stems, stem_rate = read_stems(track.folder)
    assert stem_rate == rate
    assert stems.shape == (5, *audio.shape)
    assert np.abs(stems.sum(axis=0) - audio).max() <= 1e-3 * np.abs(audio).max()
    assert list((tmp_path / "out" / "stub").iterdir()) == [track.folder]
    assert np.abs(stems[:4]).max(axis=(1, 2)).min() > 0.01


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("flac", [False, True])
def test_integers_sum_to_the_last_bit(tmp_path, subtype, flac):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(60_000).T, 44_100, subtype=subtype)
    folder = separate_file(
        path, tmp_path / "out", StubEngine(), SHORT, StemOptions(flac=flac)
    ).folder
    stems, _ = read_stems(folder, "flac" if flac else "wav", "int32")
    audio = soundfile.read(path, dtype="int32")[0].T
    np.testing.assert_array_equal((stems >> 8).sum(axis=0), audio >> 8)


def test_very_quiet_recordings_still_sum(tmp_path):
    path = tmp_path / "low.wav"
    audio = noise(30_000, peak=2e-4)
    soundfile.write(path, audio.T, 44_100, subtype="FLOAT")
    stems, _ = read_stems(separate_file(path, tmp_path, StubEngine(), SHORT).folder)
    assert np.abs(stems.sum(axis=0) - audio).max() <= 1e-3 * 2e-4


@pytest.mark.parametrize(
    ("float32", "clip_mode", "gain_is_1", "clips"),
    [
        (False, ClipMode.RESCALE, False, False),
        (False, ClipMode.CLAMP, True, True),
        (False, ClipMode.NONE, True, True),
        (True, ClipMode.RESCALE, True, False),
        (True, ClipMode.CLAMP, True, True),
        (True, ClipMode.NONE, True, False),
    ],
)
def test_one_gain_where_stems_would_clip(tmp_path, float32, clip_mode, gain_is_1, clips):
    audio = noise(40_000, peak=3.0)
    path = tmp_path / "hot.wav"
    soundfile.write(path, audio.T, 44_100, subtype="FLOAT")
    options = StemOptions(float32=float32, clip_mode=clip_mode)
    track = separate_file(path, tmp_path, StubEngine(), SHORT, options)
    stems, _ = read_stems(track.folder)
    manifest = json.loads((track.folder / "manifest.json").read_text())
    assert (manifest["gain"] == 1) == gain_is_1
    assert (manifest["clipped_samples"] > 0) == clips
    assert (np.abs(stems).max() > 1) == (float32 and clip_mode != ClipMode.CLAMP)
    if not clips:
        error = np.abs(stems.sum(axis=0) / manifest["gain"] - audio).max()
        assert error <= 1e-3 * 3.0


def test_clipping_of_a_stem_goes_to_the_residual(tmp_path):
    class Hot(StubEngine):
        """Stems far louder than the mixture, which still sum to it."""

        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            good = super().separate(mixture_16k, channels_16k, seeds)
            stems = channels_16k[:, None] * np.float32([5, -4, 0.3, -0.3])[None, :, None, None]
            return SegmentStems(stems, good.f0_hz_synth)

    path = tmp_path / "a.wav"
    audio = noise(30_000, peak=0.3)
    soundfile.write(path, audio.T, 16_000, subtype="FLOAT")
    hot = separate_file(path, tmp_path, Hot(), SHORT)
    assert hot.manifest["clipped_samples"] == 0
    stems, _ = read_stems(hot.folder)
    assert 0.99 < np.abs(stems).max() < 1
    assert np.abs(stems.sum(axis=0) / hot.manifest["gain"] - audio).max() < 1e-3 * 0.3
    options = StemOptions(clip_mode=ClipMode.CLAMP, overwrite=True)
    stems, _ = read_stems(separate_file(path, tmp_path, Hot(), SHORT, options).folder)
    assert np.abs(stems.sum(axis=0) - audio).max() < 1e-3 * 0.3


def test_f0_table_and_manifest(tmp_path):
    path = tmp_path / "choir.flac"
    soundfile.write(path, noise(100_000).T, 44_100)
    config = SeparationConfig(1.0, 0.25, seed=3)
    folder = separate_file(path, tmp_path, StubEngine(), config).folder
    with (folder / "f0.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["time_s", "soprano", "alto", "tenor", "bass"]
    table = np.array(rows, float)
    np.testing.assert_allclose(table[:, 0], np.arange(len(table)) * 0.016, atol=1e-9)
    assert len(table) == math.ceil(math.ceil(100_000 * 16_000 / 44_100) / 256)
    in_memory = separate_array(noise(100_000), 44_100, StubEngine(), config)
    np.testing.assert_allclose(table[:, 1:].T, in_memory.f0_hz_synth, atol=1e-3)
    assert {row[4] for row in rows} == {"0"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"] == "stub"
    assert manifest["seed"] == 3
    assert manifest["device"] == "none"
    assert manifest["weights"] == {"tensors_sha256": "0" * 64}
    assert manifest["versions"]["umss_jax"]
    assert manifest["input"]["samples"] == 100_000
    assert manifest["options"]["overlap"] == 0.25


def test_same_seed_same_bytes(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(60_000).T, 44_100)
    folders = [
        separate_file(path, tmp_path / out, StubEngine(batch), SHORT).folder
        for out, batch in (("a", 1), ("b", 3))
    ]
    for item in folders[0].iterdir():
        assert item.read_bytes() == (folders[1] / item.name).read_bytes(), item.name


def test_existing_folders_are_kept_or_replaced_with_care(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(20_000).T, 16_000)
    folder = separate_file(path, tmp_path, StubEngine(), SHORT).folder
    (folder / "my notes.txt").write_text("mine")
    (folder / "report.html").write_text("<p>mine")
    with pytest.raises(OutputError, match="exists"):
        separate_file(path, tmp_path, StubEngine(), SHORT)
    options = StemOptions(flac=True, overwrite=True)
    separate_file(path, tmp_path, StubEngine(), SHORT, options)
    names = {item.name for item in folder.iterdir()}
    assert "my notes.txt" in names
    assert "soprano.flac" in names
    assert "soprano.wav" not in names
    assert (folder / "report.html").read_text() == "<p>mine"
    assert list(folder.parent.iterdir()) == [folder]


def test_what_was_made_of_replaced_stems_does_not_outlive_them(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(20_000).T, 16_000)
    folder = separate_file(path, tmp_path, StubEngine(), SHORT).folder
    write_reports(folder)
    salience = folder / "choir.salience.npz"
    salience.write_bytes(b"of this recording")
    options = StemOptions(overwrite=True)
    separate_file(path, tmp_path, StubEngine(), SHORT, options)
    assert not (folder / "report.html").exists()
    assert salience.exists()
    soundfile.write(path, 0.5 * noise(20_000).T, 16_000)
    separate_file(path, tmp_path, StubEngine(), SHORT, options)
    assert not salience.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_engine_fails(tmp_path, error):
    class Failing(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            if len(self.seeds) == 2:
                raise error("enough")
            return super().separate(mixture_16k, channels_16k, seeds)

    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(100_000).T, 16_000)
    separate_file(path, tmp_path, StubEngine(), SHORT)
    before = {item: item.read_bytes() for item in (tmp_path / "stub" / "choir").iterdir()}
    with pytest.raises(error):
        separate_file(path, tmp_path, Failing(), SHORT, StemOptions(overwrite=True))
    assert list((tmp_path / "stub").iterdir()) == [tmp_path / "stub" / "choir"]
    assert {item: item.read_bytes() for item in before} == before


PEAK_MEMORY = """
import resource, sys
import numpy as np, soundfile
sys.path.insert(0, sys.argv[2])
from stub_engine import StubEngine
from umss_jax.separation.stems import separate_file
path, seconds = sys.argv[1] + "/a.wav", int(sys.argv[3])
with soundfile.SoundFile(path, "w", 44_100, 2) as file:
    for second in range(seconds):
        file.write(np.random.default_rng(second).uniform(-0.5, 0.5, (44_100, 2)))
separate_file(path, sys.argv[1], StubEngine())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_constant_in_the_length(tmp_path):
    def peak_kib(seconds):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        arguments = [sys.executable, "-c", PEAK_MEMORY, folder, HELPERS, str(seconds)]
        return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)

    assert peak_kib(300) < 1.1 * peak_kib(30)
