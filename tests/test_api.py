"""The Python API: what is clear is accepted, all else refused by one line before the work."""

import re
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine
from stub_pitch_engine import StubPitchEngine

import umss_jax
from umss_jax import api
from umss_jax.api import PitchTracker, Separator
from umss_jax.errors import AudioError, DeviceError, UmssError, UsageError
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.pitch_files import PitchOptions
from umss_jax.separation.stems import StemOptions
from umss_jax.train.adapt import adapt, training_segments
from umss_jax.train.config import AdaptationConfig

RATE = 16_000
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 20_000)).astype(np.float32)
PCM = np.rint(SOUND * 2**14).astype(np.int16)


class Lazy:
    """A foreign array: known by its protocol alone, as tensors of PyTorch are."""

    dtype = "float32"

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.array, Exception):
            raise self.array
        return np.asarray(self.array, dtype)


@pytest.fixture
def separator():
    return Separator(StubEngine())


@pytest.fixture
def no_model(monkeypatch):
    """Whatever is wrong must be found before a model is loaded."""

    def load(**options):
        raise AssertionError("loaded")

    monkeypatch.setattr(api, "load", load)


def total(result):
    return result.stems.sum(axis=0, dtype=np.float64) + result.residual


AUDIO = {
    "mono": (SOUND[0], SOUND[0]),
    "channels first": (SOUND, SOUND),
    "samples first": (SOUND.T, SOUND.T),
    "one channel first": (SOUND[:1], SOUND[:1]),
    "one channel last": (SOUND[:1].T, SOUND[:1].T),
    "equal axes are channels first": (SOUND[:, :2], SOUND[:, :2]),
    "one sample": (SOUND[:, :1], SOUND[:, :1]),
    "not contiguous": (SOUND[:, ::-3], SOUND[:, ::-3]),
    "read-only": (np.broadcast_to(SOUND[0], (2, 20_000)), np.stack([SOUND[0]] * 2)),
    "big-endian": (SOUND.astype(">f4"), SOUND),
    "float16": (SOUND.astype(np.float16), SOUND.astype(np.float16)),
    "float64": (SOUND.astype(np.float64), SOUND),
    "long double": (SOUND.astype(np.longdouble), SOUND),
    "int16": (PCM, PCM / 2**15),
    "big-endian int16": (PCM.astype(">i2"), PCM / 2**15),
    "int32": (PCM.astype(np.int32) << 16, PCM / 2**15),
    "uint8": ((PCM // 256 + 128).astype(np.uint8), (PCM // 256) / 2**7),
    "floats at the scale of integers": (PCM.astype(np.float32), PCM),
    "floats of 1e9": (SOUND * np.float32(1e9), SOUND * np.float32(1e9)),
    "floats of 1e-5": (SOUND * np.float32(1e-5), SOUND * np.float32(1e-5)),
    "lists": (SOUND[:, :2000].tolist(), SOUND[:, :2000]),
    "a tuple": (tuple(SOUND[0, :2000].tolist()), SOUND[0, :2000]),
    "JAX": (jnp.asarray(SOUND), SOUND),
    "another library": (Lazy(SOUND), SOUND),
    "masked, but nowhere": (np.ma.masked_array(SOUND, False), SOUND),
}


@pytest.mark.parametrize("case", AUDIO)
def test_clear_arrays_are_accepted_as_what_they_are(case, separator):
    audio, expected = AUDIO[case]
    result = separator.separate(audio, RATE)
    assert result.stems.shape == (4, *np.shape(expected))
    assert result.stems.dtype == result.residual.dtype == np.float32
    peak = np.abs(expected).max()
    np.testing.assert_allclose(total(result), expected, atol=2e-6 * max(peak, 1e-6))
    tracks = PitchTracker(StubPitchEngine()).track(audio, RATE)
    assert len(tracks.time_s) == len(result.time_s)


def test_axes_do_not_change_the_result(separator):
    first, last = separator.separate(SOUND, RATE), separator.separate(SOUND.T, RATE)
    np.testing.assert_array_equal(first.stems, np.swapaxes(last.stems, 1, 2))
    np.testing.assert_array_equal(first.residual, last.residual.T)
    pcm = separator.separate(PCM, RATE)
    np.testing.assert_array_equal(
        pcm.stems, separator.separate((PCM / 2**15).astype(np.float32), RATE).stems
    )


@pytest.mark.parametrize(
    "rate",
    [
        22_050.0,
        np.float32(22_050),
        np.int64(22_050),
        np.uint16(22_050),
        np.array(22_050),
        jnp.int32(22_050),
        Fraction(22_050),
    ],
)
def test_whole_rates_of_any_type(rate, separator):
    result = separator.separate(SOUND, rate)
    assert type(result.sample_rate_hz) is int
    assert result.sample_rate_hz == 22_050
    np.testing.assert_array_equal(result.stems, separator.separate(SOUND, 22_050).stems)


REFUSED = {
    "no axes": (np.float32(0.5), "shape \\(\\).*pass one recording as"),
    "a number": (0.5, "shape \\(\\)"),
    "none": (None, "shape \\(\\)"),
    "empty": (np.zeros(0), "shape \\(0,\\)"),
    "empty list": ([], "shape \\(0,\\)"),
    "no channels": (np.zeros((0, 1000)), "shape \\(0, 1000\\)"),
    "no samples": (np.zeros((2, 0)), "shape \\(2, 0\\)"),
    "a batch": (SOUND[None], "shape \\(1, 2, 20000\\).*one recording"),
    "a spectrogram": (np.ones((513, 400)), "shape \\(513, 400\\).*32 channels"),
    "bool": (SOUND > 0, "of bool is no audio: pass floating point"),
    "complex": (SOUND.astype(complex), "of complex128 is no audio"),
    "object": (SOUND.astype(object), "of object is no audio"),
    "int64": (PCM.astype(np.int64), "of int64 is no audio.*PCM as int16, int32 or uint8"),
    "int8": (PCM.astype(np.int8), "of int8 is no audio"),
    "uint16": (PCM.astype(np.uint16), "of uint16 is no audio"),
    "a list of whole numbers": ([1, 2, 3], "a list of int64 is no audio"),
    "times": (np.array(["2020-01-01"], "M8[s]"), "is no audio"),
    "texts": (["a", "b"], "a list of <U1 is no audio"),
    "a record": (np.zeros(4, [("l", "f4"), ("r", "f4")]), "is no audio"),
    "ragged lists": ([[0.1, 0.2], [0.3]], "list cannot be read as an array"),
    "a dictionary": ({"audio": SOUND}, "shape \\(\\)"),
    "a generator": ((x for x in SOUND[0]), "shape \\(\\)"),
    "a path": (Path("choir.wav"), "is no array of samples: of a file, call separate_file"),
    "a name": ("choir.wav", "is no array of samples: of a file, call separate_file"),
    "bytes": (PCM.tobytes(), "is no array of samples"),
    "of another device": (Lazy(TypeError("can't convert cuda:0\nmore")), "cuda:0.*cpu"),
    "with gradients": (Lazy(RuntimeError("requires grad")), "requires grad.*detach"),
    "masked": (np.ma.masked_greater(SOUND, 0.1), "masked samples"),
    "NaN": (np.where(np.arange(9000) == 7, np.nan, SOUND[0, :9000]), "NaN.*first at 7: cut"),
    "infinite": (np.where(np.arange(9000) == 8, -np.inf, SOUND[0, :9000]), "the first at 8"),
    "beyond float32": (SOUND.astype(np.float64) * 1e39, "not numbers"),
    "1e38": (SOUND * np.float32(1e38), "samples up to .*full scale is 1"),
    "silence": (np.zeros((2, 1000)), "silent"),
    "silence of PCM": (np.full(1000, 128, np.uint8), "silent"),
    "below -120 dB": (SOUND * np.float32(1e-7), "silent"),
    "more than fits": (np.broadcast_to(np.float32(0.1), (2, 10**12)), "GiB of memory.*to a file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unclear_arrays_are_refused_before_the_work(case, separator, no_model):
    audio, words = REFUSED[case]
    calls = [separator.separate, separator.intermediates, PitchTracker(StubPitchEngine()).track]
    if not isinstance(audio, (str, bytes, Path)) and audio is not None:
        calls.append(umss_jax.separate)
    for call in calls:
        with pytest.raises(AudioError, match=words) as caught:
            call(audio, RATE)
        assert re.fullmatch(r"[^\n]+: [^\n]+", str(caught.value))


@pytest.mark.parametrize(
    "rate",
    [0, -1, -44_100.0, 999, 10**9, 10**400, 1e300, 44_100.5, float("nan"), float("inf"), "44100",
     b"44100", True, None, 1j, [44_100, 48_000], {}, np.array([1, 2]), np.nan],
)  # fmt: skip
def test_what_is_no_rate_is_refused(rate, separator, no_model):
    calls = [separator.separate, separator.intermediates, PitchTracker(StubPitchEngine()).track]
    for call in calls if rate is None else [*calls, umss_jax.separate]:
        with pytest.raises(UsageError, match="is no sample rate: pass a whole number of Hz"):
            call(SOUND, rate)


# --- files and names


@pytest.mark.parametrize("path", [None, "", 5, b"choir.wav", ["choir.wav"], "a\0b", object()])
def test_what_is_no_path_is_refused(path, separator, tmp_path):
    tracker = PitchTracker(StubPitchEngine())
    soundfile.write(tmp_path / "x.wav", SOUND.T, RATE)
    for call in (
        lambda: separator.separate_file(path, tmp_path),
        lambda: separator.separate_file(tmp_path / "x.wav", path),
        lambda: tracker.track_file(path, tmp_path),
        lambda: tracker.track_file(tmp_path / "x.wav", path),
        lambda: umss_jax.scan(path),
        lambda: training_segments(path),
    ):
        with pytest.raises(UsageError, match="path"):
            call()
    assert [one.name for one in tmp_path.iterdir()] == ["x.wav"]


def test_files_are_looked_at_before_a_model_is_loaded(tmp_path, no_model):
    with pytest.raises(AudioError, match="does not exist"):
        umss_jax.separate(tmp_path / "x.wav")
    with pytest.raises(UsageError, match="a file says its sample rate itself"):
        umss_jax.separate(tmp_path / "x.wav", 44_100)
    with pytest.raises(UsageError, match="pass sample_rate_hz"):
        umss_jax.separate(SOUND)
    with pytest.raises(UsageError, match="recording"):
        umss_jax.separate(None)


def test_lists_and_arrays_of_any_kind_are_separated_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(api, "load", lambda **options: Separator(StubEngine()))
    for audio in (SOUND[0, :2000].tolist(), jnp.asarray(SOUND), Lazy(SOUND)):
        assert umss_jax.separate(audio, 16_000.0).sample_rate_hz == RATE
    soundfile.write(tmp_path / "x.wav", SOUND.T, RATE)
    for path in (tmp_path / "x.wav", str(tmp_path / "x.wav")):
        track = umss_jax.separate(path, out=tmp_path / str(type(path).__name__))
        assert (track.folder / "alto.wav").is_file()


def test_options_of_another_kind_are_refused(separator, tmp_path):
    soundfile.write(tmp_path / "x.wav", SOUND.T, RATE)
    path, tracker = tmp_path / "x.wav", PitchTracker(StubPitchEngine())
    for call, words in (
        (lambda: separator.separate_file(path, tmp_path, {"flac": True}), r"StemOptions\("),
        (lambda: separator.separate_file(path, tmp_path, PitchOptions()), r"StemOptions\("),
        (lambda: tracker.track_file(path, tmp_path, StemOptions()), r"PitchOptions\("),
        (lambda: Separator(StubEngine(), {"segment_s": 4}), r"SeparationConfig\("),
        (lambda: PitchTracker(StubPitchEngine(), 4.0), r"SeparationConfig\("),
        (lambda: umss_jax.load(config={"segment_s": 4}), r"SeparationConfig\("),
        (lambda: umss_jax.load_tracker(config=AdaptationConfig()), r"SeparationConfig\("),
    ):
        with pytest.raises(UsageError, match=words):
            call()
    with pytest.raises(UsageError, match="no clip mode is called 'banana': choose from rescale"):
        separator.separate_file(path, tmp_path, StemOptions(clip_mode="banana"))
    track = separator.separate_file(path, tmp_path, StemOptions(clip_mode="clamp"))
    assert track.manifest["options"]["clip_mode"] == "clamp"


@pytest.mark.parametrize("load", [umss_jax.load, umss_jax.load_tracker])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": None}, UsageError, "name is missing: name a model"),
        ({"name": 5}, UsageError, "name is of type int"),
        ({"name": b"starter"}, UsageError, "name is of type bytes"),
        ({"name": ""}, UsageError, "names no model"),
        ({"name": "no such model"}, UmssError, "no name for weights"),
        ({"name": Path("/nowhere/x.safetensors")}, UmssError, "nowhere"),
        ({"assigner": "banana"}, UsageError, "no assigner is called 'banana': choose from auto"),
        ({"assigner": None}, UsageError, "no assigner is called None"),
        ({"assigner": ["heuristic"]}, UsageError, "no assigner is called"),
        ({"device": "banana"}, DeviceError, "no device is called 'banana': choose from auto"),
        ({"device": 0}, DeviceError, "no device is called 0"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(load, options, error, words):
    with pytest.raises(error, match=words) as caught:
        load(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"segment_s": "4"}, {"segment_s": None}, {"segment_s": float("nan")}, {"segment_s": True},
     {"segment_s": [4]}, {"overlap": "0.25"}, {"overlap": float("nan")}, {"overlap": -0.1},
     {"seed": -1}, {"seed": 0.5}, {"seed": "a"}, {"seed": None}, {"silence": -1}, {"silence": 2},
     {"silence": float("nan")}, {"silence": "quiet"}],
)  # fmt: skip
def test_separations_that_cannot_be(settings):
    with pytest.raises(UsageError):
        SeparationConfig(**settings)


def test_numbers_of_other_types_will_do():
    config = SeparationConfig(np.float32(4), np.float64(0.25), seed=np.int64(3))
    result = Separator(StubEngine(), config).separate(SOUND, RATE)
    np.testing.assert_allclose(total(result), SOUND, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"steps": -1}, {"steps": 2.5}, {"steps": "200"}, {"batch": 0}, {"batch": True},
     {"segment_step_s": 0}, {"segment_step_s": float("nan")}, {"segment_step_s": 100},
     {"max_segments": 0}, {"seed": -1}, {"learning_rate": -1e-3}, {"learning_rate": float("inf")},
     {"final_fraction": 2}, {"warmup_steps": -1}],
)  # fmt: skip
def test_adaptations_that_cannot_be(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        AdaptationConfig(**settings)


@pytest.mark.parametrize(
    "segments",
    [np.zeros((0, 64_000), np.float32), np.ones(64_000, np.float32), np.ones((1, 1, 64_000)),
     np.ones((2, 1000), np.float32), np.zeros((1, 64_000)), np.full((1, 64_000), np.nan),
     np.ones((1, 64_000), np.int16), np.ones((1, 64_000), complex), "choir.wav", None,
     [[0.1, 0.2], [0.3]]],
)  # fmt: skip
def test_what_are_no_segments_is_refused(segments):
    with pytest.raises(AudioError, match=r"mixtures_16k.*: pass what training_segments returns"):
        adapt(StubEngine(), segments, AdaptationConfig(steps=1))


def test_training_segments_of_a_path_or_a_scan(tmp_path):
    soundfile.write(tmp_path / "x.wav", SOUND.T, RATE)
    found = training_segments(tmp_path / "x.wav")
    np.testing.assert_array_equal(found, training_segments(umss_jax.scan(tmp_path / "x.wav")))
    assert np.abs(found).max() == 1
    with pytest.raises(UsageError, match="path"):
        training_segments(SOUND)


def test_intermediates_of_samples_first():
    class Listening(StubEngine):
        def intermediates(self, mixture_16k, seeds):
            return mixture_16k

    first, last = (list(Separator(Listening()).intermediates(x, RATE)) for x in (SOUND, SOUND.T))
    ((start_s, heard),) = first
    assert (start_s, heard.shape) == (0, (1, 64_000))
    np.testing.assert_array_equal(heard, last[0][1])
