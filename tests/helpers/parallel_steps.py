"""Five steps of a small model on however many devices there are: `test_parallel` runs this.

Usage: parallel_steps.py OUT.npz METHOD:DEVICES ...
"""

import os
import sys

import jax
import numpy as np
import optax

from umss_jax import model
from umss_jax.config import DecoderConfig, EncoderConfig, ModelConfig, SynthConfig
from umss_jax.train.config import LossConfig, Parallel
from umss_jax.train.objectives import Batch
from umss_jax.train.sharding import ParallelStep, start_hosts
from umss_jax.train.step import init_state

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_CACHE"])

SMALL = ModelConfig(
    encoder=EncoderConfig(hidden=8, latent=4),
    decoder=DecoderConfig(hidden=8, noise_bands=6, line_spectral_frequencies=6),
    synth=SynthConfig(harmonics=8),
)
TRAINABLE = ("encoder", "decoder")


def batch_of_this_host():
    rng = np.random.default_rng(0)
    f0_hz = np.float32([440, 330, 220, 110])[None, :, None] * rng.uniform(0.8, 1.2, (4, 4, 1))
    whole = Batch(
        mixture=rng.uniform(-1, 1, (4, 4096)).astype(np.float32),
        f0_hz_synth=np.broadcast_to(f0_hz, (4, 4, 16)).astype(np.float32),
    )
    hosts, host = jax.process_count(), jax.process_index()
    return jax.tree.map(lambda x: x[host * 4 // hosts : (host + 1) * 4 // hosts], whole)


def five_steps(method, devices):
    """Total loss of each step, and how far each parameter moved."""
    draw = jax.jit(lambda key: model.init_variables(key, SMALL, TRAINABLE))
    variables = draw(jax.random.key(0))
    # Without momentum or scale: the update is the gradient, so that a wrong factor shows.
    optimiser = optax.sgd(1e-3)
    loss = LossConfig(fft_sizes=(256, 64), l1_weight=0, l2_weight=0, l3_weight=0)
    step = ParallelStep(optimiser, TRAINABLE, SMALL, loss, Parallel(method), devices)
    start = init_state(variables, optimiser)
    state, batch, totals = step.place(start), batch_of_this_host(), []
    for _ in range(5):
        state, metrics = step(state, batch, jax.random.key(1))
        totals.append(float(metrics["total"]))
    leaves = [jax.tree.leaves(jax.device_get(one.params)) for one in (state, start)]
    moved = [(after - before).ravel() for after, before in zip(*leaves, strict=True)]
    return np.asarray(totals), np.concatenate(moved)


def main(out, *specifications):
    start_hosts()
    results = {}
    for specification in specifications:
        method, count = specification.split(":")
        devices = None if count == "all" else jax.devices()[: int(count)]
        totals, moved = five_steps(method, devices)
        results |= {f"{specification} totals": totals, f"{specification} moved": moved}
    np.savez(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
