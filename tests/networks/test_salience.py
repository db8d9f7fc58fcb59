"""Salience networks against Keras and PyTorch predictions on the same features."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax.accelerators import tracing_for
from umss_jax.config import ConvConfig
from umss_jax.networks.salience import EarlyDeep, EarlyShallow, LateDeep, LateDeepMagnitude


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


def test_examples_are_taken_together_on_accelerators():
    variables = abstract_variables(EarlyShallow(), FEATURE, FEATURE)
    batch = jax.ShapeDtypeStruct((3, 5, 360, 8), jnp.float32)

    def program(accelerator, **config):
        network = EarlyShallow(config=ConvConfig(**config))
        with tracing_for(accelerator):
            return str(jax.make_jaxpr(network.apply)(variables, batch, batch))

    assert "scan" in program(False)
    assert "scan" not in program(True)
    assert "scan" in program(True, batching="example")
    assert "scan" not in program(False, batching="whole")


@pytest.fixture(scope="module")
def small_batch():
    """Three short examples and parameters that are not at their initial values."""
    rng = np.random.default_rng(1)
    magnitude, phase = (jnp.float32(rng.normal(size=(3, 5, 360, 6))) for _ in range(2))
    variables = jax.jit(EarlyShallow().init)(jax.random.key(0), magnitude, phase)
    noise = [rng.uniform(0.5, 1.5, leaf.shape) for leaf in jax.tree.leaves(variables)]
    leaves = [leaf * n for leaf, n in zip(jax.tree.leaves(variables), noise, strict=True)]
    variables = jax.tree.unflatten(jax.tree.structure(variables), leaves)
    return jax.tree.map(jnp.float32, variables), magnitude, phase


def value_and_gradients(config, variables, magnitude, phase):
    def loss(params, magnitude, phase):
        variables_now = variables | {"params": params}
        salience = EarlyShallow(config=config).apply(variables_now, magnitude, phase)
        return jnp.sum(salience * jnp.sin(jnp.arange(360.0)).reshape(1, -1, 1)), salience

    grad = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    (_, salience), gradients = grad(variables["params"], magnitude, phase)
    return salience, gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batching", "recompute"),
    [("whole", "elementwise"), ("whole", "none"), ("whole", "everything"), ("example", "none")],
)
def test_batching_and_recomputation_change_nothing(small_batch, batching, recompute):
    plain = ConvConfig(method="direct", batching="whole", recompute="none")
    reference, expected = value_and_gradients(plain, *small_batch)
    config = ConvConfig(batching=batching, recompute=recompute)
    salience, gradients = value_and_gradients(config, *small_batch)
    assert relative_error(salience, reference) < 1e-5
    errors = jax.tree.map(relative_error, gradients, expected)
    assert max(jax.tree.leaves(errors)) < 1e-4, errors


def test_statistics_are_never_updated(small_batch):
    variables, magnitude, phase = small_batch
    apply = jax.jit(EarlyShallow().apply, static_argnames="mutable")
    _, updated = apply(variables, magnitude, phase, mutable=("batch_stats",))
    kept = jax.tree.map(np.array_equal, updated["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(kept))


def test_unknown_settings_are_refused(small_batch):
    for config in (ConvConfig(batching="half"), ConvConfig(recompute="some")):
        with pytest.raises(ValueError, match="choose among"):
            EarlyShallow(config=config).apply(*small_batch)
