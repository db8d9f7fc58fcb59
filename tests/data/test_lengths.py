"""What does not fit in the recordings of a piece, or in two sets, is said by name."""

import shutil

import numpy as np
import pytest
import soundfile

from umss_jax.cli import run
from umss_jax.config import VOICES, AudioConfig
from umss_jax.data import mixes
from umss_jax.data.config import DataConfig, SetConfig
from umss_jax.data.pieces import find_pieces, open_pieces
from umss_jax.errors import DatasetError
from umss_jax.words import warn_once

AUDIO = AudioConfig(example_samples=4096)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    warn_once.cache_clear()


def sing(folder, seconds=(1.0,) * 4, rates=(16_000,) * 4, seed=0, form="{}.wav"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for voice, length, rate in zip(VOICES, seconds, rates, strict=True):
        samples = rng.uniform(-0.2, 0.2, round(length * rate))
        soundfile.write(folder / form.format(voice), samples, rate)


def opened(root):
    return open_pieces(find_pieces(SetConfig((str(root),))), AUDIO)


SOFT = [(10.0, 10.0, 9.2, 10.0), (1.0, 1.2, 1.2, 1.2), (30.0, 27.5, 30.0, 30.0)]
HARD = [(10.0, 10.0, 7.0, 10.0), (3.0, 1.0, 3.0, 3.0), (30.0, 30.0, 30.0, 26.5)]
ROUNDING = [(1.0, 1.0, 1.0, 1.0), (1.0, 1.09, 1.0, 1.05), (10.0, 10.05, 10.0, 10.0)]


@pytest.mark.parametrize("seconds", SOFT)
def test_a_real_difference_is_said_with_both_lengths(tmp_path, seconds):
    sing(tmp_path / "set" / "psalm", seconds)
    (one,) = opened(tmp_path / "set")
    short = VOICES[int(np.argmin(seconds))]
    assert one.samples == round(min(seconds) * 16_000)
    (note,) = one.notes
    assert f"{short}.wav is {min(seconds):.2f} s long and " in note
    assert f" {max(seconds):.2f} s: psalm ends at {min(seconds):.2f} s" in note


@pytest.mark.parametrize("seconds", HARD)
def test_a_gross_difference_is_refused(tmp_path, seconds):
    sing(tmp_path / "set" / "psalm", seconds)
    with pytest.raises(DatasetError, match=f"is {min(seconds):.2f} s long and .*not of one perf"):
        opened(tmp_path / "set")


@pytest.mark.parametrize("seconds", ROUNDING)
def test_rounding_is_not_worth_a_word(tmp_path, seconds):
    sing(tmp_path / "set" / "psalm", seconds)
    assert opened(tmp_path / "set")[0].notes == ()


def test_different_rates_are_said(tmp_path):
    sing(tmp_path / "set" / "psalm", rates=(16_000, 44_100, 16_000, 16_000))
    assert opened(tmp_path / "set")[0].notes == (
        "the recordings of psalm have different sample rates "
        "(soprano.wav 16000 Hz, alto.wav 44100 Hz)",
    )


def test_one_recording_for_two_voices_is_said(tmp_path):
    sing(tmp_path / "set" / "psalm")
    shutil.copy(tmp_path / "set" / "psalm" / "alto.wav", tmp_path / "set" / "psalm" / "tenor.wav")
    assert opened(tmp_path / "set")[0].notes == (
        "alto.wav and tenor.wav of psalm are the same recording",
    )


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_recording_in_both_sets_is_said(tmp_path, caplog, suffix):
    """Under another name, in another piece, in another format of the same samples."""
    for number, folder in enumerate(("train/a", "train/b", "held-out/c")):
        sing(tmp_path / folder, seed=number)
    samples, rate = soundfile.read(tmp_path / "train" / "b" / "alto.wav", dtype="int16")
    (tmp_path / "held-out" / "c" / "bass.wav").unlink()
    soundfile.write((tmp_path / "held-out" / "c" / "bass").with_suffix(suffix), samples, rate)
    sets = [SetConfig((str(tmp_path / name),)) for name in ("train", "held-out")]
    mixes.open_sets(DataConfig(*sets), 0, with_sources=True, audio=AUDIO)
    (line,) = caplog.messages
    assert f"{tmp_path}/held-out/c/bass{suffix} as {tmp_path}/train/b/alto.wav" in line


def test_sets_apart_are_not_worth_a_word(tmp_path, caplog):
    for number, folder in enumerate(("train/a", "held-out/c")):
        sing(tmp_path / folder, seed=number)
    sets = [SetConfig((str(tmp_path / name),)) for name in ("train", "held-out")]
    mixes.open_sets(DataConfig(*sets), 0, with_sources=True, audio=AUDIO)
    assert caplog.messages == []


def test_what_was_guessed_is_said_once_for_both_sets(tmp_path, caplog):
    sing(tmp_path / "set", form="One - {}.wav")
    sing(tmp_path / "set", form="Two - {}.wav", seed=1)
    sing(tmp_path / "set", form="Three {}.wav", seed=2)
    (tmp_path / "set" / "Three bass.wav").unlink()
    sets = [SetConfig((str(tmp_path / "set"),), (name,)) for name in ("One", "Two")]
    mixes.open_sets(DataConfig(*sets), 0, with_sources=True, audio=AUDIO)
    assert caplog.messages == [
        f"{tmp_path}/set: voices are told from names: One - alto.wav as the alto of One",
        f"{tmp_path}/set: 1 incomplete piece is left out (Three has no bass)",
    ]


def test_check_says_all_of_it(tmp_path, capsys):
    sing(tmp_path / "set", (10.0, 10.0, 9.2, 10.0), form="Title - {}.wav")
    assert run(["data", "check", str(tmp_path / "set")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "layout: stems, 1 complete piece",
        "Title: 9.2 s, singers 1/1/1/1, 1 validation excerpt",
        "0.2 min, 1 validation excerpt, about 575 starts for random mixes",
    ]
    assert [line.split(": ", 1)[1].replace(str(tmp_path), "") for line in err.splitlines()] == [
        "voices are told from names: Title - alto.wav as the alto of Title",
        "/set/Title - tenor.wav is 9.20 s long and Title - soprano.wav 10.00 s: "
        "Title ends at 9.20 s",
    ]
