"""The conditioned U-Net: recorded outputs, PyTorch's own layers, and what must hold of any."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.config import HcqtConfig, ModelConfig, UnetCondition, UnetConfig
from umss_jax.networks import unet, unet_condition, unet_layers
from umss_jax.networks.registry import part_shapes
from umss_jax.networks.unet import Unet
from umss_jax.trees import part_of
from weights_convert import table_of_kind
from weights_convert.convert import import_file

CONDITIONS = list(UnetCondition)
SMALL = UnetConfig(fft_size=512, channels=(2, 3, 4), condition_channels=(3, 4), dropout_layers=1)


def module(condition, config=SMALL, **changes):
    changes = {"condition": condition, **changes}
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    return Unet(UnetConfig(**{**fields, **changes}))


def example(rng, batch=2, samples=2048):
    """Mixtures [B, samples] and F0 [B, samples / 256] of which some frames are unvoiced."""
    mixture = rng.uniform(-1, 1, (batch, samples)).astype(np.float32)
    f0_hz = rng.uniform(100, 500, (batch, samples // 256)).astype(np.float32)
    f0_hz[:, 2] = 1e-5
    return jnp.asarray(mixture), jnp.asarray(f0_hz)


def drawn(network, mixture, f0_hz_synth, seed=0):
    """Variables whose statistics are not those of a fresh network."""
    f0_hz = unet.condition_f0(f0_hz_synth, network.config)
    variables = jax.jit(network.init)(jax.random.key(seed), mixture, f0_hz)
    rng = np.random.default_rng(seed)
    moved = jax.tree.map(
        lambda x: jnp.asarray(rng.uniform(0.5, 1.5, x.shape).astype(np.float32)),
        variables["batch_stats"],
    )
    return {**variables, "batch_stats": moved}, f0_hz


@pytest.mark.parametrize("condition", CONDITIONS)
def test_recorded_outputs(golden, shared, condition):
    """Of *exact* the reference's oscillators drift by about 5e-4, here nothing does."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    stored = import_file(shared / "weights" / f"unet_{condition}_random_fp16.pth").variables
    reference = golden(f"unet_{condition}")
    network = Unet(UnetConfig(condition=condition))
    output = jax.jit(network.apply)(
        part_of(stored, "unet"),
        jnp.asarray(reference["mixtures"]),
        jnp.asarray(reference["f0_hz"][..., 0]),
    )
    assert relative_error(output.magnitude[:, None, ::4], reference["magnitude"]) < 1e-3
    masks = np.asarray(output.mask)[:, None, ::4, ::4]
    assert relative_error(masks, reference["mask_subsampled_4x4"]) < 1e-3


@pytest.mark.parametrize("condition", CONDITIONS)
def test_fresh_weights_have_the_names_and_shapes_of_the_published_code(condition):
    config = ModelConfig(unet=UnetConfig(condition=condition))
    assert part_shapes("unet", config) == table_of_kind(f"torch-unet-{condition}").flax_shapes()


def test_blurred_bins_peak_at_the_pitch():
    grid = HcqtConfig()
    f0_hz = jnp.asarray([[1e-5, 0.0, 32.7, 65.4, 440.0, 32.7 * 2 ** (359 / 60), 5000.0]])
    blurred = np.asarray(unet_condition.blurred_bins(f0_hz, UnetConfig(), grid))[0]
    assert blurred.shape == (7, 361)
    expected = [0, 0, 1, 61, 1 + round(60 * np.log2(440 / 32.7)), 360, 360]
    assert blurred.argmax(axis=-1).tolist() == expected
    np.testing.assert_array_equal(blurred.max(axis=-1), 1.0)
    inner = blurred[4][blurred[4] > 0]
    np.testing.assert_allclose(inner, np.exp(-0.5 * np.arange(-4, 5) ** 2.0), rtol=1e-6)


def test_the_edges_of_f0_are_held_for_the_original_condition_alone():
    f0_hz = jnp.asarray([[1.0, 2.0, 3.0]])
    held = unet.condition_f0(f0_hz, UnetConfig())
    np.testing.assert_array_equal(held, [[1, 1, 1, 2, 3, 3, 3]])
    exact = UnetConfig(condition=UnetCondition.EXACT)
    np.testing.assert_array_equal(unet.condition_f0(f0_hz, exact), f0_hz)


@pytest.mark.parametrize("size", [(5, 4), (6, 7)])
def test_the_transposed_convolution_is_the_transpose(size):
    """〈strided(y), x〉 = 〈y, transposed(x)〉, and its written-out gradients are right."""
    rng = np.random.default_rng(0)
    y = jnp.asarray(rng.normal(size=(2, *size, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(5, 5, 3, 4)), jnp.float32)
    strided = unet_layers.strided_conv(y, kernel)
    x = jnp.asarray(rng.normal(size=strided.shape), jnp.float32)
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    transposed = unet_layers.transposed_conv(x, turned, size)
    np.testing.assert_allclose(jnp.sum(strided * x), jnp.sum(y * transposed), rtol=1e-4)
    check_grads(
        lambda x, k: unet_layers.transposed_conv(x, k, size), (x, turned), 1, ["rev"], rtol=1e-2
    )


@pytest.mark.parametrize(
    "condition",
    [UnetCondition.ORIGINAL, pytest.param(UnetCondition.EXACT, marks=pytest.mark.slow)],
)
def test_gradients_in_training(condition):
    """In float64, where finite differences cross few corners of the rectifiers."""
    network = module(condition)
    mixture, f0_hz_synth = example(np.random.default_rng(1))
    variables, f0_hz = drawn(network, mixture, f0_hz_synth)
    keys = jax.random.split(jax.random.key(2), 2)
    with jax.enable_x64(True):
        params, stats = jax.tree.map(
            lambda x: x.astype(jnp.float64), (variables["params"], variables["batch_stats"])
        )

        def loss(params):
            output, _ = network.apply(
                {"params": params, "batch_stats": stats},
                mixture.astype(jnp.float64),
                f0_hz.astype(jnp.float64),
                keys,
                mutable=["batch_stats"],
            )
            return jnp.mean(jnp.square(output.magnitude))

        check_grads(jax.jit(loss), (params,), 1, ["rev"], eps=1e-7, rtol=1e-3, atol=1e-6)


def test_evaluation_ignores_neighbours_and_changes_nothing():
    network = module(UnetCondition.ORIGINAL)
    mixture, f0_hz_synth = example(np.random.default_rng(3))
    variables, f0_hz = drawn(network, mixture, f0_hz_synth)
    both = jax.jit(network.apply)(variables, mixture, f0_hz)
    alone = jax.jit(network.apply)(variables, mixture[1:], f0_hz[1:])
    np.testing.assert_allclose(both.magnitude[1], alone.magnitude[0], rtol=1e-5)
    _, changed = network.apply(variables, mixture, f0_hz, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])


def test_silence_stays_silent_and_finite():
    network = module(UnetCondition.EXACT)
    silence, f0_hz = jnp.zeros((1, 2048)), jnp.full((1, 8), 1e-5)
    variables, f0_hz = drawn(network, silence, f0_hz)
    output = jax.jit(network.apply)(variables, silence, f0_hz)
    np.testing.assert_array_equal(output.magnitude, 0.0)
    assert np.isfinite(output.mask).all()


def test_dropped_channels_are_whole_and_the_mean_is_kept():
    config = UnetConfig()
    x = jnp.ones((64, 3, 2, 50))
    dropped = np.asarray(
        unet_layers.drop_channels(x, jax.random.split(jax.random.key(0), 64), config)
    )
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1, :1], dropped.shape))
    assert abs(dropped.mean() - 1) < 0.1


def test_stems_add_up_to_every_channel():
    rng = np.random.default_rng(5)
    channels = jnp.asarray(rng.normal(size=(2, 2, 2048)), jnp.float32)
    magnitudes = jnp.asarray(rng.uniform(size=(2, 4, 513, 12)), jnp.float32)
    magnitudes = magnitudes.at[0, :, 5].set(0.0)  # nobody claims this bin
    stems = unet.separate_channels(channels, magnitudes, UnetConfig())
    assert stems.shape == (2, 4, 2, 2048)
    assert relative_error(stems.sum(axis=1), channels) < 1e-5


def test_all_voices_equal_each_by_itself():
    network = module(UnetCondition.ORIGINAL)
    mixture, _ = example(np.random.default_rng(6))
    f0_hz_synth = jnp.asarray(np.random.default_rng(7).uniform(100, 500, (2, 4, 8)), jnp.float32)
    variables, _ = drawn(network, mixture, f0_hz_synth[:, 0])
    estimate = partial(unet.estimate_voices, module=network)
    output = jax.jit(estimate)(variables, mixture, f0_hz_synth)
    for voice in range(4):
        f0_hz = unet.condition_f0(f0_hz_synth[:, voice], network.config)
        one = jax.jit(network.apply)(variables, mixture, f0_hz)
        np.testing.assert_allclose(output.magnitude[:, voice], one.magnitude, rtol=1e-4, atol=1e-5)


def test_training_mode_equals_pytorch():
    """Output, gradients and running statistics of a small U-Net of PyTorch's own layers."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    network = module(UnetCondition.ORIGINAL, dropout_layers=0, channels=(2, 3, 4))
    mixture, f0_hz_synth = example(np.random.default_rng(8), batch=3)
    variables, f0_hz = drawn(network, mixture, f0_hz_synth)
    target = np.random.default_rng(9).uniform(size=(3, 257, 10)).astype(np.float32)

    def loss(params):
        output, changed = network.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            mixture,
            f0_hz,
            jax.random.split(jax.random.key(0), 3),
            mutable=["batch_stats"],
        )
        return jnp.mean(jnp.abs(output.magnitude - target)), (output, changed["batch_stats"])

    gradient, (output, stats) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    image = output.mixture_magnitude / output.mixture_magnitude.max(axis=(1, 2), keepdims=True)
    image = np.array(image * output.gamma + output.beta)[:, None]
    theirs = _TorchBody(torch, variables, network.config)
    mask = torch.sigmoid(theirs(torch.from_numpy(image)))[:, 0]
    estimate = mask * torch.from_numpy(np.array(output.mixture_magnitude))
    torch.nn.functional.l1_loss(estimate, torch.from_numpy(target)).backward()
    assert relative_error(output.magnitude, estimate.detach()) < 1e-5
    for name, (conv, norm) in theirs.layers.items():
        mine = gradient[name]["conv"]["kernel"]
        if name.startswith("up"):
            mine = np.asarray(mine)[::-1, ::-1].transpose(2, 3, 0, 1)
        else:
            mine = np.asarray(mine).transpose(3, 2, 0, 1)
        assert relative_error(mine, conv.weight.grad) < 1e-3, name
        if norm is not None:
            found = stats[name]["norm"]
            assert relative_error(gradient[name]["norm"]["scale"], norm.weight.grad) < 1e-3, name
            assert relative_error(found["mean"], norm.running_mean) < 1e-5, name
            assert relative_error(found["var"], norm.running_var) < 1e-5, name


class _TorchBody:
    """The convolutions between condition and sigmoid, in training mode without dropout."""

    def __init__(self, torch, variables, config):
        self._torch = torch
        self.layers = {}
        for name, layer in variables["params"].items():
            if name == "condition":
                continue
            kernel = np.asarray(layer["conv"]["kernel"])
            _, _, inputs, outputs = kernel.shape
            if name.startswith("up"):
                conv = torch.nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2)
                kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
            else:
                conv = torch.nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)
                kernel = kernel.transpose(3, 2, 0, 1)
            norm = torch.nn.BatchNorm2d(outputs) if "norm" in layer else None
            with torch.no_grad():
                conv.weight.copy_(self._tensor(kernel))
                conv.bias.copy_(self._tensor(layer["conv"]["bias"]))
                if norm is not None:
                    statistics = variables["batch_stats"][name]["norm"]
                    norm.running_mean.copy_(self._tensor(statistics["mean"]))
                    norm.running_var.copy_(self._tensor(statistics["var"]))
            self.layers[name] = (conv, norm)

    def _tensor(self, array):
        return self._torch.from_numpy(np.array(array))

    def __call__(self, x):
        outputs = [x]
        count = len(self.layers) // 2
        for number in range(1, count + 1):
            conv, norm = self.layers[f"down_{number}"]
            outputs.append(norm(conv(outputs[-1])))
        x = outputs.pop()
        for number in range(1, count + 1):
            conv, norm = self.layers[f"up_{number}"]
            skip = outputs.pop()
            x = conv(x, output_size=skip.shape)
            if norm is not None:
                x = self._torch.cat([self._torch.relu(norm(x)), skip], 1)
        return x


def test_published_sizes_are_the_defaults():
    config = ModelConfig().unet
    assert (config.fft_size, config.hop_samples) == (1024, 256)
    frames = unet_condition.magnitude_spectrogram(jnp.zeros((1, 64_000)), config).shape
    assert frames == (1, 513, 254)
