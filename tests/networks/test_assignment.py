"""Voice assignment networks against Keras and PyTorch predictions on the same saliences."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from comparison import relative_error

from umss_jax.config import VOICES, ConvConfig
from umss_jax.networks.assignment import VoasClstm, VoasCnn, conv_lstm


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


def conv_lstm_oracle(x, input_kernel, recurrent_kernel, bias):
    """Keras 2's ConvLSTM2D by scipy in float64, on [T, F, W, C] with the whole 2-d kernels."""

    def same(image, kernel):
        """Correlate by TensorFlow's rule: for odd kernels, the same padding on both sides."""
        flipped = kernel[::-1, ::-1]
        return np.stack(
            [
                sum(
                    scipy.signal.convolve2d(image[..., i], flipped[..., i, o], mode="same")
                    for i in range(image.shape[-1])
                )
                for o in range(kernel.shape[-1])
            ],
            axis=-1,
        )

    def gate(values):
        return np.minimum(np.maximum(0.2 * values + 0.5, 0), 1)

    channels = recurrent_kernel.shape[2]
    output = cell = np.zeros((*x.shape[1:3], channels))
    outputs = []
    for image in x:
        values = same(image, input_kernel) + bias + same(output, recurrent_kernel)
        i, f, c, o = (values[..., n * channels : (n + 1) * channels] for n in range(4))
        cell = gate(f) * cell + gate(i) * np.tanh(c)
        output = gate(o) * np.tanh(cell)
        outputs.append(output)
    return np.stack(outputs)


def test_conv_lstm_is_that_of_keras():
    rng = np.random.default_rng(0)
    frames, bins, inputs, channels = 6, 11, 3, 4
    x = rng.normal(size=(frames, bins, 1, inputs))
    input_kernel = rng.normal(size=(3, 7, inputs, 4 * channels))
    recurrent_kernel = rng.normal(size=(3, 7, channels, 4 * channels))
    bias = rng.normal(size=4 * channels)
    reference = conv_lstm_oracle(x, input_kernel, recurrent_kernel, bias)
    value = jax.jit(conv_lstm)(
        jnp.float32(x[:, :, 0].transpose(1, 0, 2)[None]),
        *(jnp.float32(w) for w in (input_kernel, recurrent_kernel, bias)),
    )
    assert relative_error(value[0], reference[:, :, 0].transpose(1, 0, 2)) < 1e-5


def test_voas_clstm_shapes():
    salience = jnp.zeros((2, 360, 5))
    variables = jax.eval_shape(VoasClstm().init, jax.random.key(0), salience)
    lstm = variables["params"]["bass"]["lstm_1"]
    assert lstm["input_kernel"].shape == (3, 7, 16, 128)
    assert lstm["recurrent_kernel"].shape == (3, 7, 32, 128)
    assert jax.eval_shape(VoasClstm().apply, variables, salience).shape == (2, 4, 360, 5)
