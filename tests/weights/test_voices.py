"""Weights carry the voices that they were trained with, and those of others are not mixed up."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from small_engine import SMALL

from umss_jax import api, model
from umss_jax.config import ModelConfig, VoicesConfig, with_networks, with_voices
from umss_jax.errors import UsageError
from umss_jax.networks.registry import part_shapes
from umss_jax.train.config import TrainConfig
from umss_jax.train.run_weights import initial_variables
from umss_jax.train.settings import build_pretraining, build_run
from umss_jax.trees import parts, select_parts
from umss_jax.voice_sets import parse_voices
from umss_jax.weights import store
from umss_jax.weights.combine import load_weights, stored_configuration, stored_voices

DUET, TTBB = parse_voices("duet"), parse_voices("ttbb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of three ensembles, and a decoder of two voices alone."""
    place = tmp_path_factory.mktemp("weights")
    small = with_networks(SMALL, "small-salience", "small-voices")
    for name, voices in (
        ("satb", VoicesConfig()),
        ("ttbb", TTBB),
        ("ssatb", parse_voices("ssatb")),
    ):
        config = with_voices(small, voices)
        variables = jax.tree.map(np.asarray, model.init_variables(jax.random.key(0), config))
        store.save(place / f"{name}.safetensors", variables, config)
    decoder = select_parts(variables, ["encoder", "decoder"])
    store.save(place / "two.safetensors", decoder, with_voices(small, DUET))
    return place


def named(folder, *names):
    return "+".join(str(folder / f"{name}.safetensors") for name in names)


def test_voices_are_stored_with_the_weights(folder):
    for name in ("satb", "ttbb", "ssatb"):
        loaded = load_weights(named(folder, name))
        assert loaded.config.voices == parse_voices(name)
        assert stored_voices(named(folder, name)) == parse_voices(name)
        assert len(loaded.config.f0.thresholds) == len(parse_voices(name))
        assert stored_configuration(named(folder, name)) == loaded.config
    assert stored_voices(named(folder, "two")) == DUET
    assert stored_voices("starter") == VoicesConfig()


def test_older_weights_are_of_the_usual_voices(folder):
    assert load_weights("starter").config.voices == VoicesConfig()


def test_an_assignment_network_of_other_voices_is_left_out(folder):
    order = ("satb", "two")
    loaded = load_weights(named(folder, *order))
    assert loaded.config.voices == DUET
    assert "assignment" not in parts(loaded.variables)
    assert len(loaded.config.f0.thresholds) == 2
    assert stored_configuration(named(folder, *order)) == loaded.config


def test_what_synthesises_by_default_takes_the_voices_of_the_network(folder):
    usual = select_parts(load_weights(named(folder, "satb")).variables, ["encoder", "decoder"])
    store.save(folder / "usual.safetensors", usual, load_weights(named(folder, "satb")).config)
    for order in (("ttbb", "usual"), ("usual", "ttbb")):
        combined = load_weights(named(folder, *order))
        assert combined.config.voices == TTBB
        assert "assignment" in parts(combined.variables)


def test_engines_have_the_voices_that_are_asked_for(folder):
    tracker = api.load_tracker(named(folder, "satb"), voices="ttbb")
    assert tracker.engine.voices == TTBB.names
    assert tracker.engine.assigner == "ranges"
    assert "assignment" not in parts(tracker.engine.variables)
    assert api.load_tracker(named(folder, "ttbb")).engine.assigner == "small-voices"
    assert api.load_tracker(named(folder, "ttbb"), voices="ttbb").engine.assigner == "small-voices"
    renamed = api.load_tracker(named(folder, "satb"), voices=["Sopran", "Alt", "Tenor", "Bass"])
    assert (renamed.engine.assigner, renamed.engine.voices[0]) == ("small-voices", "Sopran")
    two = api.load(named(folder, "satb", "two"))
    assert (two.engine.assigner, two.engine.voices) == ("ranges", DUET.names)


def test_a_network_of_other_voices_is_refused(folder):
    with pytest.raises(UsageError, match="is of soprano, alto, tenor, bass"):
        api.load_tracker(named(folder, "satb"), voices="ttbb", assigner="small-voices")
    with pytest.raises(UsageError, match="no ensemble"):
        api.load_tracker(named(folder, "satb"), voices="choir")


@pytest.mark.parametrize("network", ["voas-cnn", "voas-clstm", "small-voices"])
@pytest.mark.parametrize("preset", ["duet", "sab", "ttbb", "ssaattbb"])
def test_networks_have_a_head_for_each_voice(network, preset):
    voices = parse_voices(preset)
    config = with_networks(with_voices(ModelConfig(), voices), assignment=network)
    variables = jax.eval_shape(
        lambda: model.init_variables(jax.random.key(0), config, ("assignment",))
    )
    salience = jax.ShapeDtypeStruct((2, 360, 16), np.float32)
    assigned = jax.eval_shape(lambda v, s: model.assign(v, s, config), variables, salience)
    assert assigned.shape == (2, len(voices), 360, 16)
    assert len(config.f0.thresholds) == len(voices)
    same = set(part_shapes("assignment", with_networks(ModelConfig(), None, network)))
    assert (same == set(part_shapes("assignment", config))) == (
        len(voices) == 4 or network == "small-voices"
    )


def test_runs_take_voices_by_name(folder):
    config = build_run({"model": {"voices": "ssatb"}})
    assert config.model.voices == parse_voices("ssatb")
    assert len(config.model.f0.thresholds) == 5
    # Bins are a fifth of a semitone apart, the first is C1 (24).
    expected = [(5 * (low - 24), 5 * (high - 24)) for low, high in ((62, 82), (58, 78), (53, 74))]
    assert list(config.loss.voice_bands_bins[:3]) == expected
    usual = build_run({})
    assert usual.loss == TrainConfig().loss
    assert build_run({"model": {"voices": "satb"}}).loss == usual.loss
    pretraining = build_pretraining({}, ["model.voices=duet"])
    assert pretraining.model.voices == DUET
    assert len(pretraining.model.f0.thresholds) == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.voices=choir", "no ensemble is called 'choir'"),
        ("model.voices.names=[a]", "1 voice is asked for|has 1 values"),
        ("model.voices=7x", "no ensemble"),
        ("model.f0.thresholds=[0.1, 0.2]", "give 4, one for each voice"),
        ("loss.voice_bands_bins=[[1, 2], [1, 2]]", "give 4, one for each voice"),
        ('model.voices={names=["a","b"], lowest_notes=[50,40], highest_notes=[60]}', "values"),
    ],
)
def test_settings_of_no_ensemble_are_refused(override, words):
    with pytest.raises(UsageError, match=words):
        build_run({}, [override])


def test_a_run_of_other_voices_begins_with_a_fresh_assignment(folder):
    config = replace(
        TrainConfig(),
        weights=named(folder, "satb"),
        model=with_voices(load_weights(named(folder, "satb")).config, DUET),
    )
    variables = initial_variables(config)
    begun = load_weights(named(folder, "satb")).variables
    for part in ("salience", "encoder", "decoder"):
        jax.tree.map(
            np.testing.assert_array_equal, variables["params"][part], begun["params"][part]
        )
    assert variables["params"]["assignment"]["salience_weight"].shape == (2,)
