"""Products in bfloat16: where they are made, what stays in float32, how far the results move."""

from dataclasses import replace

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from comparison import relative_error

from umss_jax import model
from umss_jax.config import Compute, ConvConfig, DecoderConfig, EncoderConfig, ModelConfig
from umss_jax.networks.conv import ConvBlock
from umss_jax.networks.frequency_conv import same_conv
from umss_jax.train.objectives import Batch
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.step import init_state, make_train_step

BFLOAT16 = Compute.BFLOAT16
SMALL = ModelConfig(
    encoder=EncoderConfig(hidden=16, latent=8), decoder=DecoderConfig(hidden=16, noise_bands=6)
)
ROUNDED = replace(
    SMALL,
    conv=ConvConfig(compute=BFLOAT16),
    encoder=replace(SMALL.encoder, compute=BFLOAT16),
    decoder=replace(SMALL.decoder, compute=BFLOAT16),
)


def products(function, *arguments):
    """Type of the first operand of every product and convolution, inner programs included."""
    found = []

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                found.append(equation.invars[0].aval.dtype)
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                visit(inner)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def test_convolutions_in_bfloat16():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 24, 12, 3)), jnp.float32)
    exact, coarse = (
        ConvBlock((5, 3, 4), ConvConfig(compute=compute)) for compute in (Compute.FLOAT32, BFLOAT16)
    )
    variables = exact.init(jax.random.key(0), x)
    assert products(coarse.apply, variables, x) == [jnp.dtype("bfloat16")]
    assert products(exact.apply, variables, x) == [jnp.dtype("float32")]

    def loss(params, network):
        out = network.apply({**variables, "params": params}, x)
        return jnp.sum(out * jnp.cos(jnp.arange(out.size, dtype=jnp.float32).reshape(out.shape)))

    ours = jax.grad(loss)(variables["params"], coarse)
    theirs = jax.grad(loss)(variables["params"], exact)
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert got.dtype == jnp.float32
        assert relative_error(got, expected) < 0.05
    out = coarse.apply(variables, x)
    assert out.dtype == jnp.float32
    # 8 bits of each operand and of the result.
    assert 0 < relative_error(out, exact.apply(variables, x)) < 3 * 2.0**-8


def test_long_kernels_are_not_transformed_in_bfloat16():
    x, kernel = jnp.zeros((1, 360, 4, 32)), jnp.zeros((70, 3, 32, 32))
    assert len(products(same_conv, x, kernel)) > 1  # by transforms
    names = products(same_conv, x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert names == [jnp.dtype("bfloat16")]


def test_output_layers_and_recurrences_stay_in_float32():
    frames = 8
    variables = model.init_variables(jax.random.key(0), SMALL, ("encoder", "decoder"))
    mixture = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 256 * frames)), jnp.float32)
    f0_hz = jnp.full((1, 4, frames), 220.0)

    def controls(config):
        def raw(mixture, f0_hz):
            uniform = model.sample_uniform(jax.random.key(1), mixture, config)
            analysis = model.given_f0(f0_hz, config)
            return model.resynthesise(variables, mixture, analysis, uniform, config)

        return raw

    types = products(controls(ROUNDED), mixture, f0_hz)
    # Inputs of four GRUs of the encoder and decoder (the decoder's in two parts) and its dense
    # layer, and three stacks of three.
    assert sum(one == jnp.bfloat16 for one in types) == 3 + 1 + 2 + 9
    assert jnp.dtype("float32") in types
    exact, coarse = (jax.jit(controls(config))(mixture, f0_hz) for config in (SMALL, ROUNDED))
    for one in jax.tree.leaves(coarse):
        assert one.dtype == jnp.float32
    assert 0 < relative_error(coarse.sources, exact.sources) < 0.1


def test_training_in_bfloat16_keeps_float32_parameters():
    trainable = ("encoder", "decoder")
    variables = model.init_variables(jax.random.key(0), SMALL, trainable)
    optimiser = make_optimiser(trainable)
    step = make_train_step(optimiser, trainable, ROUNDED)
    rng = np.random.default_rng(0)
    batch = Batch(
        mixture=jnp.asarray(rng.uniform(-1, 1, (2, 8192)), jnp.float32),
        f0_hz_synth=jnp.full((2, 4, 32), 220.0),
    )
    state, losses = init_state(variables, optimiser), []
    for _ in range(4):
        state, metrics = step(state, batch, jax.random.key(0))
        losses.append(float(metrics["rec"]))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))
    assert losses[-1] < losses[0]
