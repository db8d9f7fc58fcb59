"""Salience networks against Keras and PyTorch predictions on the same features."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_error

from umss_jax.config import ConvConfig
from umss_jax.salience import EarlyDeep, EarlyShallow, LateDeep, LateDeepMagnitude


def put_conv(tree, path, arrays):
    """Place a Keras convolution, weights and bias, at a path of a Flax tree."""
    for part in path:
        tree = tree.setdefault(part, {})
    tree["kernel"], tree["bias"] = arrays


def put_norm(params, stats, path, arrays):
    """Place Keras's gamma, beta, mean and variance at a path of both Flax trees."""
    for part in path:
        params, stats = params.setdefault(part, {}), stats.setdefault(part, {})
    params["scale"], params["bias"], stats["mean"], stats["var"] = arrays


def layer_arrays(root, layer):
    group = root[layer]
    return [np.asarray(group[name]) for name in group.attrs["weight_names"]]


@pytest.fixture(scope="module")
def late_deep_variables(shared):
    """The published weights, read here layer by layer, independently of the importer."""
    params, stats = {}, {}
    with h5py.File(shared / "weights" / "exp3multif0.pkl", "r") as root:
        for feature, letter, first in (("magnitude", "a", 1), ("phase", "b", 8)):
            norm = layer_arrays(root, f"batch_normalization_{first}")
            put_norm(params, stats, (feature, "input_norm"), norm)
            for n, layer in enumerate(("conv1", "conv2", "conv3", "conv4", "harm1", "harm2"), 1):
                block = (feature, f"block_{n}")
                put_conv(params, (*block, "conv"), layer_arrays(root, layer + letter))
                norm = layer_arrays(root, f"batch_normalization_{first + n}")
                put_norm(params, stats, (*block, "norm"), norm)
        for n, layer in enumerate(("conv7", "conv8", "distribution"), 1):
            block = ("merged", f"block_{n}")
            put_conv(params, (*block, "conv"), layer_arrays(root, layer))
            norm = layer_arrays(root, f"batch_normalization_{14 + n}")
            put_norm(params, stats, (*block, "norm"), norm)
        put_conv(params, ("output",), layer_arrays(root, "squishy"))
    return {"params": params, "batch_stats": stats}


def shapes(tree):
    return jax.tree.map(jnp.shape, tree)


def count(tree):
    return sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def abstract_variables(network, *features):
    return jax.eval_shape(network.init, jax.random.key(0), *features)


FEATURE = jnp.zeros((1, 5, 360, 8))


def test_late_deep_has_the_tree_of_the_published_file(late_deep_variables):
    variables = abstract_variables(LateDeep(), FEATURE, FEATURE)
    assert shapes(variables) == shapes(late_deep_variables)
    assert count(variables["params"]) == 1_251_701


@pytest.mark.parametrize("features", ["librosa", "nnaudio"])
@pytest.mark.parametrize("method", ["direct", "auto"])
def test_late_deep_predicts_as_the_reference(late_deep_variables, golden, features, method):
    hcqt = golden("hcqt")
    salience = jax.jit(LateDeep(config=ConvConfig(method=method)).apply)(
        late_deep_variables,
        hcqt[f"magnitude_db_{features}"][None],
        hcqt[f"phase_diff_{features}"][None],
    )
    reference = golden("salience_assignment_f0")[f"salience_{features}"]
    assert relative_error(salience[0], reference) < 1e-4
    if features == "librosa":
        keras = golden("keras_predictions")["salience_from_exp3multif0"]
        assert relative_error(salience[0], keras) < 1e-4


@pytest.mark.parametrize(
    ("network", "blocks"),
    [(EarlyDeep, (1, 8)), (EarlyShallow, (1, 6)), (LateDeepMagnitude, (6, 3))],
)
def test_variants_have_their_blocks(network, blocks):
    features = [FEATURE] if network is LateDeepMagnitude else [FEATURE, FEATURE]
    variables = abstract_variables(network(), *features)
    params = variables["params"]
    assert sum(name.startswith("block") for name in params["magnitude"]) == blocks[0]
    assert sum(name.startswith("block") for name in params["merged"]) == blocks[1]
    assert ("phase" in params) == (len(features) == 2)
    out = jax.eval_shape(network().apply, variables, *features)
    assert out.shape == (1, 360, 8)


def test_wrong_features_are_refused():
    variables = abstract_variables(LateDeep(), FEATURE, FEATURE)
    with pytest.raises(ValueError, match="shape"):
        jax.eval_shape(LateDeep().apply, variables, FEATURE)
    with pytest.raises(ValueError, match="shape"):
        jax.eval_shape(LateDeep().apply, variables, FEATURE, FEATURE[..., :4])
    with pytest.raises(ValueError, match="no phase"):
        abstract_variables(LateDeepMagnitude(), FEATURE, FEATURE)
