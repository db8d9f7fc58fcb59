"""The stages as the bench runs them, beside the naive forms that they replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from umss_jax import model
from umss_jax.config import VOICES, ConvConfig, ModelConfig
from umss_jax.dsp import masks
from umss_jax.dsp.framing import hann_window, overlap_add_hann, to_frames
from umss_jax.networks.assignment import VoasCnn
from umss_jax.networks.decoder import Decoder
from umss_jax.networks.encoder import Encoder, encoder_input
from umss_jax.networks.frequency_conv import direct_conv
from umss_jax.networks.kernel_gradient import kernel_gradient
from umss_jax.networks.salience import LateDeep
from umss_jax.synth import all_pole, harmonic, noise
from umss_jax.train import losses


class Stage(NamedTuple):
    """A function of arrays, and example arguments."""

    forward: Callable[..., Any]
    arguments: tuple[Any, ...]
    differentiated: tuple[int, ...]
    """Arguments that a training step takes the gradient in; none for stages before all of them."""

    def functions(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """``("", forward)`` and, where it is differentiated, ``(" + gradient", …)``."""
        yield "", self.forward
        if self.differentiated:

            def total(*arguments: Any) -> jax.Array:
                outputs = jax.tree.leaves(self.forward(*arguments))
                # Squares, so that no gradient is constant and computed beforehand.
                return sum((jnp.sum(x * x) for x in outputs), start=jnp.zeros(()))

            yield " + gradient", jax.grad(total, argnums=self.differentiated)


def voices_shape(batch: int, samples: int, config: ModelConfig) -> tuple[int, int, int]:
    """Of F0 and gains of all voices: ``[batch, J, frames]``."""
    return batch, len(VOICES), samples // config.audio.hop_samples


def _normal(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape)


def random_f0_hz(shape: tuple[int, ...]) -> jax.Array:
    """80 to 640 Hz."""
    return 80.0 * 2.0 ** jax.random.uniform(jax.random.key(1), shape, maxval=3.0)


def cqt_frames(samples: int, config: ModelConfig) -> int:
    """Frames of the salience of so many samples of the mixture."""
    samples_22k = samples * config.hcqt.sample_rate_hz // config.audio.sample_rate_hz
    return samples_22k // config.hcqt.hop_samples


def _hcqt(batch: int, samples: int, config: ModelConfig) -> Stage:
    return Stage(lambda x: model.features(x, config), (_normal(batch, samples),), ())


def _salience(batch: int, samples: int, config: ModelConfig, conv: ConvConfig) -> Stage:
    frames = cqt_frames(samples, config)
    feature = _normal(batch, len(config.hcqt.harmonics), config.hcqt.bins, frames)
    variables = model.init_part("salience", jax.random.key(2), config)

    def forward(params: Any, magnitude: jax.Array, phase: jax.Array) -> Any:
        return LateDeep(config=conv).apply({**variables, "params": params}, magnitude, phase)

    return Stage(forward, (variables["params"], feature, feature), (0,))


def _assignment(batch: int, samples: int, config: ModelConfig, conv: ConvConfig) -> Stage:
    salience = jax.nn.sigmoid(_normal(batch, config.hcqt.bins, cqt_frames(samples, config)))
    variables = model.init_part("assignment", jax.random.key(2), config)

    def forward(params: Any, salience: jax.Array) -> Any:
        return VoasCnn(config=conv).apply({**variables, "params": params}, salience)

    return Stage(forward, (variables["params"], salience), (0,))


def _encoder(batch: int, samples: int, config: ModelConfig) -> Stage:
    params = model.init_part("encoder", jax.random.key(2), config)["params"]

    def forward(params: Any, mixture: jax.Array) -> Any:
        log_magnitudes = encoder_input(mixture, config.encoder)
        return Encoder(config.encoder).apply({"params": params}, log_magnitudes)

    return Stage(forward, (params, _normal(batch, samples)), (0,))


def _decoder(batch: int, samples: int, config: ModelConfig) -> Stage:
    params = model.init_part("decoder", jax.random.key(2), config)["params"]
    shape = voices_shape(batch, samples, config)
    latent = _normal(batch, shape[-1], config.encoder.latent)

    def forward(params: Any, latent: jax.Array, f0_hz: jax.Array) -> Any:
        return Decoder(config.decoder).apply({"params": params}, latent, f0_hz)

    return Stage(forward, (params, latent, random_f0_hz(shape)), (0, 1, 2))


def _harmonic(batch: int, samples: int, config: ModelConfig) -> Stage:
    def forward(raw: jax.Array, f0_hz: jax.Array) -> jax.Array:
        controls = harmonic.harmonic_controls(raw, f0_hz, config.synth)
        signal = harmonic.harmonic_signal(controls, config.synth)
        return harmonic.glottal_roll_off(signal, config.synth)

    shape = voices_shape(batch, samples, config)
    return Stage(forward, (_normal(*shape), random_f0_hz(shape)), (0, 1))


def _oscillator_bank(batch: int, samples: int, config: ModelConfig) -> Stage:
    """One sine after the other, as the reference sums them (all at once takes ten times more)."""
    hop = config.synth.hop_samples

    def forward(raw: jax.Array, f0_hz: jax.Array) -> jax.Array:
        controls = harmonic.harmonic_controls(raw, f0_hz, config.synth)
        cycles, sample_hz = harmonic.phase_cycles(f0_hz, config.synth)
        window = jnp.asarray(hann_window(2 * hop)).reshape(1, 1, 1, 2 * hop)

        @jax.checkpoint
        def add(total: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
            share = controls.amplitude / jnp.maximum(controls.harmonics, 1.0)
            share = jnp.where(k <= controls.harmonics, share, 0.0)
            held = jnp.concatenate([share, share[..., -1:]], axis=-1)
            envelope = held[..., :-1, None] * window[..., hop:]
            envelope = envelope + held[..., 1:, None] * window[..., :hop]
            sine = jnp.sin(2 * jnp.pi * k * cycles)
            audible = k * sample_hz < config.synth.sample_rate_hz / 2
            return total + jnp.where(audible, envelope.reshape(cycles.shape) * sine, 0.0), None

        numbers = jnp.arange(1.0, config.synth.harmonics + 1.0)
        return jax.lax.scan(add, jnp.zeros_like(cycles), numbers)[0]

    shape = voices_shape(batch, samples, config)
    return Stage(forward, (_normal(*shape), random_f0_hz(shape)), (0, 1))


def _noise(batch: int, samples: int, config: ModelConfig) -> Stage:
    shape = voices_shape(batch, samples, config)
    uniform = jax.random.uniform(
        jax.random.key(3), (*shape[:2], samples + config.synth.hop_samples), minval=-1.0
    )

    def forward(gain: jax.Array, magnitudes: jax.Array, uniform: jax.Array) -> jax.Array:
        controls = noise.noise_controls(gain, magnitudes, config.synth)
        return noise.noise_signal(controls, uniform, config.synth)

    bands = _normal(*shape[:2], config.decoder.noise_bands)
    return Stage(forward, (_normal(*shape), bands, uniform), (0, 1))


def _coefficients(batch: int, samples: int, config: ModelConfig) -> Stage:
    """Raw outputs to all-pole coefficients: the products that run in float64."""

    def forward(raw: jax.Array) -> jax.Array:
        return all_pole.all_pole_coefficients(all_pole.line_spectral_frequencies(raw))

    order = config.decoder.line_spectral_frequencies
    return Stage(forward, (_normal(*voices_shape(batch, samples, config), order + 1),), (0,))


def _all_pole_arguments(batch: int, samples: int, config: ModelConfig) -> tuple[Any, ...]:
    shape = voices_shape(batch, samples, config)
    order = config.decoder.line_spectral_frequencies
    # Poles well inside the unit circle: the arithmetic does not depend on them, finiteness does.
    coefficients = 0.5 / order * jax.random.uniform(jax.random.key(4), (*shape, order))
    return _normal(*shape[:2], samples), coefficients


def _all_pole(batch: int, samples: int, config: ModelConfig) -> Stage:
    hop = config.synth.hop_samples
    arguments = _all_pole_arguments(batch, samples, config)
    return Stage(lambda x, a: all_pole.all_pole_filter(x, a, hop), arguments, (0, 1))


def _all_pole_scan(batch: int, samples: int, config: ModelConfig) -> Stage:
    """The recursion as a plain scan, differentiated by JAX, which keeps every state."""
    hop = config.synth.hop_samples

    def forward(signal: jax.Array, coefficients: jax.Array) -> jax.Array:
        framed = to_frames(signal, 2 * hop, hop)
        lanes = coefficients.reshape(-1, coefficients.shape[-1]).T

        def step(past: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = x - jnp.sum(lanes * past, axis=0)
            return jnp.concatenate([y[None], past[:-1]], axis=0), y

        time_major = framed.reshape(-1, 2 * hop).T
        filtered = jax.lax.scan(step, jnp.zeros_like(lanes), time_major)[1]
        return overlap_add_hann(filtered.T.reshape(framed.shape))

    return Stage(forward, _all_pole_arguments(batch, samples, config), (0, 1))


def _losses(batch: int, samples: int, config: ModelConfig) -> Stage:
    target, estimate = _normal(2, batch, samples)
    return Stage(losses.spectral_loss, (target, estimate), (1,))


def _masks(batch: int, samples: int, config: ModelConfig) -> Stage:
    sources = _normal(batch, len(VOICES), samples)
    arguments = (jnp.sum(sources, axis=1), sources)
    return Stage(lambda m, s: masks.soft_mask_stems(m, s, config.mask), arguments, ())


def _kernel_gradient(taps: int, channels: int, by_products: bool) -> Callable[..., Stage]:
    """That of one layer alone: as products, which a CPU uses, or as the backend's convolution."""

    def backend(x: jax.Array, gradient: jax.Array) -> Any:
        kernel = jnp.zeros((taps, taps, channels, channels))
        return jax.vjp(lambda kernel: direct_conv(x, kernel), kernel)[1](gradient)

    def products(x: jax.Array, gradient: jax.Array) -> Any:
        return kernel_gradient(x, gradient, (taps, taps))

    def stage(batch: int, samples: int, config: ModelConfig) -> Stage:
        image = _normal(batch, config.hcqt.bins, cqt_frames(samples, config), channels)
        return Stage(products if by_products else backend, (image, 1.0 - image), ())

    return stage


_KERNELS = ((3, 64), (5, 32), (3, 16))
"""Taps along both axes, and channels, of most of the salience and assignment networks' layers."""


def direct(config: ModelConfig) -> ModelConfig:
    """The configuration with every convolution done directly."""
    return replace(config, conv=replace(config.conv, method="direct"))


STAGES: dict[str, Callable[[int, int, ModelConfig], Stage]] = {
    "hcqt": _hcqt,
    "salience": lambda b, n, c: _salience(b, n, c, c.conv),
    "salience (direct convolution)": lambda b, n, c: _salience(b, n, c, direct(c).conv),
    "assignment": lambda b, n, c: _assignment(b, n, c, c.conv),
    "assignment (direct convolution)": lambda b, n, c: _assignment(b, n, c, direct(c).conv),
    "encoder": _encoder,
    "decoder": _decoder,
    "harmonic": _harmonic,
    "harmonic (oscillator bank)": _oscillator_bank,
    "noise": _noise,
    "coefficients": _coefficients,
    "all_pole": _all_pole,
    "all_pole (plain scan)": _all_pole_scan,
    "losses": _losses,
    "masks": _masks,
    **{
        f"kernel_gradient_{taps}x{taps}_{channels}{naive}": _kernel_gradient(
            taps, channels, by_products=not naive
        )
        for taps, channels in _KERNELS
        for naive in ("", " (backend)")
    },
}
"""By name, in the order of the data flow; a name in brackets is the naive form of the one above."""
