"""Configurations of runs, and the reference's."""

import re
import shlex
import tomllib
from dataclasses import replace

import pytest
from places import ROOT

from umss_jax.cli import run
from umss_jax.config import Assigner
from umss_jax.config_tree import build, plain, to_toml
from umss_jax.errors import UsageError
from umss_jax.train.config import TrainConfig
from umss_jax.train.reference_settings import read_reference
from umss_jax.train.settings import build_run, read_tree, split_arguments
from umss_jax.train.strategies import SCHEDULES, STRATEGIES, cached, weighted


def test_no_file_is_the_defaults():
    assert build_run({}) == TrainConfig()


def test_file_and_overrides_over_defaults():
    tree = {"strategy": "umss", "optimiser": {"learning_rate": 1e-3, "clip_norm": 2}}
    config = build_run(
        tree,
        [
            "optimiser.clip_norm=5",
            "data.train.folders=['a b', 'c']",
            "name=my-run",
            "f0_assigner=voas-cnn",
            "cosine=true",
        ],
    )
    assert config.strategy == "umss"
    assert (config.optimiser.learning_rate, config.optimiser.clip_norm) == (1e-3, 5.0)
    assert config.optimiser.l2_penalty == TrainConfig().optimiser.l2_penalty
    assert config.data.train.folders == ("a b", "c")
    assert (config.name, config.f0_assigner, config.cosine) == ("my-run", Assigner.VOAS_CNN, True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=1", "no setting is called lr"),
        ("optimiser.learning_rat=1", r"did you mean optimiser\.learning_rate\?"),
        ("data.train=3", "data.train is 3"),
        ("batch=many", "batch is 'many'"),
        ("batch=1.5", "batch is 1.5"),
        ("batch=true", "batch is True"),
        ("batch=0", "batch is 0: give a number from 1 to 4096"),
        ("batch=2000", "an epoch of 1600 examples"),
        ("parallel=vmap", "choose from pmap, shard_map"),
        ("strategy=w_down", "no strategy is called 'w_down'"),
        ("epochs=[1, 2]", "epochs has 2 numbers, w_up 3 phases"),
        ("name=../there", "is no name of a run"),
        ("loss.fft_sizes=[256, 'x']", "loss.fft_sizes is 'x'"),
        ("=3", "is no override"),
        ("seed.x=3", "seed is"),
    ],
)
def test_what_does_not_fit_is_refused(override, message):
    with pytest.raises(UsageError, match=message):
        build_run({}, [override])


def test_the_resolved_configuration_reads_back():
    config = build_run({}, ["name='quo\\\"ted ä'", "data.train.pieces=['*é', 'b\\\\c']"])
    assert build(TrainConfig, tomllib.loads(to_toml(plain(config)))) == config


def test_arguments_of_the_command():
    assert split_arguments([]) == (None, [])
    file, overrides = split_arguments(["a.toml", "seed=1"])
    assert (str(file), overrides) == ("a.toml", ["seed=1"])
    assert split_arguments(["seed=1"]) == (None, ["seed=1"])
    with pytest.raises(UsageError, match=r"'b\.toml' is no override"):
        split_arguments(["a.toml", "b.toml"])


REFERENCE = """
# ----- GENERAL PARAMETERS ---
tag: choir
comment: two words
architecture: SourceFilterMixtureAutoencoder2
dataset = CSD
train-song = El Rossinyol
val-song = Nino Dios
epochs = 80
batch-size = 5    # small
lr = 0.0003
lr-decay-gamma = 0.9
weight-decay = 0.00002
seed = 7
n-sources = 4
loss-nfft = [512, 64]
loss-saliences-weight = 10
loss-voices-weight = 20
loss-comittment-weight = 30
loss-logmel-weight = 0
filter-order = 16
embedding-size = 64
F0-models = True
F0-models-trainable = True
MultiF0-estimator-trainable = False
method = reconstruction # other possibilities: ste
"""


def reference(tmp_path, text=REFERENCE):
    path = tmp_path / "config.txt"
    path.write_text(text)
    return path


def test_the_references_configuration(tmp_path):
    config = build_run(read_reference(reference(tmp_path), "sets"))
    assert (config.name, config.strategy, config.seed) == ("choir", "sf_sft", 7)
    assert (config.batch, config.max_epochs, config.epoch_examples) == (5, 80, 1600)
    assert config.patience == 140  # the reference's own default
    assert config.optimiser.learning_rate == 3e-4
    assert config.optimiser.l2_penalty == 2e-5
    assert config.optimiser.decay_factor == 0.9
    assert config.loss.fft_sizes == (512, 64)
    weights = (config.loss.l1_weight, config.loss.l2_weight, config.loss.l3_weight)
    assert weights == (10, 20, 30)
    assert config.model.decoder.line_spectral_frequencies == 16
    assert config.model.encoder.latent == 64
    assert config.data.train.folders == ("sets/ChoralSingingDataset",)
    assert config.data.train.pieces == ("El_Rossinyol",)
    assert config.data.validation.singers == (3,)


@pytest.mark.parametrize(
    ("change", "strategy"),
    [
        (("estimator-trainable = False", "estimator-trainable = True"), "sft_sft"),
        (("F0-models-trainable = True", "F0-models-trainable = False"), "sf_sf"),
        (("F0-models = True", "F0-models = False\nf0-cuesta = True"), "umss"),
        (("F0-models = True", "f0-cuesta = True\nsupervised = True"), "supervised"),
    ],
)
def test_the_references_strategies(tmp_path, change, strategy):
    text = REFERENCE.replace("MultiF0-estimator", "MultiF0-estimator").replace(*change)
    assert read_reference(reference(tmp_path, text))["strategy"] == strategy


UNET_REFERENCE = """
architecture: BaselineUnet
dataset = BCBQ
one-song = True
f0-cuesta = True
supervised = True
batch-size = 16
lr = 0.001
lr-decay-gamma = 0.98
nfft = 1024
nhop = 256
"""


@pytest.mark.parametrize("condition", ["original", "exact"])
def test_the_references_u_net(tmp_path, condition):
    original = "original-cu-net = True\n" if condition == "original" else ""
    config = build_run(read_reference(reference(tmp_path, UNET_REFERENCE + original)))
    assert (config.strategy, config.batch) == ("unet", 16)
    assert config.model.unet.condition == condition
    assert config.model.unet == replace(TrainConfig().model.unet, condition=condition)
    assert config.model.encoder == TrainConfig().model.encoder
    assert config.optimiser.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("original-cu-net = True", "only a BaselineUnet has"),
        ("n-sources = 3", "n-sources = 3 has no counterpart"),
        ("loss-logmel-weight = 1", "loss-logmel-weight = 1 has no counterpart"),
        ("weight-decoy = 1", "weight-decoy has no counterpart"),
        ("dataset = musdb", "dataset musdb is not known"),
        ("just words", "write key = value"),
        ("F0-models = False", "F0 from CREPE"),
    ],
)
def test_what_the_reference_has_and_we_have_not(tmp_path, line, message):
    with pytest.raises(UsageError, match=message):
        read_reference(reference(tmp_path, f"{REFERENCE}\n{line}\n"))


def test_bach_chorales_and_barbershop_quartet(tmp_path):
    text = REFERENCE.replace("dataset = CSD", "dataset = BCBQ")
    data = build_run(read_reference(reference(tmp_path, text))).data
    assert data.train.folders == ("datasets/BC", "datasets/BQ")
    assert set(data.validation.pieces) < set(data.train.exclude)
    data = build_run(read_reference(reference(tmp_path, f"{text}\none-song = True"))).data
    assert (data.train.pieces, data.validation.pieces) == (("BC/1_BC001*",), ("BC/2_BC002*",))


def test_the_command_shows_the_resolved_configuration(tmp_path, capsys):
    path = reference(tmp_path)
    assert run(["train", "--from-reference", str(path), "--show", "seed=9"]) == 0
    config = build(TrainConfig, tomllib.loads(capsys.readouterr().out))
    assert config == build_run(read_reference(path), ["seed=9"])
    assert run(["train", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_cached_strategies_begin_after_what_is_frozen():
    assert cached(STRATEGIES["sf_sf"]).start == "f0"
    assert cached(STRATEGIES["sf_sft"]).start == "salience"
    assert cached(STRATEGIES["sft_sft"]).start == "mixture"
    assert cached(STRATEGIES["umss"]) == STRATEGIES["umss"]


def test_losses_of_the_phases_of_w_up():
    weights = build_run({}, ["loss.l2_weight=5", "loss.fft_sizes=[64]"]).loss
    rows = [weighted(phase.step.loss, weights) for phase in SCHEDULES["w_up"]]
    terms = [(r.rec_weight, r.l1_weight, r.l2_weight, r.l3_weight) for r in rows]
    assert terms == [(0, 1e4, 5, 1e4), (1, 0, 0, 0), (1, 1e4, 5, 1e4)]
    assert {row.fft_sizes for row in rows} == {(64,)}
    assert [phase.epochs for phase in SCHEDULES["w_up"]] == [50, 50, None]
    parts = [phase.step.trainable for phase in SCHEDULES["w_up"]]
    synthesis = ("encoder", "decoder")
    assert parts == [("assignment",), synthesis, ("salience", "assignment", *synthesis)]


CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_of_experiments(path):
    tree = read_tree(path)
    assert build_run(tree).name == path.stem
    assert "weights" in tree, "what a run begins with decides its figures"
    head = path.read_text().split("\nname = ")[0]
    for label in ("# Source:", "# Command:", "# Expected:", "# Score:"):
        assert label in head
    command = rf"umss-jax train experiments/configs/{path.name}((?: '?[\w.]+=\S+)*)"
    commands = re.findall(command, " ".join(head.replace("#", " ").split()))
    assert commands
    for overrides in map(shlex.split, commands):
        name = build_run(tree, overrides).name
        assert name.startswith(path.stem)
        assert name == path.stem or overrides


def test_there_are_configurations_of_experiments():
    assert len(CONFIGS) >= 3
