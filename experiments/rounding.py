"""What TF32 and bfloat16 do to each stage: products of operands rounded to their bits, on a CPU.

Source:   none; relative errors, and frames whose F0 moves, against float32.
Command:  python -m experiments.rounding CHECKPOINT RECORDING
Duration: a minute.
Score:    benchmarks/README.md beside this file.

CHECKPOINT is a file that `umss-jax weights import` reads and that holds all four networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
import typer

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.dsp import hcqt, resample
from umss_jax.networks import dense, frequency_conv, frequency_lines, gru
from umss_jax.train.losses import spectral_loss
from weights_convert import import_file

_MANTISSA_BITS = {"TF32": 10, "bfloat16": 7}
_SYNTHESIS = ("encoder", "decoder")


def main(
    checkpoint: Annotated[Path, typer.Argument()],
    recording: Annotated[Path, typer.Argument(help="Four seconds at 16 kHz.")],
) -> None:
    """Print a table of the stages."""
    variables = import_file(checkpoint).variables
    mixture = jnp.asarray(soundfile.read(recording, dtype="float32")[0])[None]
    exact = _chain(variables, mixture)
    columns = (
        "rounded, voicing flips, over 10 cents, over 50, latent, controls, mix, loss, gradient"
    )
    print(f"| {columns.replace(', ', ' | ')} |")
    print(f"|{' --- |' * len(columns.split(', '))}")
    for bits in _MANTISSA_BITS:
        for name, what in _PRODUCTS.items():
            with what(_MANTISSA_BITS[bits]):
                print(f"| {name}, {bits} | {_row(_chain(variables, mixture), exact)} |", flush=True)


def _chain(variables: Any, mixture: jax.Array) -> dict[str, Any]:
    """F0 by the networks, then synthesis and its gradient from F0 that no rounding has moved."""
    config = ModelConfig()

    def synthesis(params: Any, f0_hz: jax.Array) -> Any:
        uniform = model.sample_uniform(jax.random.key(0), mixture, config)
        trained = {**variables, "params": {**variables["params"], **params}}
        output = model.forward(trained, mixture, uniform, config, f0_hz_synth=f0_hz)
        return spectral_loss(mixture, output.mixture_hat), output

    # Functions of its own each time: what is rounded is decided as they are traced.
    analysis = jax.jit(lambda v, m: model.analyse(v, m, config))(variables, mixture)
    params = {part: variables["params"][part] for part in _SYNTHESIS}
    steady = jnp.full((1, 4, mixture.shape[-1] // 256), 220.0) * jnp.arange(1, 5).reshape(1, 4, 1)
    value = jax.jit(jax.value_and_grad(lambda *a: synthesis(*a), has_aux=True))
    (loss, output), gradient = value(params, steady)
    controls = jnp.concatenate([x.ravel() for x in jax.tree.leaves(output.raw)])
    slopes = jnp.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])
    mix = output.mixture_hat
    named = {"latent": output.latent, "controls": controls, "mix": mix, "loss": loss}
    return {"f0": analysis.f0_hz_cqt, **named, "gradient": slopes}


def _row(got: dict[str, Any], exact: dict[str, Any]) -> str:
    f0, wanted = np.asarray(got.pop("f0")), np.asarray(exact["f0"])
    both = (f0 > 0) & (wanted > 0)
    cents = np.abs(1200 * np.log2(f0[both] / wanted[both]))
    frames = [np.sum((f0 > 0) != (wanted > 0)), np.sum(cents > 10), np.sum(cents > 50)]
    errors = [np.linalg.norm(got[k] - exact[k]) / np.linalg.norm(exact[k]) for k in got]
    return " | ".join([*(str(int(count)) for count in frames), *(f"{e:.1e}" for e in errors)])


_Places = tuple[tuple[Any, str], ...]
"""Modules, and the names of their products."""

_CONVOLUTIONS: _Places = (
    (frequency_conv, "_einsum"),
    (frequency_lines, "_einsum"),
    (frequency_conv, "_plain_conv"),
)
_HCQT: _Places = ((resample, "block_filter"), (hcqt, "block_filter"), (hcqt, "_correlated"))


@contextmanager
def _products(places: _Places, bits: int) -> Iterator[None]:
    def rounding(product: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        def call(*given: Any, **options: Any) -> jax.Array:
            arrays = (x if isinstance(x, str | list) else _rounded(x, bits) for x in given)
            return product(*arrays, **options)

        return call

    with ExitStack() as stack:
        for module, name in places:
            stack.enter_context(patch.object(module, name, rounding(getattr(module, name))))
        yield


@contextmanager
def _dense(bits: int) -> Iterator[None]:
    exact = dense.product_in

    def product(compute: Any, subscripts: str, x: Any, kernel: Any, precision: Any = None) -> Any:
        if precision in (None, jax.lax.Precision.HIGH):
            x, kernel = _rounded(x, bits), _rounded(kernel, bits)
        return exact(compute, subscripts, x, kernel)

    with patch.object(dense, "product_in", product), patch.object(gru, "product_in", product):
        yield


_PRODUCTS: dict[str, Callable[[int], AbstractContextManager[None]]] = {
    "HCQT": partial(_products, _HCQT),
    "convolutions": partial(_products, _CONVOLUTIONS),
    "dense layers": _dense,
}


def _rounded(x: Any, bits: int) -> jax.Array:
    return jax.lax.reduce_precision(jnp.asarray(x), 8, bits)


if __name__ == "__main__":
    typer.run(main)
