"""What does not look like four singers a cappella is said, with its measure, and only that."""

import logging
import re

import numpy as np
import pytest
import soundfile
from places import SHARED
from stub_engine import StubEngine

from umss_jax.api import Separator, load
from umss_jax.audio.resampling import resample_whole
from umss_jax.audio.segments import SegmentStems
from umss_jax.cli import run, separate
from umss_jax.config import AudioConfig
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.likeness import Likening

SATB = np.array([440.0, 330.0, 247.0, 147.0])
FRAMES = 1250  # 20 s


def sung(medians_hz, sounding=(1.0, 1.0, 1.0, 1.0), still=0.0, seed=0):
    """F0 of voices that sing single notes around their medians, each part of the time."""
    random = np.random.default_rng(seed)
    steps = random.integers(-2, 3, (len(medians_hz), FRAMES // 25)).repeat(25, axis=1)
    wobble = 0.05 * random.standard_normal((len(medians_hz), FRAMES))
    wobble[:, random.random(FRAMES) < still] = 0
    f0_hz = np.asarray(medians_hz)[:, None] * 2 ** ((steps + wobble) / 12)
    return np.where(random.random(f0_hz.shape) < np.array(sounding)[:, None], f0_hz, 0.0)


def noise(samples=FRAMES * 256, highest_hz=8000, seed=0):
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 0.1, samples))
    spectrum[int(len(spectrum) * highest_hz / 8000) :] = 0
    return np.fft.irfft(spectrum, samples)


def measured(f0_hz, sound=None, pitches=None, residual=0.0, block=250):
    """Through blocks, as separation does it."""
    sound = noise() if sound is None else sound
    if pitches is None:
        pitches = np.count_nonzero(f0_hz, axis=0)
    likening = Likening(float(np.abs(sound).max()), AudioConfig())
    for first in range(0, f0_hz.shape[1], block):
        frames = slice(first, first + block)
        mixture = sound[None, first * 256 : (first + block) * 256]
        likening.add(np.stack([mixture / 4] * 4), f0_hz[:, frames], np.asarray(pitches)[frames])
    return likening.result(residual)


def test_a_quartet_is_measured_and_nothing_is_said():
    f0_hz = sung(SATB, (0.9, 0.9, 0.9, 0.9), still=0.6)
    found = measured(f0_hz)
    assert found.findings() == []
    assert found.warning("x.wav") == ""
    assert found.sounding_s == pytest.approx(20, abs=0.1)
    four, one = np.count_nonzero(f0_hz, axis=0) == 4, np.count_nonzero(f0_hz, axis=0)
    assert found.four_at_once == pytest.approx(four.mean(), abs=0.01)
    assert found.pitches_at_once == pytest.approx(one.mean(), abs=0.01)
    assert found.five_or_more == 0
    assert found.centre_hz == pytest.approx(np.prod(SATB) ** 0.25, rel=0.03)
    assert found.above_4_khz_db == pytest.approx(-3.01, abs=0.1)
    assert 0.3 < found.still < 0.8


OTHERS = {
    "a soloist whom three voices were given": (
        {"f0_hz": sung([300.0] * 4)[:1] * np.array([[1], [1], [1], [0]])},
        r"four different pitches at once in 0% of the time, on average 1\.0",
    ),
    "two voices": ({"f0_hz": sung(SATB, (1, 0, 0, 1))}, r"in 0% of the time, on average 2\.0"),
    "three voices": ({"f0_hz": sung(SATB, (1, 1, 0.02, 1))}, r"in 2% of the time, on average 3\.0"),
    "no voice": ({"f0_hz": np.zeros((4, FRAMES))}, r"in 0% of the time, on average 0\.0"),
    "six voices": (
        {"f0_hz": sung(SATB), "pitches": np.resize([4, 6], FRAMES)},
        "five or more pitches at once in 50% of the time",
    ),
    "a piano": ({"f0_hz": sung(SATB, still=0.97)}, r"stand still, as of an instrument, in 9\d%"),
    "TTBB": ({"f0_hz": sung(SATB / 1.5)}, r"voices around 1\d\d Hz, lower than of SATB"),
    "SSAA": ({"f0_hz": sung(SATB * 1.5)}, r"voices around 4\d\d Hz, higher than of SATB"),
    "telephone": (
        {"f0_hz": sung(SATB), "sound": noise(highest_hz=3500)},
        r"nothing above 4 kHz \(-\d+ dB\)",
    ),
    "accompaniment": (
        {"f0_hz": sung(SATB), "residual": 0.454},
        r"\(45% of the energy in the residual\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("block", [250, 1250, 187])
@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_quartet_is_said_in_one_line_with_its_measure(case, block):
    arguments, words = OTHERS[case]
    warning = measured(**arguments, block=block).warning("x.wav")
    assert re.search(words, warning)
    assert warning.startswith("x.wav does not look like four singers (SATB) a cappella (")
    assert "\n" not in warning
    assert warning.count(";") == 0, "one finding each"


def test_of_too_little_sound_nothing_is_said():
    f0_hz, sound = np.zeros((4, FRAMES)), noise()
    sound[180 * 256 :] *= 1e-3
    assert measured(f0_hz, sound).sounding_s == pytest.approx(2.88, abs=0.1)
    assert measured(f0_hz, sound).findings() == []


def test_what_is_not_known_is_not_said():
    found = measured(sung(SATB), pitches=np.full(FRAMES, -1.0), residual=None)
    assert (found.five_or_more, found.residual) == (None, None)
    assert found.findings() == []
    silent = Likening(1.0, AudioConfig()).result()
    assert silent.sounding_s == 0
    assert set(silent[1:]) == {None}


def test_blocks_do_not_change_the_measures():
    f0_hz = sung(SATB, (0.9, 0.8, 0.7, 0.9))
    whole, pieces = measured(f0_hz, block=FRAMES), measured(f0_hz, block=100)
    for one, other, name in zip(whole, pieces, whole._fields, strict=True):
        assert one == pytest.approx(other, abs=0.02), name


# --- real voices


@pytest.mark.slow
@pytest.mark.parametrize(
    ("singing", "words"),
    [
        ("SATB", ""),
        ("S", "four different pitches at once in 0%"),
        ("B", "four different pitches at once in 0%"),
        ("AT", "four different pitches at once in 0%"),
        ("ATB", r"four different pitches at once in \d%"),
        ("SATB lower", "lower than of SATB"),
        ("SATB by telephone", "nothing above 4 kHz"),
    ],
)
def test_what_is_said_of_recorded_singers(singing, words):
    folder = SHARED / "datasets/ChoralSingingDataset/Nino_Dios/audio_16kHz"
    if not folder.is_dir():
        pytest.skip("needs the Choral Singing Dataset")
    names = {"S": "Soprano_405", "A": "ContraAlt_407", "T": "tenor4-06-2", "B": "Bajos_404"}
    parts, _, how = singing.partition(" ")
    files = [folder / f"nino_{names[part]}.wav" for part in parts]
    sound = sum(soundfile.read(file, start=80_000, stop=400_000)[0] for file in files)
    sound, rate = (sound, 10_700) if how == "lower" else (sound, 16_000)
    if how == "by telephone":
        sound, rate = resample_whole(np.float32(sound)[None], 16_000, 7_000, 140_000)[0], 7_000
    found = load().separate(sound, rate).likeness.findings()
    assert re.search(words, "; ".join(found)) if words else found == []
    assert len(found) <= 1


# --- where it is said


class Choir(StubEngine):
    """Four voices, or the one that sings."""

    def __init__(self, f0_hz, pitches=None):
        super().__init__()
        self.f0_hz, self.pitches = f0_hz, pitches

    def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
        stems = super().separate(mixture_16k, channels_16k, seeds).stems_16k
        frames = mixture_16k.shape[-1] // 256
        f0_hz = self.f0_hz[None, :, :frames].repeat(len(seeds), axis=0)
        known = None if self.pitches is None else np.full((len(seeds), frames), self.pitches)
        return SegmentStems(stems, f0_hz, known)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([noise(16_000 * 6)] * 2, axis=1), 16_000)
    return path


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (Choir(sung(SATB)), ""),
        (Choir(sung(SATB), 4), ""),
        (Choir(sung(SATB), 6), "five or more pitches at once in 100%"),
        (Choir(sung(SATB, (0, 1, 0, 0))), "on average 1.0"),
    ],
)
def test_the_command_warns_and_the_manifest_says_why(
    engine, words, recording, tmp_path, monkeypatch, capfd, caplog
):
    monkeypatch.setattr(separate, "load_engine", lambda *options: engine)
    arguments = ["separate", str(recording), "-o", str(tmp_path / "out")]
    assert run(arguments) == 0
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == bool(words)
    if words:
        assert lines[0].startswith(f"umss-jax: {recording} does not look like four singers")
        assert words in lines[0]
    assert run([*arguments, "--overwrite", "--quiet"]) == 0
    assert capfd.readouterr().err == ""
    track = Separator(engine, SeparationConfig()).separate_file(recording, tmp_path / "api")
    assert track.manifest["likeness"] == {
        **track.likeness._asdict(),
        "findings": track.likeness.findings(),
    }
    in_memory = Separator(engine).separate(*soundfile.read(recording))
    for one, other in zip(in_memory.likeness[:7], track.likeness[:7], strict=True):
        assert one == (other if other is None else pytest.approx(other, rel=1e-3))
    said = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert [words in one for one in said] == [True] * (2 * bool(words))
