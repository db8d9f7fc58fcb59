"""The model as an engine, and the Python API around it, with freshly drawn weights."""

import json

import jax
import numpy as np
import pytest
import soundfile
from weight_files import save_recognised

from umss_jax.api import load
from umss_jax.audio.segments import plan_segments
from umss_jax.config import VOICES, Assigner, ModelConfig
from umss_jax.errors import DeviceError, UnknownModelError, UsageError
from umss_jax.inference import ModelEngine
from umss_jax.model import init_variables
from umss_jax.separate.config import SeparationConfig
from umss_jax.weights.combine import model_name

ONE_SECOND = SeparationConfig(segment_s=1.0, overlap=0.25)
SAMPLES = plan_segments(ONE_SECOND).segment


def chord(samples=SAMPLES, rate=16_000, shift=1.0):
    t = np.arange(samples) / rate
    notes = [110 * shift, 220 * shift, 277 * shift, 440 * shift]
    audio = sum(np.sin(2 * np.pi * k * f * t) / k for f in notes for k in range(1, 9))
    return (audio / np.abs(audio).max()).astype(np.float32)


@pytest.fixture(scope="module")
def variables():
    """Of the right shapes, and cheaper to come by than the model's own initial values."""
    shapes = jax.eval_shape(lambda key: init_variables(key, ModelConfig()), jax.random.key(0))
    draw = np.random.default_rng(0)

    def fill(path, leaf):
        around = 1.0 if path[-1].key in ("scale", "var") else 0.0
        width = 0.0 if path[-1].key == "var" else 0.05
        return (around + width * draw.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.fixture(scope="module")
def engine(variables):
    return ModelEngine("drawn", variables, batch_segments=2)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UMSS_SHARED", raising=False)
    return tmp_path


@pytest.mark.slow
def test_stems_sum_to_every_channel_and_segments_are_independent(engine):
    mixture = np.stack([chord(), chord(shift=1.19)])
    channels = np.stack([mixture * 0.3, mixture * -0.1], axis=1)
    seeds = np.array([5, 6], np.uint32)
    together = engine.separate(mixture, channels, seeds)
    assert together.stems_16k.shape == (2, 4, 2, SAMPLES)
    assert together.f0_hz_250.shape == (2, 4, SAMPLES // 256)
    np.testing.assert_allclose(together.stems_16k.sum(axis=1), channels, atol=1e-5)
    np.testing.assert_allclose(
        together.stems_16k[:, :, 1], together.stems_16k[:, :, 0] / -3, atol=1e-5
    )
    alone = engine.separate(mixture[1:], channels[1:], seeds[1:])
    np.testing.assert_allclose(alone.stems_16k[0], together.stems_16k[1], atol=2e-3)
    other = engine.separate(mixture[1:], channels[1:], seeds[:1])
    assert np.abs(other.stems_16k - alone.stems_16k).max() > 1e-4


@pytest.mark.slow
def test_the_api_from_name_to_stems(variables, store):
    save_recognised("drawn", variables, {"origin": "drawn in a test"})
    separator = load("drawn", assigner="heuristic", device="cpu", config=ONE_SECOND)
    audio = np.stack([chord(30_000, 22_050), 0.5 * chord(30_000, 22_050)])
    result = separator.separate(audio, 22_050)
    total = result.stems.sum(axis=0, dtype=np.float64) + result.residual
    np.testing.assert_allclose(total, audio, atol=1e-5)
    assert tuple(result.voices) == VOICES
    outputs = list(separator.intermediates(audio, 22_050))
    assert [start for start, _ in outputs] == [0.0, plan_segments(ONE_SECOND).step / 16_000]
    assert outputs[0][1].sources.shape == (1, 4, SAMPLES)
    assert outputs[0][1].latent.shape[0] == 1
    soundfile.write(store / "chord.wav", audio.T, 22_050)
    track = separator.separate_file(store / "chord.wav", store / "out")
    manifest = json.loads((track.folder / "manifest.json").read_text())
    assert track.folder == store / "out" / "drawn" / "chord"
    assert manifest["assigner"] == "heuristic"
    assert manifest["weights"]["origin"] == "drawn in a test"
    assert len(manifest["weights"]["tensors_sha256"]) == 64
    assert manifest["device"].startswith("cpu")


def test_what_cannot_be_loaded(variables, store):
    with pytest.raises(UnknownModelError, match="no-such"):
        load("no-such")
    with pytest.raises(UsageError, match="dice"):
        load("no-such", assigner="dice")
    with pytest.raises(DeviceError, match="abacus"):
        load("no-such", device="abacus")
    with pytest.raises(DeviceError, match="tpu"):
        load("no-such", device="tpu")
    f0_networks = {
        name: {part: tree for part, tree in parts.items() if part in ("salience", "assignment")}
        for name, parts in variables.items()
    }
    save_recognised("f0-only", f0_networks)
    with pytest.raises(UsageError, match=r"no decoder and no encoder.*--adapt"):
        load("f0-only")
    completed = load("f0-only", draw_missing=True)
    assert set(completed.engine.variables["params"]) == {
        *("salience", "assignment", "encoder", "decoder")
    }
    save_recognised("decoder-only", {"params": {"decoder": variables["params"]["decoder"]}})
    with pytest.raises(UsageError, match="no salience"):
        load("decoder-only", draw_missing=True, assigner=Assigner.HEURISTIC)


def test_models_that_are_files_give_their_name_to_the_folder():
    assert model_name("published") == "published"
    assert model_name("v1.2") == "v1.2"
    assert model_name("/somewhere/choir.v2.safetensors") == "choir.v2"
