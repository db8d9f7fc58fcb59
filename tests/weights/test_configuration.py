"""Weights carry the configuration that they were trained with, and every user of them takes it."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
import small_run
from hypothesis import given, settings
from hypothesis import strategies as st
from small_engine import SMALL
from weight_files import change_metadata

from umss_jax import api, model
from umss_jax.cli import run
from umss_jax.config import Compute, ModelConfig, with_networks
from umss_jax.config_tree import leaves
from umss_jax.errors import UsageError, WeightsError
from umss_jax.train.config import PretrainConfig
from umss_jax.train.settings import open_pretraining
from umss_jax.trees import select_parts
from umss_jax.weights import configuration, store
from umss_jax.weights.combine import load_weights

OTHER = {
    "synth.roll_off_db_per_octave": 12.0,
    "synth.harmonics": 7,
    "synth.noise_gain_max": 0.5,
    "f0.thresholds": (0.31, 0.32, 0.33, 0.34),
    "f0.multi_f0_threshold": 0.44,
    "mask.fft_size": 1024,
    "encoder.fft_size": 256,
    "hcqt.floor_db": -70.0,
}
"""Settings that leave every shape of the small model as it is, but for the encoder's bins."""


def toml(value):
    return str(list(value)) if isinstance(value, tuple) else repr(value)


@pytest.fixture(scope="module")
def trained(prepared):
    """A run whose settings differ from the defaults, begun with drawn encoder and decoder."""
    start = load_weights(str(prepared / "start.safetensors")).variables
    f0_networks = select_parts(start, ["salience", "assignment"])
    store.save(prepared / "f0.safetensors", f0_networks, ModelConfig())
    overrides = [f"model.{key}={toml(value)}" for key, value in OTHER.items()]
    result = small_run.train(
        prepared, "name=other", "epochs=[1]", f"weights={prepared / 'f0.safetensors'}", *overrides
    )
    return result.weights


def check(config):
    found = leaves(config)
    assert {key: found[key] for key in OTHER} == OTHER


def test_a_run_stores_the_settings_it_trained_with(trained):
    loaded = load_weights(str(trained))
    check(loaded.config)
    assert loaded.metadata["format"] == 2
    assert configuration.restore(loaded.metadata["configuration"], "x") == loaded.config


def test_separation_takes_them(trained):
    separator = api.load(str(trained), assigner="heuristic")
    check(separator.engine.config)
    check(api.load_tracker(str(trained), assigner="heuristic").engine.config)


def test_the_sound_is_that_of_the_settings(trained):
    """Same weights, another roll-off: the voices differ, as those of the engine must."""
    engine = api.load(str(trained), assigner="heuristic").engine
    mixture = np.random.default_rng(0).uniform(-1, 1, (1, 4096)).astype(np.float32)
    f0_hz = np.full((1, 4, 16), 220.0, np.float32)
    found = engine.intermediates(mixture, np.zeros(1, np.uint32), f0_hz)
    drawn = model.sample_uniform(jax.random.key(0), mixture[:1], engine.config)

    def voices(config):
        output = model.forward(engine.variables, mixture, drawn, config, f0_hz_synth=f0_hz)
        return np.asarray(output.harmonic)

    synth = replace(engine.config.synth, roll_off_db_per_octave=6.0)
    np.testing.assert_allclose(found.harmonic, voices(engine.config), atol=1e-6)
    assert not np.allclose(found.harmonic, voices(replace(engine.config, synth=synth)), atol=1e-4)


def test_training_goes_on_from_them_and_overrides_count(trained, prepared):
    config = small_run.settings(prepared, f"weights={trained}", "model.synth.harmonics=5")
    found = leaves(config.model)
    assert found["synth.harmonics"] == 5
    assert {key: found[key] for key in OTHER if key != "synth.harmonics"} == {
        key: value for key, value in OTHER.items() if key != "synth.harmonics"
    }


def test_weights_show_tells_them(trained, capsys):
    assert run(["weights", "show", str(trained)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["configuration"]["synth"]["roll_off_db_per_octave"] == 12.0


def test_export_says_what_the_file_cannot_hold(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    config = with_networks(ModelConfig(), assignment="voas-cnn")
    variables = jax.tree.map(
        np.asarray, model.init_variables(jax.random.key(0), config, ("assignment",))
    )
    f0 = replace(config.f0, thresholds=(0.5, 0.5, 0.5, 0.5))
    for name, one in (("plain", config), ("changed", replace(config, f0=f0))):
        store.save(name, variables, one)
        assert run(["weights", "export", name, str(tmp_path / f"{name}.h5"), "--to", "keras"]) == 0
        said = capsys.readouterr().err
        assert ("f0.thresholds" in said) == (name == "changed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synth": {"vibrato": 3}}, "synth.vibrato"),
        ({"reverb": {}}, "reverb"),
        ({"salience_network": "late-deeper"}, "late-deeper"),
        ({"synth": {"harmonics": "many"}}, "synth.harmonics"),
        ({"synth": 3}, "synth"),
        ({"audio": {"hop_samples": 128}}, "hop_samples"),
        ([], "configuration"),
        (None, "configuration"),
    ],
)
def test_a_configuration_that_is_not_known_is_refused_in_one_line(
    change, message, tmp_path, trained, capsys
):
    loaded = load_weights(str(trained))
    path = store.save(tmp_path / "later.safetensors", loaded.variables, loaded.config)
    known = store.read_metadata(path)["configuration"]
    change_metadata(path, configuration={**known, **change} if isinstance(change, dict) else change)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(str(path))
    assert "\n" not in str(caught.value)
    assert run(["weights", "verify", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_later_setting_is_at_its_old_value_in_older_files(trained):
    """What a file does not say is what every file without it meant."""
    loaded = load_weights(str(trained))
    tree = json.loads(json.dumps(loaded.metadata["configuration"]))
    del tree["synth"]["roll_off_db_per_octave"], tree["mask"]
    restored = leaves(configuration.restore(tree, "x"))
    assert restored["synth.roll_off_db_per_octave"] == 6.0
    assert restored["mask.fft_size"] == 2048
    assert set(leaves(ModelConfig())) == set(leaves(configuration.FORMAT_1))


def test_tensors_that_are_not_of_their_configuration_are_refused(tmp_path, trained):
    loaded = load_weights(str(trained))
    config = replace(loaded.config, encoder=replace(loaded.config.encoder, hidden=9))
    path = store.save(tmp_path / "wrong.safetensors", loaded.variables, config)
    with pytest.raises(WeightsError, match=r"encoder/.* instead of"):
        load_weights(str(path))


def drawn(part, config):
    return jax.tree.map(np.asarray, model.init_variables(jax.random.key(0), config, (part,)))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """One file a part, each with settings of its own."""
    folder = tmp_path_factory.mktemp("parts")
    small = with_networks(SMALL, "small-salience", "small-voices")
    configs = {
        "salience": replace(
            small,
            hcqt=replace(small.hcqt, floor_db=-60.0),
            f0=replace(small.f0, multi_f0_threshold=0.2, thresholds=(0.9,) * 4),
        ),
        "assignment": replace(
            small, f0=replace(small.f0, multi_f0_threshold=0.7, thresholds=(0.1, 0.2, 0.3, 0.4))
        ),
        "encoder": replace(small, encoder=replace(small.encoder, fft_size=128)),
        "decoder": replace(
            small,
            encoder=replace(small.encoder, fft_size=1024, compute=Compute.BFLOAT16),
            synth=replace(small.synth, harmonics=11),
            mask=replace(small.mask, hop_samples=128),
        ),
    }
    for part, config in configs.items():
        store.save(folder / f"{part}.safetensors", drawn(part, config), config)
    return folder


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(["salience", "assignment", "encoder", "decoder"]))
def test_combined_weights_take_each_parts_own(parts, order):
    loaded = load_weights("+".join(str(parts / part) for part in order))
    found = leaves(loaded.config)
    assert found["hcqt.floor_db"] == -60.0
    assert found["f0.multi_f0_threshold"] == 0.2
    assert found["f0.thresholds"] == (0.1, 0.2, 0.3, 0.4)
    assert found["encoder.fft_size"] == 128
    assert found["synth.harmonics"] == 11
    assert found["mask.hop_samples"] == 128
    assert found["encoder.compute"] == "float32"  # how to compute is not the weights' affair


def test_a_pre_training_keeps_its_own_of_what_the_weights_do_not_bring(parts):
    """A salience network alone leaves the assignment network and how to compute as they are."""
    default = leaves(PretrainConfig().model)
    found = leaves(open_pretraining({"weights": str(parts / "salience")}).model)
    assert found["hcqt.floor_db"] == -60.0
    assert found["f0.multi_f0_threshold"] == 0.2
    for name in ("assignment_network", "f0.thresholds", "conv.recompute"):
        assert found[name] == default[name]


def test_parts_that_cannot_stand_together_are_refused(parts, tmp_path):
    config = replace(
        SMALL,
        audio=replace(SMALL.audio, hop_samples=128),
        encoder=replace(SMALL.encoder, hop_samples=128),
        synth=replace(SMALL.synth, hop_samples=128),
    )
    store.save(tmp_path / "hop.safetensors", drawn("decoder", config), config)
    with pytest.raises(UsageError, match=r"audio\.hop_samples"):
        load_weights(f"{parts / 'encoder'}+{tmp_path / 'hop'}")


def test_weights_of_format_1_are_at_the_defaults_of_their_time(format_1):
    f0_networks = load_weights(str(format_1 / "pretrain" / "cut" / "weights.safetensors"))
    expected = with_networks(configuration.FORMAT_1, "small-salience", "small-voices")
    assert f0_networks.config == expected
    assert load_weights("starter-small").config == expected
