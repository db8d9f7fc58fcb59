"""Five steps of a small model on however many devices there are: `test_parallel` runs this.

Usage: parallel_steps.py OUT.npz METHOD:DEVICES[:EXAMPLES[:VALIDATION]] ...
"""

import os
import sys

import jax
import jax.monitoring
import numpy as np
import optax

from umss_jax import model
from umss_jax.config import DecoderConfig, EncoderConfig, ModelConfig, SynthConfig
from umss_jax.train.config import LossConfig, Parallel
from umss_jax.train.objectives import Batch
from umss_jax.train.sharding import ParallelStep, start_hosts
from umss_jax.train.step import init_state
from umss_jax.train.validating import HeldOut

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_CACHE"])

SMALL = ModelConfig(
    encoder=EncoderConfig(hidden=8, latent=4),
    decoder=DecoderConfig(hidden=8, noise_bands=6, line_spectral_frequencies=6),
    synth=SynthConfig(harmonics=8),
)
TRAINABLE = ("encoder", "decoder")


def whole_batch(examples):
    """The first of five examples; the last one is not trained on."""
    draws = []
    for seed, count in ((0, 4), (1, 1)):
        rng = np.random.default_rng(seed)
        f0_hz = np.float32([440, 330, 220, 110])[None, :, None]
        f0_hz = f0_hz * rng.uniform(0.8, 1.2, (count, 4, 1))
        mixture = rng.uniform(-1, 1, (count, 4096)).astype(np.float32)
        draws.append((mixture, np.broadcast_to(f0_hz, (count, 4, 16)).astype(np.float32)))
    mixture, f0_hz_synth = (np.concatenate(parts) for parts in zip(*draws, strict=True))
    return Batch(mixture=mixture[:examples], f0_hz_synth=f0_hz_synth[:examples])


def validation_loss(step, state, key, batch):
    """Mean loss of five examples in batches of so many, on the devices of a step."""
    whole, rows = whole_batch(5), []
    for first in range(0, 5, batch):
        chosen = range(first, min(first + batch, 5))
        own = [chosen[row] for row in step.devices.rows(len(chosen), batch)]
        rows.append(jax.tree.map(lambda x, own=own: x[own], whole))
    held_out = HeldOut(step.devices, step.objective, 5, batch, iter(rows))
    return held_out.means(state, key)["total"]


def five_steps(method, devices, examples, validation):
    """Total loss of each step, how far each parameter moved, and what steps but the first compiled.

    In one process those transfer nothing unasked.
    """
    draw = jax.jit(lambda key: model.init_variables(key, SMALL, TRAINABLE))
    variables = draw(jax.random.key(0))
    # Without momentum or scale: the update is the gradient, so that a wrong factor shows.
    optimiser = optax.sgd(1e-3)
    loss = LossConfig(fft_sizes=(256, 64), l1_weight=0, l2_weight=0, l3_weight=0)
    step = ParallelStep(optimiser, TRAINABLE, SMALL, loss, Parallel(method), devices)
    start = init_state(variables, optimiser)
    state, key = step.devices.place((start, jax.random.key(1)))
    whole, rows, totals = whole_batch(examples), step.devices.rows(examples), []
    batch = step.devices.put(jax.tree.map(lambda x: x[rows.start : rows.stop], whole), examples)
    compiled = []

    def hear(event, duration_secs, **about):
        if totals and event == "/jax/core/compile/backend_compile_duration":
            compiled.append(about.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(hear)
    for number in range(5):
        is_guarded = number > 0 and jax.process_count() == 1
        with jax.transfer_guard("disallow" if is_guarded else "allow"):
            state, metrics = step(state, batch, key)
            shown = jax.device_get(metrics.array)
        totals.append(shown[metrics.names.index("total")])
    compiled_later = len(compiled)
    leaves = [jax.tree.leaves(jax.device_get(one.params)) for one in (state, start)]
    moved = [(after - before).ravel() for after, before in zip(*leaves, strict=True)]
    valid = validation_loss(step, state, key, validation) if validation else 0
    return np.asarray(totals), np.concatenate(moved), compiled_later, valid


def main(out, *specifications):
    start_hosts()
    results = {}
    for specification in specifications:
        method, count, *examples = specification.split(":")
        devices = None if count == "all" else jax.devices()[: int(count)]
        asked = [int(number) for number in examples]
        totals, moved, compiled, valid = five_steps(method, devices, *asked, *[4, 0][len(asked) :])
        results |= {f"{specification} totals": totals, f"{specification} moved": moved}
        results |= {f"{specification} compiled later": compiled, f"{specification} valid": valid}
    np.savez(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
