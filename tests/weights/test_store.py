"""The store: whole or not there, checked when read, all that does not fit listed."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from weight_files import (
    as_earlier_version,
    assert_same,
    change_json,
    change_metadata,
    random_variables,
    save_recognised,
)

import umss_jax
from umss_jax.cli import run
from umss_jax.cli.weights import bring_published
from umss_jax.config import EncoderConfig, ModelConfig, with_networks
from umss_jax.errors import OutputError, UnknownModelError, WeightsError
from umss_jax.files import file_sha256
from umss_jax.model import init_variables
from umss_jax.trees import (
    WrongTreeError,
    expect_tree,
    flatten,
    part_of,
    parts,
    select_parts,
    unflatten,
)
from umss_jax.weights import store as weights
from umss_jax.weights.combine import load_weights
from umss_jax.weights.recognise import recognise
from weights_convert import import_file

CONFIG = ModelConfig(encoder=EncoderConfig(fft_size=4, hidden=2, latent=3))
VARIABLES = jax.tree.map(
    np.asarray, {"params": init_variables(jax.random.key(0), CONFIG, ("encoder",))["params"]}
)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UMSS_SHARED", raising=False)
    return tmp_path / "home" / "weights"


@pytest.mark.parametrize("kind", ["npy-voas-cnn", "torch-umss-2024", "torch-unet-original"])
def test_round_trip(kind):
    variables = random_variables(kind)
    path = save_recognised("x", variables, {"origin": "é"})
    found, _, about = weights.load("x")
    assert_same(found, variables)
    assert about["origin"] == "é"
    assert about["parts"] == list(parts(variables))
    assert about["parameters"] == sum(leaf.size for leaf in flatten(variables["params"]).values())
    assert weights.stored_names() == ["x"]
    assert_same(weights.load(path).variables, variables)
    # Any safetensors reader finds the same under the flat names.
    assert_same(load_file(path), flatten(variables))


def test_jax_arrays_and_views_are_stored_as_they_read():
    """A transposed or strided view lies differently in memory than it reads."""
    kernel = np.arange(24, dtype=np.float32).reshape(4, 6)
    variables = {"params": {"a": {"t": kernel.T, "s": kernel[::-1, ::2], "j": jax.numpy.ones(3)}}}
    found = unflatten(load_file(weights.save("x", variables, CONFIG)))
    np.testing.assert_array_equal(found["params"]["a"]["t"], kernel.T)
    np.testing.assert_array_equal(found["params"]["a"]["s"], kernel[::-1, ::2])
    np.testing.assert_array_equal(found["params"]["a"]["j"], np.ones(3))


def test_paths_stand_for_themselves(tmp_path, store):
    path = weights.save(tmp_path / "deep" / "mine", VARIABLES, CONFIG)
    assert path == tmp_path / "deep" / "mine.safetensors"
    assert [file.name for file in path.parent.iterdir()] == ["mine.safetensors"]
    assert not store.exists()
    assert_same(weights.load(tmp_path / "deep" / "mine").variables, VARIABLES)


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a b", "-o", "ünï", "x" * 101, "a\nb"])
def test_names_are_plain(name):
    with pytest.raises(WeightsError, match="is no name for weights"):
        weights.save(name, VARIABLES, CONFIG)


def test_nothing_is_stored():
    assert weights.stored_names() == []
    with pytest.raises(UnknownModelError, match="no weights are stored as 'x'"):
        weights.load("x")


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.zeros(3), "holds float64 instead of float32"),
        (np.array([1, np.nan], np.float32), "not finite"),
        (np.array([1, np.inf], np.float32), "not finite"),
        (np.array(["a"]), "instead of float32"),
    ],
)
def test_only_finite_float32_is_stored(leaf, message, store):
    with pytest.raises(WrongTreeError, match=message) as caught:
        weights.save("x", {"params": {"good": np.zeros(1, np.float32), "bad": leaf}}, CONFIG)
    assert len(caught.value.problems) == 1
    assert not store.exists()


def test_an_empty_tree_is_not_stored():
    with pytest.raises(WrongTreeError, match="there are none"):
        weights.save("x", {"params": {}}, CONFIG)


def test_changed_tensors_are_refused(store):
    path = weights.save("x", VARIABLES, CONFIG)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is not what was stored"):
        weights.load("x")


def test_tensors_without_metadata_and_the_reverse_are_refused(store):
    path = weights.save("x", VARIABLES, CONFIG)
    as_earlier_version(path)
    (store / "x.json").rename(store / "y.json")
    with pytest.raises(WeightsError, match=r"x\.json cannot be read"):
        weights.load("x")
    (store / "y.json").rename(store / "x.json")
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.load("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no metadata"),
        ("{}", "holds no metadata"),
        ("[" * 100_000, "cannot be read"),
        (" " * (5 << 20), "is too large for metadata"),
        ("\udcff", "cannot be read"),
    ],
)
def test_damaged_metadata_are_refused(text, message, store):
    as_earlier_version(weights.save("x", VARIABLES, CONFIG))
    (store / "x.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightsError, match=message):
        weights.load("x")


def test_later_formats_are_refused(store):
    path = weights.save("x", VARIABLES, CONFIG)
    change_metadata(path, format=3)
    with pytest.raises(WeightsError, match="update umss-jax"):
        weights.load("x")
    change_metadata(path, format=2)
    change_json(as_earlier_version(path), format=3)
    with pytest.raises(WeightsError, match="update umss-jax"):
        weights.load("x")


def test_a_tree_that_is_not_of_its_configuration_is_refused(store):
    variables = random_variables("npy-voas-cnn")
    del variables["params"]["assignment"]["alto"]["output"]["bias"]
    variables["params"]["assignment"]["more"] = np.zeros(2, np.float32)
    variables["params"]["assignment"]["conv"] = variables["params"]["assignment"]["bass"].pop(
        "conv_2"
    )
    weights.save("x", variables, ModelConfig())
    with pytest.raises(WrongTreeError) as caught:
        weights.load("x")
    assert set(caught.value.problems) == {
        "missing params/assignment/alto/output/bias [1]",
        "missing params/assignment/bass/conv_2/bias [16]",
        "missing params/assignment/bass/conv_2/kernel [3, 3, 16, 16]",
        "extra params/assignment/conv/bias [16]",
        "extra params/assignment/conv/kernel [3, 3, 16, 16]",
        "extra params/assignment/more [2]",
    }
    assert "\n" not in str(caught.value)


def test_values_are_checked_when_read(store):
    """A file that another program wrote, with metadata that agree."""
    path = weights.save("x", VARIABLES, CONFIG)
    beside = as_earlier_version(path)
    nan = {name: np.full_like(leaf, np.nan) for name, leaf in flatten(VARIABLES).items()}
    save_file(nan, path)
    change_json(beside, tensors_sha256=file_sha256(path))
    with pytest.raises(WrongTreeError, match="not finite"):
        weights.load("x")
    path.write_bytes(b"\xff" * 64)
    change_json(beside, tensors_sha256=file_sha256(path))
    with pytest.raises(WeightsError, match="is no safetensors file"):
        weights.load("x")


SHAPES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([(), (2,), (2, 3), (3, 2)]), max_size=4
)


@settings(max_examples=100, deadline=None)
@given(SHAPES, SHAPES)
def test_expect_tree_lists_every_difference_and_nothing_else(found, expected):
    variables = {name: np.zeros(shape, np.float32) for name, shape in found.items()}
    structs = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in expected.items()}
    differing = {name for name in found | expected if found.get(name) != expected.get(name)}
    if not differing:
        expect_tree(variables, structs)
        return
    with pytest.raises(WrongTreeError) as caught:
        expect_tree(variables, structs)
    named = {
        problem.removeprefix("missing ").removeprefix("extra ")[0]
        for problem in caught.value.problems
    }
    assert named == differing
    assert len(caught.value.problems) == len(differing)


def test_expect_tree_tells_other_types():
    with pytest.raises(WrongTreeError, match="a holds float64 instead of float32"):
        expect_tree({"a": np.zeros(2)}, {"a": (2,)})


def test_failed_writing_leaves_what_was_there(store, monkeypatch):
    weights.save("x", VARIABLES, CONFIG, {"origin": "first"})
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    other = jax.tree.map(np.zeros_like, VARIABLES)

    def full(*_):
        raise OSError(28, "No space left on device")

    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, full)
            with pytest.raises(OutputError, match="No space left"):
                weights.save("x", other, CONFIG)
        assert {path.name: path.read_bytes() for path in store.iterdir()} == before
    assert_same(weights.load("x").variables, VARIABLES)


def test_a_store_that_is_a_file_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot be written"):
        weights.save("x", VARIABLES, CONFIG)


def test_parts():
    variables = random_variables("torch-umss-2024")
    assert parts(variables) == ("assignment", "decoder", "encoder", "salience")
    assert set(part_of(variables, "encoder")) == {"params"}
    assert set(part_of(variables, "salience")) == {"params", "batch_stats"}
    two = select_parts(variables, ["encoder", "salience"])
    assert parts(two) == ("encoder", "salience")
    with pytest.raises(WeightsError, match="no part 'synth'"):
        select_parts(variables, ["synth"])


def test_the_starter_weights_are_those_of_the_package(store):
    """Whatever lies in the store under their name."""
    as_earlier_version(weights.save("x", VARIABLES, CONFIG))
    for ending in ("safetensors", "json"):
        (store / f"x.{ending}").rename(store / f"starter.{ending}")
    assert weights.stored_names() == []
    path = weights.store_path("starter")
    assert path == Path(umss_jax.__file__).parent / "starter" / "weights.safetensors"
    variables, config, about = weights.load("starter")
    assert parts(variables) == ("assignment", "decoder", "encoder", "salience")
    assert recognise(variables, "salience") == "late-deep"
    assert recognise(variables, "assignment") == "small-voices"
    assert config == with_networks(ModelConfig(), "late-deep", "small-voices")
    assert about["licence"]
    assert (path.parent / "MODEL_CARD.md").is_file()


def test_the_small_networks_go_with_the_starter_weights(store):
    small = weights.load("starter-small").variables
    assert parts(small) == ("assignment", "salience")
    both = load_weights("starter+starter-small")
    assert parts(both.variables) == ("assignment", "decoder", "encoder", "salience")
    assert both.config.salience_network == "small-salience"
    assert flatten(select_parts(both.variables, ["salience"])).keys() == (
        flatten(select_parts(small, ["salience"])).keys()
    )


def test_models_are_combined_into_one(store, capsys):
    """What is stored is what their names joined by + give, each part with its own settings."""
    words = ["weights", "combine", "starter+starter-small", "-o", "both"]
    assert run([*words, "--origin", "two of the package", "--licence", "as theirs"]) == 0
    assert capsys.readouterr().out == f"{store / 'both.safetensors'}\n"
    expected, found = load_weights("starter+starter-small"), weights.load("both")
    assert found.config == expected.config
    mine, theirs = flatten(found.variables), flatten(expected.variables)
    assert mine.keys() == theirs.keys()
    for name, leaf in theirs.items():
        np.testing.assert_array_equal(mine[name], leaf)
    assert found.metadata["origin"] == "two of the package"
    assert found.metadata["licence"] == "as theirs"
    assert run(words) == 1
    assert "'both': add --overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0
    assert weights.load("both").metadata["origin"] == "starter+starter-small"
    assert run(["weights", "combine", "starter+nobody", "-o", "other"]) == 2
    assert not (store / "other.safetensors").exists()


def test_the_mean_of_models_is_stored(store, capsys):
    """Of the parts that all have, each array by itself; settings are the first's."""
    moved = jax.tree.map(lambda leaf: np.asarray(leaf + 2.0, np.float32), VARIABLES)
    weights.save("before", VARIABLES, CONFIG)
    weights.save("after", select_parts(moved, ["encoder"]), CONFIG)
    assert run(["weights", "average", "before", "after", "-o", "between"]) == 0
    found = weights.load("between")
    assert parts(found.variables) == ("encoder",)
    assert found.config == CONFIG
    assert found.metadata["origin"] == "mean of before, after"
    expected = flatten(select_parts(VARIABLES, ["encoder"]))
    assert expected
    for name, leaf in flatten(found.variables).items():
        np.testing.assert_allclose(leaf, np.float64(expected[name]) + 1.0, rtol=1e-6, atol=1e-6)
    capsys.readouterr()
    for others, code, words in (
        (["before"], 2, "two models or more"),
        (["after", "starter-small"], 2, "no part in common"),
        (["after", "starter"], 1, "other networks in encoder"),
        (["after", "nobody"], 2, "no weights are stored as 'nobody'"),
    ):
        assert run(["weights", "average", *others, "-o", "wrong"]) == code, others
        assert words in capsys.readouterr().err
        assert not (store / "wrong.safetensors").exists()


@pytest.mark.parametrize("name", ["starter", "starter-small"])
def test_the_starter_weights_are_not_replaced(tmp_path, capsys, name):
    before = weights.store_path(name).read_bytes()
    with pytest.raises(OutputError, match="part of umss-jax: choose another name"):
        weights.save(name, VARIABLES, CONFIG)
    (tmp_path / "some.npy").write_bytes(b"")
    assert run(["weights", "import", str(tmp_path / "some.npy"), "-o", name, "--overwrite"]) == 1
    assert f"'{name}' names the weights that are part" in capsys.readouterr().err
    assert weights.store_path(name).read_bytes() == before


def test_the_starter_weights_are_listed_and_shown(store, capsys):
    weights.save("x", VARIABLES, CONFIG)
    assert run(["weights", "list"]) == 0
    names = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["name", "starter", "starter-small", "x"]
    assert run(["weights", "show", "starter"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parts"] == ["assignment", "decoder", "encoder", "salience"]


def test_damaged_starter_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(weights.resources, "files", lambda package: tmp_path)
    with pytest.raises(UnknownModelError, match=r"starter weights are not in.*install umss-jax"):
        weights.load("starter")
    weights.save(tmp_path / "starter" / "weights.safetensors", VARIABLES, CONFIG)
    weights.load("starter")
    with (tmp_path / "starter" / "weights.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(WeightsError, match=r"not what was stored.*install umss-jax again"):
        weights.load("starter")


def test_published_nowhere_says_what_to_do():
    bring_published("published")
    with pytest.raises(UnknownModelError, match="umss-jax weights fetch published"):
        weights.load("published")


def test_published_from_shared_is_stored_and_read_again(shared, monkeypatch, store):
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    bring_published("published")
    assert weights.stored_names() == ["published"]
    monkeypatch.delenv("UMSS_SHARED")
    found, config, about = weights.load("published")
    assert about["parts"] == ["assignment", "salience"]
    assert about["parameters"] == 1_251_701 + 189_830
    assert config == ModelConfig()
    expected = import_file(shared / "weights" / "multi-f0_estimator").variables
    assert_same(select_parts(found, ["salience"]), expected)
