"""The U-Net's supervised training, and its weights in the commands, with small networks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_run
import soundfile
from comparison import relative_error
from small_engine import KnownPitch
from typer.testing import CliRunner
from weight_files import save_recognised

from umss_jax import model
from umss_jax.api import load
from umss_jax.cli import application
from umss_jax.config import ModelConfig, UnetCondition, UnetConfig
from umss_jax.errors import UsageError
from umss_jax.inference import ModelEngine
from umss_jax.networks.registry import unet_network
from umss_jax.networks.unet import condition_f0, magnitude_spectrogram
from umss_jax.train import run_folder
from umss_jax.train.config import LossConfig
from umss_jax.train.objectives import Batch, Padded, objective_for, unet_loss
from umss_jax.train.run_weights import initial_variables
from umss_jax.train.step import init_state, make_train_step, step_body
from umss_jax.weights import store as weights

UNET = UnetConfig(fft_size=512, channels=(2, 3), condition_channels=(3,), dropout_layers=1)
SMALL = ModelConfig(unet=UNET)
SETTINGS = [
    "strategy=unet",
    "model.unet.fft_size=512",
    "model.unet.channels=[2, 3]",
    "model.unet.condition_channels=[3]",
    "model.unet.dropout_layers=1",
    "optimiser.learning_rate=3e-2",
]


pytestmark = pytest.mark.usefixtures("known_pitches")


@pytest.fixture(scope="module")
def whole(prepared):
    """An uninterrupted run of 18 steps."""
    small_run.train(prepared, "name=whole", "epochs=[6]", *SETTINGS)
    return prepared / "whole"


def batch(examples=4, samples=4096):
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(examples, 4, samples)).astype(np.float32)
    f0_hz = np.float32([440, 330, 220, 0])[None, :, None]
    return Batch(
        mixture=sources.sum(axis=1),
        sources=sources,
        f0_hz_synth=np.broadcast_to(f0_hz, (examples, 4, samples // 256)),
    )


@pytest.fixture(scope="module")
def variables():
    return jax.jit(partial(model.init_variables, config=SMALL, parts=("unet",)))(jax.random.key(0))


def rows(path, kind):
    found = [row for row in run_folder.read_metrics(path) if row["kind"] == kind]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


def test_a_run_lowers_the_loss_and_leaves_f0_networks_and_u_net(whole, prepared):
    losses = [row["rec"] for row in rows(whole, "valid")]
    assert min(losses) < 0.9 * losses[0]
    stored = weights.load(str(whole / "weights.safetensors")).variables
    start = weights.load(str(prepared / "start.safetensors")).variables
    assert set(stored["params"]) == {"salience", "assignment", "unet"}
    for collection in ("params", "batch_stats"):
        jax.tree.map(
            np.testing.assert_array_equal,
            stored[collection]["salience"],
            start[collection]["salience"],
        )
    for norms in stored["batch_stats"]["unet"].values():
        assert np.abs(norms["norm"]["mean"]).max() > 0
        assert np.abs(norms["norm"]["var"] - 1).max() > 0.01


def test_resumed_it_equals_an_uninterrupted_run(whole, prepared, monkeypatch):
    """Running statistics and the draws of voices and dropout included."""
    log = run_folder.RunFolder.log

    def interrupt(self, row):
        log(self, row)
        if row["step"] == 7:
            raise KeyboardInterrupt

    settings = ["name=resumed", "epochs=[6]", "checkpoint_steps=2", *SETTINGS]
    with monkeypatch.context() as patch:
        patch.setattr(run_folder.RunFolder, "log", interrupt)
        with pytest.raises(KeyboardInterrupt):
            small_run.train(prepared, *settings)
    small_run.train(prepared, *settings)
    for kind in ("train", "valid"):
        assert rows(prepared / "resumed", kind) == rows(whole, kind)
    one, other = (
        weights.load(path / "weights.safetensors").variables
        for path in (whole, prepared / "resumed")
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("examples", [4, pytest.param(3, marks=pytest.mark.slow)])
def test_a_divided_batch_trains_as_a_whole_one(variables, examples):
    """Statistics of the whole batch, and the same voices and dropout, on two devices."""
    optimiser, whole = optax.sgd(1e-2), batch(examples)
    step = make_train_step(optimiser, ("unet",), SMALL)
    expected, wanted = step(init_state(variables, optimiser), whole, jax.random.key(1))
    body = step_body(
        objective_for(("unet",), SMALL, LossConfig(), "data"), optimiser, ("unet",), "data"
    )
    rows = np.minimum(np.arange(4), examples - 1)
    halves = jax.tree.map(lambda leaf: leaf[rows].reshape(2, 2, *leaf.shape[1:]), whole)
    if examples == 3:
        halves = Padded(halves, np.float32([[4 / 3, 4 / 3], [4 / 3, 0]]))
    mapped = jax.jit(jax.vmap(body, in_axes=(None, 0, None), axis_name="data"))
    states, metrics = mapped(init_state(variables, optimiser), halves, jax.random.key(1))
    np.testing.assert_allclose(metrics["rec"], [wanted["rec"]] * 2, rtol=1e-5)

    def moved(state, tree):
        start = jax.tree.leaves(variables[tree])
        leaves = zip(jax.tree.leaves(getattr(state, tree)), start, strict=True)
        return np.concatenate([np.ravel(after - before) for after, before in leaves])

    for device in range(2):
        one = jax.tree.map(lambda leaf, n=device: leaf[n], states)
        for tree in ("params", "batch_stats"):
            assert np.linalg.norm(moved(expected, tree)) > 1e-3
            assert relative_error(moved(one, tree), moved(expected, tree)) < 1e-4, tree


def test_in_evaluation_each_example_is_asked_for_its_own_voice(variables):
    one, part = batch(examples=2), {name: tree["unet"] for name, tree in variables.items()}
    network = unet_network(SMALL)
    numbers = jnp.asarray([2, 5])
    floored = np.maximum(one.f0_hz_synth, 1e-5)
    found = unet_loss(part, one.mixture, one.sources, floored, numbers, network)
    rows_of = np.arange(2), np.asarray([2, 1])
    output = network.apply(part, one.mixture, condition_f0(floored[rows_of], UNET))
    target = magnitude_spectrogram(one.sources[rows_of], UNET)
    np.testing.assert_allclose(found.value, np.abs(output.magnitude - target).mean(), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, found.batch_stats, part["batch_stats"])


def test_in_training_voices_and_dropout_change_from_step_to_step(variables):
    part = {name: tree["unet"] for name, tree in variables.items()}
    one = jax.tree.map(jnp.asarray, batch())
    network, floored = unet_network(SMALL), jnp.maximum(one.f0_hz_synth, 1e-5)
    loss = jax.jit(
        lambda key: (
            unet_loss(part, one.mixture, one.sources, floored, jnp.arange(4), network, key).value
        )
    )
    losses = {float(loss(jax.random.key(seed))) for seed in range(5)}
    assert len(losses) == 5
    assert float(loss(jax.random.key(0))) == float(loss(jax.random.key(0)))


def test_without_sources_there_is_nothing_to_learn(variables):
    optimiser = optax.sgd(1e-2)
    step = make_train_step(optimiser, ("unet",), SMALL)
    with pytest.raises(ValueError, match="sources and F0"):
        step(init_state(variables, optimiser), batch()._replace(sources=None), jax.random.key(0))


def stored_unet(path, condition):
    """A fresh U-Net of the published sizes."""
    config = ModelConfig(unet=UnetConfig(condition=condition))
    shapes = jax.eval_shape(
        partial(model.init_variables, config=config, parts=("unet",)), jax.random.key(0)
    )
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: rng.uniform(0, 0.01, leaf.shape).astype(np.float32), dict(shapes)
    )
    save_recognised(path, drawn, {})
    return drawn


@pytest.mark.parametrize("condition", list(UnetCondition))
def test_the_condition_is_told_from_the_weights(tmp_path, prepared, condition):
    stored_unet(tmp_path / "unet.safetensors", condition)
    name = f"{prepared / 'start.safetensors'}+{tmp_path / 'unet.safetensors'}"
    other = next(one for one in UnetCondition if one is not condition)
    settings = ["strategy=unet", f"weights={name}"]
    with pytest.raises(UsageError, match=rf"set model\.unet\.condition={condition}"):
        initial_variables(small_run.settings(prepared, *settings, f"model.unet.condition={other}"))
    fitting = small_run.settings(prepared, *settings, f"model.unet.condition={condition}")
    assert set(initial_variables(fitting)["params"]) == {"salience", "assignment", "unet"}
    assert small_run.settings(prepared, *settings).model.unet.condition is condition


def test_a_u_net_cannot_be_adapted_and_needs_f0_networks(tmp_path, prepared):
    stored_unet(tmp_path / "unet.safetensors", UnetCondition.ORIGINAL)
    name = f"{prepared / 'start.safetensors'}+{tmp_path / 'unet.safetensors'}"
    with pytest.raises(UsageError, match="learns from stems alone"):
        load(name, init_missing=True)
    with pytest.raises(UsageError, match="has no salience"):
        load(str(tmp_path / "unet.safetensors"))


def test_stems_of_the_engine_add_up_and_follow_the_f0(variables):
    one = batch(examples=2)
    channels = np.stack([0.5 * one.mixture, -0.2 * one.mixture], axis=1)
    engine = KnownPitch("small", variables, config=SMALL)
    seeds = np.arange(2, dtype=np.uint32)
    result = engine.separate(one.mixture, channels, seeds)
    assert result.stems_16k.shape == (2, 4, 2, 4096)
    assert relative_error(result.stems_16k.sum(axis=1), channels) < 1e-5
    output = engine.intermediates(one.mixture, seeds)
    assert relative_error(0.5 * output.stems, result.stems_16k[:, :, 0]) < 1e-5
    np.testing.assert_array_equal(output.f0_hz_synth, result.f0_hz_synth)
    turned = engine.known_f0(one.mixture)[:, ::-1]
    swapped = engine.intermediates(one.mixture, seeds, turned)
    assert relative_error(swapped.stems[:, ::-1], output.stems) < 1e-4
    assert relative_error(swapped.stems, output.stems) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("condition", list(UnetCondition))
def test_from_published_files_to_stems_and_scores(tmp_path, shared, golden, monkeypatch, condition):
    """By the commands: import, separate, evaluate; the network equals the recorded outputs."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMSS_SHARED", str(shared))

    def run(*arguments):
        result = CliRunner().invoke(
            application(), [str(one) for one in arguments], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    file = shared / "weights" / f"unet_{condition}_random_fp16.pth"
    run("weights", "import", file, "-o", "unet")
    mixture = golden("input")["mixture"]
    soundfile.write(tmp_path / "choir.wav", mixture, 16_000, "FLOAT")
    separated = ["separate", tmp_path / "choir.wav", "-o", tmp_path / "out", "-n", "published+unet"]
    printed = run(*separated, "--assigner", "heuristic", "--float32")
    (stems,) = (tmp_path / "out" / "published+unet").iterdir()
    assert str(stems) in printed
    total = sum(soundfile.read(file)[0] for file in stems.glob("*.wav"))
    np.testing.assert_allclose(total, mixture, atol=1e-4)
    engine = load("published+unet", assigner="heuristic").engine
    assert isinstance(engine, ModelEngine)
    assert engine.config.unet.condition is condition
    data = shared / "datasets" / "ChoralSingingDataset"
    table = run(
        *("evaluate", "published+unet", "--data", data, "--song", "Nino_Dios"),
        *("--limit", 1, "--assigner", "heuristic"),
    )
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]][3:] == [
        "published+unet",
        "comb, F0 of published+unet (heuristic)",
    ]
