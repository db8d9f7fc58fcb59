"""The model as an engine, and the Python API around it: stems and pitches, with sampled weights."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine
from weight_files import random_variables, save_recognised

import umss_jax
from umss_jax import api
from umss_jax.api import load, load_tracker
from umss_jax.audio.segments import plan_segments
from umss_jax.cli.weights import bring_published
from umss_jax.config import VOICES, Assigner, AudioConfig, ModelConfig, TrackAssigner
from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts
from umss_jax.dsp.hcqt import hcqt
from umss_jax.dsp.resample import resample
from umss_jax.errors import DeviceError, UnknownModelError, UsageError, WeightsError
from umss_jax.inference import ModelEngine
from umss_jax.model import init_variables
from umss_jax.networks import salience
from umss_jax.networks.assignment import VoasClstm
from umss_jax.networks.parts import resolve_assigner
from umss_jax.pitch.continuity import multi_f0_peaks
from umss_jax.pitch.extractor import nearest_frames
from umss_jax.separation.config import SeparationConfig
from umss_jax.trees import parts
from umss_jax.weights.combine import load_weights, model_name
from umss_jax.weights.recognise import recognise, recognised

ONE_SECOND = SeparationConfig(segment_s=1.0, overlap=0.25)


def plan(config):
    return plan_segments(config.segment_s, config.overlap, AudioConfig())


SAMPLES = plan(ONE_SECOND).segment


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


def test_weights_are_brought_to_the_device_once(monkeypatch):
    brought, real = [], jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda tree: brought.append(tree) or real(tree))
    variables = {"params": {"decoder": {"bias": np.ones(3, np.float32)}}}
    engine = ModelEngine("small", variables)
    first, again = engine._on_device, engine._on_device
    assert first is again
    assert len(brought) == 1
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(first))
    other = engine.with_variables({"params": {"decoder": {"bias": np.zeros(3, np.float32)}}})
    np.testing.assert_array_equal(other._on_device["params"]["decoder"]["bias"], 0)


@pytest.mark.slow
def test_stems_sum_to_every_channel_and_segments_are_independent(engine):
    mixture = np.stack([chord(), chord(shift=1.19)])
    channels = np.stack([mixture * 0.3, mixture * -0.1], axis=1)
    seeds = np.array([5, 6], np.uint32)
    together = engine.separate(mixture, channels, seeds)
    assert together.stems_16k.shape == (2, 4, 2, SAMPLES)
    assert together.f0_hz_synth.shape == (2, 4, SAMPLES // 256)
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
    assert [start for start, _ in outputs] == [0.0, plan(ONE_SECOND).step / 16_000]
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
    completed = load("f0-only", init_missing=True)
    assert set(completed.engine.variables["params"]) == {
        *("salience", "assignment", "encoder", "decoder")
    }
    save_recognised("decoder-only", {"params": {"decoder": variables["params"]["decoder"]}})
    with pytest.raises(UsageError, match="no salience"):
        load("decoder-only", init_missing=True, assigner=Assigner.HEURISTIC)


def test_models_that_are_files_give_their_name_to_the_folder():
    assert model_name("published") == "published"
    assert model_name("v1.2") == "v1.2"
    assert model_name("/somewhere/choir.v2.safetensors") == "choir.v2"


IMPORTS = """
import sys
import umss_jax
print(sorted({"jax", "numpy"} & set(sys.modules)))
from umss_jax import *
assert callable(separate) and callable(adapt) and load is umss_jax.load
assert set(umss_jax.__all__) <= set(globals())
"""


def test_the_package_offers_the_api_without_importing_jax():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert umss_jax.load_tracker is load_tracker
    with pytest.raises(AttributeError, match="nothing"):
        _ = umss_jax.nothing


def test_separate_takes_a_file_or_an_array(monkeypatch, tmp_path):
    monkeypatch.setattr(api, "load", lambda **options: api.Separator(StubEngine(), **options))
    audio = chord()
    soundfile.write(tmp_path / "chord.wav", 0.5 * audio, 16_000)
    result = umss_jax.separate(audio, 16_000, config=ONE_SECOND)
    np.testing.assert_allclose(result.stems.sum(axis=0) + result.residual, audio, atol=1e-6)
    track = umss_jax.separate(tmp_path / "chord.wav", out=tmp_path / "out")
    assert track.folder == tmp_path / "out" / "stub" / "chord"
    with pytest.raises(UsageError, match="sample_rate_hz"):
        umss_jax.separate(audio)


# Pitches: networks told by their weights, combined, equal to separation's.


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, samples).astype(np.float32)


SALIENCE_KINDS = {
    "early-deep": 0.4,
    "early-shallow": 0.5,
    "late-deep": 0.5,
    "late-deep-magnitude": 0.4,
}
ASSIGNMENT_KINDS = {"voas-cnn": (0.23, 0.17, 0.15, 0.17), "voas-clstm": (0.29, 0.2, 0.17, 0.23)}


@pytest.mark.parametrize("name", [*SALIENCE_KINDS, *ASSIGNMENT_KINDS])
def test_networks_are_recognised_by_their_weights(name):
    variables = random_variables(f"keras-{name}")
    config = recognised(variables)
    if name in SALIENCE_KINDS:
        assert (config.salience_network, config.assignment_network) == (name, "voas-cnn")
        assert config.f0.multi_f0_threshold == SALIENCE_KINDS[name]
    else:
        assert (config.salience_network, config.assignment_network) == ("late-deep", name)
        assert config.f0.thresholds == ASSIGNMENT_KINDS[name]


def test_other_weights_are_not_recognised():
    assert recognised({"params": {"decoder": {}}}) == ModelConfig()
    variables = random_variables("keras-late-deep")
    del variables["params"]["salience"]["phase"]["block_6"]
    with pytest.raises(WeightsError, match="no network known"):
        recognise(variables, "salience")


MODULES = {
    "early-deep": salience.EarlyDeep(),
    "early-shallow": salience.EarlyShallow(),
    "late-deep-magnitude": salience.LateDeepMagnitude(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_engine_runs_the_network_of_the_weights(name):
    variables = random_variables(f"keras-{name}")
    mixture = noise(8 * 256)[None]
    engine = ModelEngine("drawn", variables, TrackAssigner.NONE, config=recognised(variables))
    result = engine.pitches(mixture)
    features = hcqt(resample(mixture, 16_000, 22_050))
    inputs = features[: 1 if name == "late-deep-magnitude" else 2]
    part = {key: tree["salience"] for key, tree in variables.items()}
    expected = np.asarray(jax.jit(MODULES[name].apply)(part, *inputs))
    assert np.ptp(expected) > 1e-3
    expected = expected[..., nearest_frames(expected.shape[-1], 8)]
    np.testing.assert_allclose(result.salience_synth, expected, atol=1e-5)
    peaks = multi_f0_peaks(result.salience_synth[0], SALIENCE_KINDS[name])
    np.testing.assert_array_equal(result.f0_hz_synth[0], peaks.T)


def test_models_are_combined(store, tmp_path):
    save_recognised("ours", random_variables("keras-late-deep", 1), {"architecture": "late-deep"})
    save_recognised("cnn", random_variables("keras-voas-cnn", 2), {"architecture": "voas-cnn"})
    clstm = save_recognised(
        tmp_path / "a+b" / "clstm.safetensors", random_variables("keras-voas-clstm", 3)
    )
    variables, _, about = load_weights("ours+cnn")
    assert parts(variables) == ("assignment", "salience")
    assert about["combined"]["cnn"]["architecture"] == "voas-cnn"
    engine = load_tracker("ours+cnn", device="cpu").engine
    assert engine.name == "ours+cnn"
    assert set(engine.provenance["weights"]) == {"ours", "cnn"}
    # The last one's part counts, none of the earlier one's is left.
    again = tmp_path / "home" / "weights" / "cnn.safetensors"
    both = load_weights(f"ours+cnn+{again}").variables
    assert recognise(both, "assignment") == "voas-cnn"
    save_recognised("clstm", random_variables("keras-voas-clstm", 3))
    tracker = load_tracker("ours+cnn+clstm", assigner="voas-clstm", device="cpu")
    assert tracker.engine.config.assignment_network == "voas-clstm"
    assert tracker.engine.config.f0.thresholds == ASSIGNMENT_KINDS["voas-clstm"]
    assert model_name("ours+x/cnn.safetensors") == "ours+cnn"
    assert model_name(str(clstm)) == "clstm"  # a + in a folder's name joins nothing
    assert load_weights(str(clstm)).metadata["parts"] == ["assignment"]
    assert load_weights(str(clstm.with_suffix(""))).metadata["parts"] == ["assignment"]


@pytest.mark.slow
def test_separation_takes_the_networks_of_a_combination(store):
    save_recognised("ours", random_variables("keras-early-shallow", 1))
    save_recognised("clstm", random_variables("keras-voas-clstm", 3))
    engine = load("ours+clstm", assigner="voas-clstm", device="cpu", init_missing=True).engine
    assert engine.config.salience_network == "early-shallow"
    assert engine.config.assignment_network == "voas-clstm"
    mixture = noise(8 * 256)[None]
    f0_engine = ModelEngine(
        "the same", engine.variables, TrackAssigner.VOAS_CLSTM, config=engine.config
    )
    separated = engine.separate(mixture, mixture[:, None], np.zeros(1, np.uint32))
    np.testing.assert_array_equal(
        separated.f0_hz_synth[0], f0_engine.pitches(mixture).f0_hz_synth[0]
    )


@pytest.mark.parametrize(
    ("name", "assigner", "words"),
    [
        ("ours", "voas-cnn", "ours has no assignment.*ours.OTHER"),
        ("cnn", "none", "cnn has no salience"),
        ("ours+cnn", "voas-clstm", "is voas-cnn, not voas-clstm: .* or auto"),
        ("ours+", "none", "one side"),
        ("ours+nobody", "none", "nobody"),
        ("ours", "dice", "dice"),
    ],
)
def test_what_cannot_be_tracked(store, name, assigner, words):
    save_recognised("ours", random_variables("keras-late-deep", 1))
    save_recognised("cnn", random_variables("keras-voas-cnn", 2))
    with pytest.raises(UsageError, match=words):
        load_tracker(name, assigner=assigner, device="cpu")


def test_auto_is_the_own_network_or_the_continuity_rule(store):
    save_recognised("ours", random_variables("keras-late-deep", 1))
    save_recognised("clstm", random_variables("keras-voas-clstm", 3))
    for name, expected in (("ours", "heuristic"), ("ours+clstm", "voas-clstm")):
        engine = load_tracker(name, device="cpu").engine
        assert (str(engine.assigner), engine.provenance["assigner"]) == (expected, expected)
        separating = load(name, device="cpu", init_missing=True).engine
        assert str(separating.assigner) == separating.provenance["assigner"] == expected
    config = load_weights("ours+clstm").config
    for kind in (Assigner, TrackAssigner):
        assert resolve_assigner(kind.AUTO, True, config, "x") is kind.VOAS_CLSTM
        assert resolve_assigner(kind.HEURISTIC, True, config, "x") is kind.HEURISTIC
    assert resolve_assigner(TrackAssigner.NONE, True, config, "x") is TrackAssigner.NONE


@pytest.mark.slow
def test_clstm_assigns_by_its_own_thresholds():
    variables = random_variables("keras-early-shallow")
    clstm = random_variables("keras-voas-clstm", 1)
    for collection, trees in clstm.items():
        variables.setdefault(collection, {}).update(trees)
    config = recognised(variables)
    mixture = noise(8 * 256)[None]
    engine = ModelEngine("drawn", variables, TrackAssigner.VOAS_CLSTM, config=config)
    unassigned = ModelEngine("drawn", variables, TrackAssigner.NONE, config=config)
    raw = np.asarray(unassigned.salience(mixture))
    part = {key: tree["assignment"] for key, tree in variables.items() if "assignment" in tree}
    assigned = np.asarray(jax.jit(VoasClstm().apply)(part, raw))[0]
    voiced = assigned.max(axis=1) >= np.array(ASSIGNMENT_KINDS["voas-clstm"])[:, None]
    expected = np.where(voiced, engine.frequencies_hz[assigned.argmax(axis=1)], 0)
    nearest = nearest_frames(raw.shape[-1], 8)
    assert len(np.unique(expected)) > 3
    found = engine.pitches(mixture).f0_hz_synth[0]
    np.testing.assert_allclose(found, expected[:, nearest], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("assigner", ["voas-cnn", "heuristic"])
def test_tracks_are_those_of_separation(shared, tmp_path, monkeypatch, assigner):
    """Published networks, a real quartet of three segments: every pitch equal, to the last bit."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    bring_published("published")
    excerpts = csd_excerpts(
        shared / "datasets" / "ChoralSingingDataset", [NINO_DIOS], audio=AudioConfig()
    )
    audio = np.concatenate([next(excerpts).mixture, next(excerpts).mixture])
    assert plan(SeparationConfig()).count(len(audio)) == 3
    options = {"assigner": assigner, "device": "cpu"}
    separated = load("published", init_missing=True, **options).separate(audio, 16_000)
    tracks = load_tracker("published", **options).track(audio, 16_000)
    assert (tracks.f0_hz_synth > 0).mean() > 0.1
    np.testing.assert_array_equal(tracks.f0_hz_synth, separated.f0_hz_synth)
    np.testing.assert_array_equal(tracks.time_s, separated.time_s)


@pytest.mark.slow
def test_published_networks_give_the_recorded_tracks(golden, shared, tmp_path, monkeypatch):
    """Nearer to the reference on librosa's features than the reference itself on nnAudio's."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    bring_published("published")
    recorded = golden("salience_assignment_f0")
    nearest = nearest_frames(344, 250)

    def recorded_f0_hz(assigned):
        voiced = assigned.max(axis=1) >= recorded["thresholds"][:, None]
        return np.where(voiced, recorded["freq_grid_hz"][assigned.argmax(axis=1)], 0)[:, nearest]

    librosa_hz = recorded_f0_hz(recorded["assigned_librosa"])
    nnaudio_hz = recorded_f0_hz(recorded["assigned_nnaudio"])
    np.testing.assert_allclose(nnaudio_hz, recorded["f0_hz_344"][:, nearest], rtol=1e-6)
    tracker = load_tracker("published", device="cpu", chain="paper")
    tracks = tracker.track(golden("input")["mixture"], 16_000)
    differs = np.abs(tracks.f0_hz_synth - librosa_hz) > 1e-3 * librosa_hz
    assert differs.mean() < (np.abs(nnaudio_hz - librosa_hz) > 1e-3 * librosa_hz).mean()
    salience_librosa = recorded["salience_librosa"][:, nearest]
    assert np.corrcoef(tracks.salience_synth.ravel(), salience_librosa.ravel())[0, 1] >= 0.999
