"""Encoder and decoder against the recorded reference and PyTorch modules with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax.config import DecoderConfig, EncoderConfig
from umss_jax.networks.decoder import Decoder, f0_on_log_scale
from umss_jax.networks.dense import LayerNorm
from umss_jax.networks.encoder import Encoder, encoder_input
from weights_convert import import_file

torch = pytest.importorskip("torch")

CHECKPOINT = "umss_reference_random.pth"


@pytest.fixture(scope="module")
def params(shared):
    return import_file(shared / "weights" / CHECKPOINT).variables["params"]


@pytest.fixture(scope="module")
def state(shared):
    """The same weights as PyTorch reads them, not through the importer."""
    return torch.load(shared / "weights" / CHECKPOINT, weights_only=True)


@pytest.fixture(scope="module")
def log_magnitudes(golden):
    return golden("encoder_input")["log_magnitude"].T[None]


@pytest.fixture(scope="module")
def f0_hz(golden):
    return golden("full_forward")["f0_hz"][None]


def part(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def torch_gru(state, prefix, x):
    weights = part(state, prefix + ".")
    gates, width = weights["weight_ih_l0"].shape
    gru = torch.nn.GRU(width, gates // 3, batch_first=True)
    gru.load_state_dict(weights)
    return gru(x)[0]


def torch_dense(state, prefix, x):
    weights = part(state, prefix + ".")
    return torch.nn.functional.linear(x, weights["weight"], weights["bias"])


def torch_stack(state, prefix, x):
    for layer in range(3):
        norm = part(state, f"{prefix}.{layer}.1.")
        x = torch_dense(state, f"{prefix}.{layer}.0", x)
        x = torch.nn.functional.layer_norm(x, x.shape[-1:], norm["weight"], norm["bias"], 1e-5)
        x = torch.nn.functional.leaky_relu(x, 0.01)
    return x


def torch_encoder(state, log_magnitudes):
    x = torch.from_numpy(np.ascontiguousarray(log_magnitudes))
    deviation = torch.sqrt(x.var(dim=(1, 2), unbiased=False, keepdim=True) + 1e-5)
    x = (x - x.mean(dim=(1, 2), keepdim=True)) / deviation
    x = x * state["encoder.layer_norm.scale"].ravel() + state["encoder.layer_norm.shift"].ravel()
    second = torch_gru(state, "encoder.gru2", torch_gru(state, "encoder.gru1", x))
    third = torch_gru(state, "encoder.gru3", second)
    return torch_dense(state, "encoder.dense", second + third)


def torch_decoder(state, latent, f0_hz):
    """[B, frames, 128] and [B, J, frames] → heads by the name of their controls."""
    batch, voices, frames = f0_hz.shape
    midi = lambda hz: 69 + 12 * torch.log2(hz / 440)  # noqa: E731
    low, high = midi(torch.tensor(20.0)), midi(torch.tensor(8000.0))
    scaled = (midi(torch.from_numpy(f0_hz)) - low) / (high - low)
    from_f0 = torch_stack(state, "decoder.f0_mlp", scaled.reshape(batch * voices, frames, 1))
    from_latent = torch_stack(state, "decoder.z_mlp", torch.from_numpy(np.array(latent)))
    joined = torch.cat([from_f0, from_latent.repeat_interleave(voices, dim=0)], dim=-1)
    x = torch_stack(state, "decoder.mlp", torch_gru(state, "decoder.gru", joined))
    heads = {
        "harmonic_amplitude": torch_dense(state, "dense_outs.0", x)[..., 0],
        "noise_gain": torch_dense(state, "dense_outs.1", x)[..., 0],
        "line_spectral_frequencies": torch_dense(state, "dense_outs.2", x),
        "noise_magnitudes": torch_gru(state, "gru_noise_mag", x)[:, -1],
    }
    return {k: v.reshape(batch, voices, *v.shape[1:]).numpy() for k, v in heads.items()}


def test_encoder_input_equals_the_recorded_one(golden):
    mixture = jnp.asarray(golden("input")["mixture"])[None]
    got = encoder_input(mixture, EncoderConfig())
    assert got.shape == (1, 250, 257)
    assert relative_error(got[0].T, golden("encoder_input")["log_magnitude"]) < 1e-4


def test_encoder_equals_pytorch(params, state, log_magnitudes):
    got = jax.jit(Encoder().apply)({"params": params["encoder"]}, jnp.asarray(log_magnitudes))
    assert got.shape == (1, 250, 128)
    with torch.no_grad():
        assert relative_error(got, torch_encoder(state, log_magnitudes).numpy()) < 1e-5


def test_decoder_equals_pytorch(params, state, f0_hz):
    """Two examples, so that a latent given to the wrong voices would show."""
    latent = np.random.default_rng(0).normal(size=(2, 250, 128)).astype(np.float32)
    both = np.concatenate([f0_hz, f0_hz[:, ::-1] * 1.1])
    got = jax.jit(Decoder().apply)(
        {"params": params["decoder"]}, jnp.asarray(latent), jnp.asarray(both)
    )
    with torch.no_grad():
        expected = torch_decoder(state, latent, both)
    shapes = {name: value.shape for name, value in got._asdict().items()}
    assert shapes == {
        "harmonic_amplitude": (2, 4, 250),
        "noise_gain": (2, 4, 250),
        "line_spectral_frequencies": (2, 4, 250, 21),
        "noise_magnitudes": (2, 4, 40),
    }
    for name, value in got._asdict().items():
        assert relative_error(value, expected[name]) < 1e-5, name


def test_gradients_equal_pytorchs(params, state, log_magnitudes):
    """Through encoder and decoder, 60 frames, to the input and to a weight of each end."""
    x, f0_hz = log_magnitudes[:, :60], np.full((1, 4, 60), 220.0, np.float32)
    f0_hz[0, 1] *= np.linspace(1, 1.5, 60)
    weights = np.random.default_rng(1).normal(size=(1, 4, 60, 21)).astype(np.float32)

    def ours(params, x):
        latent = Encoder().apply({"params": params["encoder"]}, x)
        raw = Decoder().apply({"params": params["decoder"]}, latent, jnp.asarray(f0_hz))
        return jnp.sum(raw.line_spectral_frequencies * weights)

    parts = {name: params[name] for name in ("encoder", "decoder")}
    slopes, slope_x = jax.jit(jax.grad(ours, argnums=(0, 1)))(parts, jnp.asarray(x))
    leaf = torch.from_numpy(np.ascontiguousarray(x)).requires_grad_()
    dense = state["encoder.dense.weight"].clone().requires_grad_()
    head = state["dense_outs.2.weight"].clone().requires_grad_()
    trained = {**state, "encoder.dense.weight": dense, "dense_outs.2.weight": head}
    mean, variance = leaf.mean(), leaf.var(unbiased=False)
    y = (leaf - mean) / torch.sqrt(variance + 1e-5)
    y = y * state["encoder.layer_norm.scale"].ravel() + state["encoder.layer_norm.shift"].ravel()
    second = torch_gru(state, "encoder.gru2", torch_gru(state, "encoder.gru1", y))
    latent = torch_dense(
        trained, "encoder.dense", torch_gru(state, "encoder.gru3", second) + second
    )
    scaled = (np.log(f0_hz / 20.0) / np.log(400.0)).astype(np.float32)
    from_f0 = torch_stack(state, "decoder.f0_mlp", torch.from_numpy(scaled.reshape(4, 60, 1)))
    from_latent = torch_stack(state, "decoder.z_mlp", latent).repeat_interleave(4, dim=0)
    z = torch_gru(state, "decoder.gru", torch.cat([from_f0, from_latent], dim=-1))
    out = torch_dense(trained, "dense_outs.2", torch_stack(state, "decoder.mlp", z))
    (out * torch.from_numpy(weights[0])).sum().backward()
    assert relative_error(slope_x, leaf.grad.numpy()) < 1e-3
    assert relative_error(slopes["encoder"]["dense"]["kernel"], dense.grad.numpy().T) < 1e-3
    head_slope = slopes["decoder"]["line_spectral_frequencies"]["kernel"]
    assert relative_error(head_slope, head.grad.numpy().T) < 1e-4


def test_number_of_parameters(params):
    shapes = {
        "encoder": jax.eval_shape(Encoder().init, jax.random.key(0), jnp.zeros((1, 8, 257))),
        "decoder": jax.eval_shape(
            Decoder().init, jax.random.key(0), jnp.zeros((1, 8, 128)), jnp.ones((1, 4, 8))
        ),
    }
    total = 0
    for name, tree in shapes.items():
        fresh = jax.tree.map(lambda leaf: leaf.shape, tree["params"])
        assert fresh == jax.tree.map(np.shape, params[name])
        total += sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert total == 5_573_961


def test_f0_scale():
    f0_hz = np.array([1e-5, 20.0, 440.0, 8000.0, 12_000.0])
    expected = np.log(f0_hz / 20.0) / np.log(400.0)
    got = f0_on_log_scale(jnp.asarray(f0_hz, jnp.float32), DecoderConfig())
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert float(got[0]) < -2  # not clipped


def test_example_norm_is_per_example_and_over_bins_and_frames():
    x = jnp.asarray(np.random.default_rng(2).normal(3.0, 2.0, (2, 9, 5)), jnp.float32)
    module = LayerNorm(axes=(1, 2), shift="shift")
    variables = module.init(jax.random.key(0), x)
    got = np.asarray(module.apply(variables, x))
    np.testing.assert_allclose(got.mean(axis=(1, 2)), 0.0, atol=1e-6)
    np.testing.assert_allclose(got.var(axis=(1, 2)), 1.0, rtol=1e-4)
    louder = module.apply(variables, x.at[1].multiply(7.0))
    np.testing.assert_array_equal(louder[0], got[0])


def test_one_latent_for_all_voices_but_each_its_own_f0():
    decoder = Decoder(DecoderConfig(hidden=8, noise_bands=5))
    latent = jnp.asarray(np.random.default_rng(3).normal(size=(1, 6, 128)), jnp.float32)
    f0_hz = jnp.asarray([[[200.0] * 6, [300.0] * 6, [200.0] * 6, [100.0] * 6]])
    variables = decoder.init(jax.random.key(0), latent, f0_hz)
    raw = decoder.apply(variables, latent, f0_hz)
    for value in raw:
        np.testing.assert_array_equal(value[:, 0], value[:, 2])
        assert np.abs(value[:, 0] - value[:, 1]).max() > 1e-6
