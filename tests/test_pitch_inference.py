"""The networks behind pitch tracks: told by their weights, combined, equal to separation's."""

import jax
import numpy as np
import pytest
from weight_files import random_variables

from umss_jax.api import load, load_tracker, load_weights, model_name
from umss_jax.audio.segments import plan_segments
from umss_jax.config import Assigner, AudioConfig, ModelConfig, TrackAssigner
from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts
from umss_jax.dsp.hcqt import hcqt
from umss_jax.dsp.resample import resample
from umss_jax.errors import UsageError, WeightsError
from umss_jax.networks import salience
from umss_jax.networks.assignment import VoasClstm
from umss_jax.networks.registry import config_for, recognise, resolve_assigner
from umss_jax.pitch.continuity import multi_f0_peaks
from umss_jax.pitch.extractor import nearest_frames
from umss_jax.pitch_inference import F0Engine
from umss_jax.weights import store as weights


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
    config = config_for(variables)
    if name in SALIENCE_KINDS:
        assert (config.salience_network, config.assignment_network) == (name, "voas-cnn")
        assert config.f0.multi_f0_threshold == SALIENCE_KINDS[name]
    else:
        assert (config.salience_network, config.assignment_network) == ("late-deep", name)
        assert config.f0.thresholds == ASSIGNMENT_KINDS[name]


def test_other_weights_are_not_recognised():
    assert config_for({"params": {"decoder": {}}}) == ModelConfig()
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
    engine = F0Engine("drawn", variables, TrackAssigner.NONE, config=config_for(variables))
    result = engine.pitches(mixture)
    features = hcqt(resample(mixture, 16_000, 22_050))
    inputs = features[: 1 if name == "late-deep-magnitude" else 2]
    part = {key: tree["salience"] for key, tree in variables.items()}
    expected = np.asarray(jax.jit(MODULES[name].apply)(part, *inputs))
    assert np.ptp(expected) > 1e-3
    expected = expected[..., nearest_frames(expected.shape[-1], 8)]
    np.testing.assert_allclose(result.salience_250, expected, atol=1e-5)
    peaks = multi_f0_peaks(result.salience_250[0], SALIENCE_KINDS[name])
    np.testing.assert_array_equal(result.f0_hz_250[0], peaks.T)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UMSS_SHARED", raising=False)


def test_models_are_combined(store, tmp_path):
    weights.save("ours", random_variables("keras-late-deep", 1), {"architecture": "late-deep"})
    weights.save("cnn", random_variables("keras-voas-cnn", 2), {"architecture": "voas-cnn"})
    clstm = weights.save(
        tmp_path / "a+b" / "clstm.safetensors", random_variables("keras-voas-clstm", 3)
    )
    variables, about = load_weights("ours+cnn")
    assert weights.parts(variables) == ("assignment", "salience")
    assert about["combined"]["cnn"]["architecture"] == "voas-cnn"
    engine = load_tracker("ours+cnn", device="cpu").engine
    assert engine.name == "ours+cnn"
    assert set(engine.provenance["weights"]) == {"ours", "cnn"}
    # The last one's part counts, none of the earlier one's is left.
    both, _ = load_weights("ours+cnn+" + str(tmp_path / "home" / "weights" / "cnn.safetensors"))
    assert recognise(both, "assignment") == "voas-cnn"
    weights.save("clstm", random_variables("keras-voas-clstm", 3))
    tracker = load_tracker("ours+cnn+clstm", assigner="voas-clstm", device="cpu")
    assert tracker.engine.config.assignment_network == "voas-clstm"
    assert tracker.engine.config.f0.thresholds == ASSIGNMENT_KINDS["voas-clstm"]
    assert model_name("ours+x/cnn.safetensors") == "ours+cnn"
    assert model_name(str(clstm)) == "clstm"  # a + in a folder's name joins nothing
    assert load_weights(str(clstm))[1]["parts"] == ["assignment"]
    assert load_weights(str(clstm.with_suffix("")))[1]["parts"] == ["assignment"]


@pytest.mark.slow
def test_separation_takes_the_networks_of_a_combination(store):
    weights.save("ours", random_variables("keras-early-shallow", 1))
    weights.save("clstm", random_variables("keras-voas-clstm", 3))
    engine = load("ours+clstm", assigner="voas-clstm", device="cpu", draw_missing=True).engine
    assert engine.config.salience_network == "early-shallow"
    assert engine.config.assignment_network == "voas-clstm"
    mixture = noise(8 * 256)[None]
    f0_engine = F0Engine(
        "the same", engine.variables, TrackAssigner.VOAS_CLSTM, config=engine.config
    )
    separated = engine.separate(mixture, mixture[:, None], np.zeros(1, np.uint32))
    np.testing.assert_array_equal(separated.f0_hz_250[0], f0_engine.pitches(mixture).f0_hz_250[0])


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
    weights.save("ours", random_variables("keras-late-deep", 1))
    weights.save("cnn", random_variables("keras-voas-cnn", 2))
    with pytest.raises(UsageError, match=words):
        load_tracker(name, assigner=assigner, device="cpu")


def test_auto_is_the_own_network_or_the_continuity_rule(store):
    weights.save("ours", random_variables("keras-late-deep", 1))
    weights.save("clstm", random_variables("keras-voas-clstm", 3))
    for name, expected in (("ours", "heuristic"), ("ours+clstm", "voas-clstm")):
        engine = load_tracker(name, device="cpu").engine
        assert (str(engine.assigner), engine.provenance["assigner"]) == (expected, expected)
        separating = load(name, device="cpu", draw_missing=True).engine
        assert str(separating.assigner) == separating.provenance["assigner"] == expected
    variables, _ = load_weights("ours+clstm")
    for kind in (Assigner, TrackAssigner):
        assert resolve_assigner(kind.AUTO, variables, "x") is kind.VOAS_CLSTM
        assert resolve_assigner(kind.HEURISTIC, variables, "x") is kind.HEURISTIC
    assert resolve_assigner(TrackAssigner.NONE, variables, "x") is TrackAssigner.NONE


@pytest.mark.slow
def test_clstm_assigns_by_its_own_thresholds():
    variables = random_variables("keras-early-shallow")
    clstm = random_variables("keras-voas-clstm", 1)
    for collection, trees in clstm.items():
        variables.setdefault(collection, {}).update(trees)
    config = config_for(variables)
    mixture = noise(8 * 256)[None]
    engine = F0Engine("drawn", variables, TrackAssigner.VOAS_CLSTM, config=config)
    unassigned = F0Engine("drawn", variables, TrackAssigner.NONE, config=config)
    raw = np.asarray(unassigned._salience(variables, mixture))
    part = {key: tree["assignment"] for key, tree in variables.items() if "assignment" in tree}
    assigned = np.asarray(jax.jit(VoasClstm().apply)(part, raw))[0]
    voiced = assigned.max(axis=1) >= np.array(ASSIGNMENT_KINDS["voas-clstm"])[:, None]
    expected = np.where(voiced, engine.frequencies_hz[assigned.argmax(axis=1)], 0)
    nearest = nearest_frames(raw.shape[-1], 8)
    assert len(np.unique(expected)) > 3
    found = engine.pitches(mixture).f0_hz_250[0]
    np.testing.assert_allclose(found, expected[:, nearest], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("assigner", ["voas-cnn", "heuristic"])
def test_tracks_are_those_of_separation(shared, tmp_path, monkeypatch, assigner):
    """Published networks, a real quartet of three segments: every pitch equal, to the last bit."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    excerpts = csd_excerpts(
        shared / "datasets" / "ChoralSingingDataset", [NINO_DIOS], audio=AudioConfig()
    )
    audio = np.concatenate([next(excerpts).mixture, next(excerpts).mixture])
    assert plan_segments().count(len(audio)) == 3
    options = {"assigner": assigner, "device": "cpu"}
    separated = load("published", draw_missing=True, **options).separate(audio, 16_000)
    tracks = load_tracker("published", **options).track(audio, 16_000)
    assert (tracks.f0_hz_250 > 0).mean() > 0.1
    np.testing.assert_array_equal(tracks.f0_hz_250, separated.f0_hz_250)
    np.testing.assert_array_equal(tracks.time_s, separated.time_s)


@pytest.mark.slow
def test_published_networks_give_the_recorded_tracks(golden, shared, tmp_path, monkeypatch):
    """Nearer to the reference on librosa's features than the reference itself on nnAudio's."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    recorded = golden("salience_assignment_f0")
    nearest = nearest_frames(344, 250)

    def recorded_f0_hz(assigned):
        voiced = assigned.max(axis=1) >= recorded["thresholds"][:, None]
        return np.where(voiced, recorded["freq_grid_hz"][assigned.argmax(axis=1)], 0)[:, nearest]

    librosa_hz = recorded_f0_hz(recorded["assigned_librosa"])
    nnaudio_hz = recorded_f0_hz(recorded["assigned_nnaudio"])
    np.testing.assert_allclose(nnaudio_hz, recorded["f0_hz_344"][:, nearest], rtol=1e-6)
    tracks = load_tracker("published", device="cpu").track(golden("input")["mixture"], 16_000)
    differs = np.abs(tracks.f0_hz_250 - librosa_hz) > 1e-3 * librosa_hz
    assert differs.mean() < (np.abs(nnaudio_hz - librosa_hz) > 1e-3 * librosa_hz).mean()
    salience_librosa = recorded["salience_librosa"][:, nearest]
    assert np.corrcoef(tracks.salience_250.ravel(), salience_librosa.ravel())[0, 1] >= 0.999
