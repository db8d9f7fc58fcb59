"""Imported checkpoints compute what PyTorch computed, through the command and the stored file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error
from jax import lax
from typer.testing import CliRunner

from umss_jax import model
from umss_jax.cli.weights import app
from umss_jax.config import ModelConfig
from umss_jax.synth.harmonic import harmonic_controls, harmonic_signal
from umss_jax.weights import store as weights

pytestmark = pytest.mark.slow


@pytest.fixture
def imported(shared, tmp_path, monkeypatch):
    """Imports a file of shared/weights by the command and loads it by name."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))

    def load(file):
        arguments = ["import", str(shared / "weights" / file), "-o", "x"]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return weights.load("x").variables

    return load


def test_complete_model(imported, golden):
    """From the recorded salience, with the noise of the first recorded step, drawn from [0, 1)."""
    variables = imported("umss_reference_random.pth")
    reference = golden("full_forward")
    uniform = 2 * golden("train_step_0_noise")["uniform_voiced"] - 1
    found = model.forward(
        variables,
        jnp.asarray(reference["mixture"])[None],
        jnp.asarray(uniform)[None],
        ModelConfig(),
        salience=jnp.asarray(reference["salience"])[None],
    )
    assert relative_error(found.assigned[0], reference["assigned"]) < 1e-3
    assert relative_error(found.f0_hz_synth[0], reference["f0_hz"]) < 1e-3
    assert relative_error(found.sources[0], reference["sources"]) < 1e-3
    assert relative_error(found.mixture_hat[0], reference["mixture_hat"]) < 1e-3


# The U-Nets, straight from the description of the reference: what imported arrays must mean


def magnitude_1024(audio):
    """[B, 513, 254]: 1024/256, padded by 768 zeros at the end, then centred by reflection."""
    audio = np.pad(np.pad(audio, ((0, 0), (0, 768))), ((0, 0), (512, 512)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(audio, 1024, axis=1)[:, ::256]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    return np.abs(np.fft.rfft(frames * window)).transpose(0, 2, 1).astype(np.float32)


def conv(x, layer, **options):
    found = lax.conv_general_dilated(
        x,
        layer["kernel"],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
        **options,
    )
    return found + layer["bias"].reshape(1, 1, 1, -1)


def normalise(x, layer, statistics):
    shape = (1, 1, 1, -1)
    scale = layer["scale"] / np.sqrt(statistics["var"] + 1e-5)
    shift = layer["bias"] - statistics["mean"] * scale
    return x * scale.reshape(shape) + shift.reshape(shape)


def unet(params, statistics, magnitude, gamma, beta):
    """[B, 513, T] each → the estimated magnitude [B, 513, T]; inference, no dropout."""
    x = (magnitude / magnitude.max(axis=(1, 2), keepdims=True) * gamma + beta)[..., None]
    outputs = [x]
    for number in range(1, 7):
        down = params[f"down_{number}"]
        x = conv(x, down["conv"], window_strides=(2, 2), padding=((2, 2), (2, 2)))
        x = normalise(x, down["norm"], statistics[f"down_{number}"]["norm"])
        outputs.append(x)
    outputs.pop()
    for number in range(1, 7):
        up, skip = params[f"up_{number}"], outputs.pop()
        # As many rows and columns as the skip connection has: the reference's output_size.
        extra = [skip.shape[axis] - (2 * x.shape[axis] - 1) for axis in (1, 2)]
        x = conv(
            x,
            up["conv"],
            window_strides=(1, 1),
            padding=((2, 2 + extra[0]), (2, 2 + extra[1])),
            lhs_dilation=(2, 2),
        )
        if number < 6:
            x = normalise(x, up["norm"], statistics[f"up_{number}"]["norm"])
            x = jnp.concatenate([jax.nn.relu(x), skip], axis=-1)
    return jax.nn.sigmoid(x[..., 0]) * magnitude


def dense(x, layer):
    return np.einsum("btc,cd->btd", x, layer["kernel"]) + layer["bias"]


def test_unet_with_original_conditioning(imported, golden):
    variables = imported("unet_original_random_fp16.pth")
    params, reference = variables["params"]["unet"], golden("unet_original")
    f0_hz = reference["f0_hz"][..., 0].astype(np.float64)
    bins = np.maximum(np.round(np.log2(f0_hz / 32.7 + 1e-8) * 60) + 1, 0).astype(int)
    blurred = np.exp(-0.5 * (np.arange(361) - bins[..., None]) ** 2)
    blurred[np.abs(np.arange(361) - bins[..., None]) > 4] = 0
    x = blurred / blurred.max(axis=-1, keepdims=True)
    for number in (1, 2, 3):
        layer = params["condition"][f"conv_{number}"]
        x = np.pad(x, ((0, 0), (4, 5), (0, 0)))
        frames = np.lib.stride_tricks.sliding_window_view(x, 10, axis=1)
        x = np.einsum("btck,kcd->btd", frames, layer["kernel"]) + layer["bias"]
    gamma, beta = (dense(x, params["condition"][n]).transpose(0, 2, 1) for n in ("gamma", "beta"))
    found = unet(
        params,
        variables["batch_stats"]["unet"],
        magnitude_1024(reference["mixtures"]),
        gamma.astype(np.float32),
        beta.astype(np.float32),
    )
    assert relative_error(np.asarray(found)[:, None, ::4], reference["magnitude"]) < 1e-3


def test_unet_with_exact_conditioning(imported, golden):
    """γ and β from the spectrum of the harmonic source at a constant raw amplitude of 1."""
    variables = imported("unet_exact_random_fp16.pth")
    params, reference = variables["params"]["unet"], golden("unet_exact")
    f0_hz_synth = jnp.asarray(reference["f0_hz"][..., 0])
    config = ModelConfig().synth
    controls = harmonic_controls(jnp.ones_like(f0_hz_synth), f0_hz_synth, config)
    spectrum = magnitude_1024(np.asarray(harmonic_signal(controls, config))).transpose(0, 2, 1)

    def condition(name):
        first, second = (params["condition"][f"{name}_{number}"] for number in (1, 2))
        found = np.maximum(dense(np.tanh(dense(spectrum, first)), second), 0)
        return found.transpose(0, 2, 1).astype(np.float32)

    found = unet(
        params,
        variables["batch_stats"]["unet"],
        magnitude_1024(reference["mixtures"]),
        condition("gamma"),
        condition("beta"),
    )
    assert relative_error(np.asarray(found)[:, None, ::4], reference["magnitude"]) < 1e-3
