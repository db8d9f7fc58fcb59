"""Voice assignment networks against Keras and PyTorch predictions on the same saliences."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_error

from umss_jax.assignment import VoasCnn
from umss_jax.config import VOICES, ConvConfig


def put(tree, path, names, arrays):
    for part in path:
        tree = tree.setdefault(part, {})
    tree.update(zip(names, arrays, strict=True))


@pytest.fixture(scope="module")
def voas_cnn_variables(shared):
    """The published weights, read here layer by layer, independently of the importer."""
    variables = {"params": {}, "batch_stats": {}}

    with h5py.File(shared / "weights" / "voas_cnn.h5", "r") as file:
        root = file["model_weights"]

        def arrays(layer):
            return [np.asarray(root[layer][name]) for name in root[layer].attrs["weight_names"]]

        def conv(path, layer):
            put(variables["params"], path, ("kernel", "bias"), arrays(layer))

        def norm(path, number):
            values = arrays(f"batch_normalization_{number}" if number else "batch_normalization")
            put(variables["params"], path, ("scale", "bias"), values[:2])
            put(variables["batch_stats"], path, ("mean", "var"), values[2:])

        norm(("input_norm",), 0)
        for n, layer in enumerate(("conv1", "conv2", "conv_harm_1", "conv_harm_2"), 1):
            conv((f"block_{n}", "conv"), layer)
            norm((f"block_{n}", "norm"), n)
        for n, voice in enumerate(VOICES, 1):
            conv((voice, "block_1", "conv"), f"conv{n}a")
            norm((voice, "block_1", "norm"), 4 + n)
            conv((voice, "conv_2"), f"conv{n}b")
            conv((voice, "output"), f"conv_{voice}")
    return variables


def test_voas_cnn_has_the_tree_of_the_published_file(voas_cnn_variables):
    variables = jax.eval_shape(VoasCnn().init, jax.random.key(0), jnp.zeros((1, 360, 8)))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, voas_cnn_variables)
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == 189_830


@pytest.mark.parametrize("method", ["direct", "auto"])
def test_voas_cnn_predicts_as_keras(voas_cnn_variables, golden, method):
    recorded = golden("keras_predictions")
    assigned = jax.jit(VoasCnn(config=ConvConfig(method=method)).apply)(
        voas_cnn_variables, recorded["salience_in_128"][None]
    )
    assert relative_error(assigned[0], recorded["assigned_from_voas_cnn_128"]) < 1e-4


@pytest.mark.parametrize("features", ["librosa", "nnaudio"])
def test_voas_cnn_predicts_as_the_reference(voas_cnn_variables, golden, features):
    """The 2024 code ships the bass's output bias for the tenor too; its values have it."""
    params = dict(voas_cnn_variables["params"])
    params["tenor"] = params["tenor"] | {
        "output": params["tenor"]["output"] | {"bias": params["bass"]["output"]["bias"]}
    }
    variables = voas_cnn_variables | {"params": params}
    recorded = golden("salience_assignment_f0")
    assigned = jax.jit(VoasCnn().apply)(variables, recorded[f"salience_{features}"][None])
    assert relative_error(assigned[0], recorded[f"assigned_{features}"]) < 1e-4
