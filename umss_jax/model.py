"""The whole chain: mixture → HCQT → salience → assignment → F0 → encoder/decoder → voices.

Three entry points of one data flow: :func:`features` (no parameters), :func:`analyse` (mixture or
salience → F0) and :func:`resynthesise` (mixture and F0 → voices); :func:`forward` joins them.
Everything is pure: variables in, :class:`ModelOutput` out. What follows the F0 is one of two
:class:`VoiceModel`: source-filter synthesis, or the U-Net of the supervised baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from umss_jax.config import MaskConfig, ModelConfig
from umss_jax.device import own_settings
from umss_jax.dsp.envelopes import fit_envelopes
from umss_jax.dsp.hcqt import HcqtFeatures, hcqt
from umss_jax.dsp.masks import apply_masks_to_channels, ratio_masks
from umss_jax.dsp.resample import resample
from umss_jax.dsp.rest import sounding, voice_gains, with_faint_rests
from umss_jax.dsp.stft import centred_stft
from umss_jax.networks.decoder import Decoder
from umss_jax.networks.encoder import Encoder, encoder_input
from umss_jax.networks.parts import (  # noqa: F401 - also for those who take them from here
    ALL_PARTS,
    F0_PARTS,
    PARTS,
    REFINER,
    SOURCE_FILTER,
    UNET,
    VoiceModel,
    voice_model,
)
from umss_jax.networks.refiner import Refiner
from umss_jax.networks.registry import (
    assignment_network,
    init_part,
    salience_inputs,
    salience_network,
    unet_network,
)
from umss_jax.networks.unet import UnetOutput, estimate_voices, separate_channels
from umss_jax.pitch.extractor import extract_f0, f0_to_synth_frames, f0_within_notes
from umss_jax.pitch.harmonics import align_to_harmonics
from umss_jax.synth.noise import sample_noise
from umss_jax.synth.source_filter import Controls, RawControls, physical_controls, synthesise
from umss_jax.trees import part_of

Variables = Mapping[str, Any]
"""``{'params': {part: …}, 'batch_stats': {part: …}}``, parts as in :data:`PARTS`."""


class ModelOutput(NamedTuple):
    """Every intermediate by name; None where the computation began later (F0 or salience given)."""

    mixture: jax.Array
    """[B, samples], the input."""
    features: HcqtFeatures | None
    """Magnitude in dB and phase difference, each [B, 5, 360, 344]."""
    salience: jax.Array | None
    """[B, 360, 344] in (0, 1)."""
    assigned: jax.Array | None
    """[B, J, 360, 344] in (0, 1)."""
    binary: jax.Array | None
    """[B, J, 360, 344], the peaks."""
    f0_hz_cqt: jax.Array | None
    """[B, J, 344], Hz, 0 = unvoiced."""
    f0_hz_synth: jax.Array
    """[B, J, 250], Hz, floor = unvoiced."""
    latent: jax.Array
    """[B, 250, 128]."""
    raw: RawControls
    """Decoder outputs, [B, J, …]."""
    controls: Controls
    """Physical controls, [B, J, …]."""
    harmonic: jax.Array
    """[B, J, samples], with roll-off, before the vocal tract."""
    noise: jax.Array
    """[B, J, samples], before the vocal tract."""
    sources: jax.Array
    """[B, J, samples], the synthesised voices."""
    mixture_hat: jax.Array
    """[B, samples], their sum."""


class UnetSeparation(NamedTuple):
    """What the supervised baseline computes; the first fields as in :class:`ModelOutput`."""

    mixture: jax.Array
    features: HcqtFeatures | None
    salience: jax.Array | None
    assigned: jax.Array | None
    binary: jax.Array | None
    f0_hz_cqt: jax.Array | None
    f0_hz_synth: jax.Array
    unet: UnetOutput
    """[B, J, 513, 254]."""
    stems: jax.Array
    """[B, J, samples], which sum to the mixture."""


class Analysis(NamedTuple):
    """What is known of the pitches; fields as in :class:`ModelOutput`."""

    features: HcqtFeatures | None
    salience: jax.Array | None
    assigned: jax.Array | None
    binary: jax.Array | None
    f0_hz_cqt: jax.Array | None
    f0_hz_synth: jax.Array


def features(mixture: jax.Array, config: ModelConfig) -> HcqtFeatures:
    """HCQT of the mixture [B, samples], resampled from 16 000 to 22 050 Hz."""
    at_22k = resample(mixture, config.audio.sample_rate_hz, config.hcqt.sample_rate_hz)
    return hcqt(at_22k, config.hcqt)


def estimate_salience(
    variables: Variables, hcqt_features: HcqtFeatures, config: ModelConfig
) -> jax.Array:
    """Salience [B, 360, 344] of the features by the network that ``config`` names."""
    inputs = salience_inputs(hcqt_features.magnitude_db, hcqt_features.phase_difference, config)
    salience: Any = salience_network(config).apply(part_of(variables, "salience"), *inputs)
    return salience


def assign(variables: Variables, salience: jax.Array, config: ModelConfig) -> jax.Array:
    """Salience of every voice [B, J, 360, 344] by the assignment network that ``config`` names."""
    assigned: Any = assignment_network(config).apply(part_of(variables, "assignment"), salience)
    return assigned


def analyse(
    variables: Variables,
    mixture: jax.Array,
    config: ModelConfig,
    *,
    salience: jax.Array | None = None,
) -> Analysis:
    """F0 of every voice from the mixture [B, samples], or from a salience [B, 360, 344].

    Needs the parts ``salience`` (unless given) and ``assignment``.
    """
    hcqt_features = None
    if salience is None:
        hcqt_features = features(mixture, config)
        salience = estimate_salience(variables, hcqt_features, config)
    assigned = assign(variables, salience, config)
    tracks = extract_f0(assigned, config.f0, config.hcqt, salience)
    synth_frames = mixture.shape[-1] // config.audio.hop_samples
    to_synth = f0_to_synth_frames if config.f0.across_notes else f0_within_notes
    return Analysis(
        features=hcqt_features,
        salience=salience,
        assigned=assigned,
        binary=tracks.binary,
        f0_hz_cqt=tracks.f0_hz_cqt,
        f0_hz_synth=to_synth(tracks.f0_hz_cqt, synth_frames, config.f0.floor_hz),
    )


def given_f0(f0_hz_synth: jax.Array, config: ModelConfig) -> Analysis:
    """The analysis that consists of known F0 alone (strategy UMSS; 0 = unvoiced is floored)."""
    floored = jnp.maximum(f0_hz_synth, config.f0.floor_hz)
    return Analysis(None, None, None, None, None, floored)


def resynthesise(
    variables: Variables,
    mixture: jax.Array,
    analysis: Analysis,
    uniform: jax.Array,
    config: ModelConfig,
) -> ModelOutput:
    """Voices from the mixture [B, samples], a multiple of 256, and F0 [B, J, samples / 256].

    Needs the parts ``encoder`` and ``decoder``, and noise [B, J, samples + 256] in [−1, 1).
    """
    seen = encoder_input(mixture, config.encoder)
    latent: Any = Encoder(config.encoder).apply(part_of(variables, "encoder"), seen)
    decoder = Decoder(config.decoder)
    raw: Any = decoder.apply(part_of(variables, "decoder"), latent, analysis.f0_hz_synth)
    controls = physical_controls(raw, analysis.f0_hz_synth, config.synth)
    signals = synthesise(controls, uniform, config.synth)
    return ModelOutput(
        mixture=mixture,
        **analysis._asdict(),
        latent=latent,
        raw=raw,
        controls=controls,
        harmonic=signals.harmonic,
        noise=signals.noise,
        sources=signals.voice,
        mixture_hat=jnp.sum(signals.voice, axis=1),
    )


def forward(
    variables: Variables,
    mixture: jax.Array,
    uniform: jax.Array,
    config: ModelConfig,
    *,
    salience: jax.Array | None = None,
    f0_hz_synth: jax.Array | None = None,
) -> ModelOutput:
    """The whole model; begins at ``f0_hz_synth`` or ``salience`` where one is given.

    Args:
        variables: all parts that are passed through.
        mixture: [B, samples] at 16 kHz, peak 1.
        uniform: [B, J, samples + 256] from :func:`sample_uniform`, or recorded.
        config: of the variables.
        salience: [B, 360, 344].
        f0_hz_synth: [B, J, 250], Hz, 0 = unvoiced.
    """
    if f0_hz_synth is not None:
        analysis = given_f0(f0_hz_synth, config)
    else:
        analysis = analyse(variables, mixture, config, salience=salience)
    return resynthesise(variables, mixture, analysis, uniform, config)


def sample_uniform(key: jax.Array, mixture: jax.Array, config: ModelConfig) -> jax.Array:
    """Noise for :func:`forward`, [B, J, samples + hop] in [−1, 1)."""
    batch, samples = mixture.shape
    return sample_noise(key, (batch, len(config.voices)), samples, config.synth.hop_samples)


class Separated(NamedTuple):
    """Stems, and everything that was computed on the way to them."""

    stems: jax.Array
    """[B, J, C, samples], of every channel."""
    output: ModelOutput | UnetSeparation


def separate(
    variables: Variables,
    mixture: jax.Array,
    channels: jax.Array,
    analysis: Analysis,
    seeds: jax.Array,
    config: ModelConfig,
) -> Separated:
    """Stems of every channel of a mixture whose F0 is known, by soft masks.

    The masks come from the voices that the voice model of the weights synthesises, or from the
    magnitudes that it estimates. With ``config.mask.rest`` stems do not sum to the mixture: what is
    steady and sung by nobody is in none.

    Args:
        variables: needs the parts of the voice model.
        mixture: [B, samples], a multiple of 256, peak 1.
        channels: [B, C, samples], whose downmix that is.
        analysis: with ``f0_hz_synth`` [B, J, samples / 256].
        seeds: [B], uint32, of the noise.
        config: of the weights.
    """
    if voice_model(variables["params"]) is UNET:
        network, f0_hz_synth = unet_network(config), jax.lax.stop_gradient(analysis.f0_hz_synth)
        unet = estimate_voices(part_of(variables, "unet"), mixture, f0_hz_synth, network)
        own = separate_channels(mixture[:, None], unet.magnitude, config.unet)[:, :, 0]
        separation = UnetSeparation(mixture, **analysis._asdict(), unet=unet, stems=own)
        return Separated(separate_channels(channels, unet.magnitude, config.unet), separation)

    if config.f0.to_harmonics:
        f0_hz_synth = align_to_harmonics(mixture, analysis.f0_hz_synth, config.audio)
        analysis = analysis._replace(f0_hz_synth=f0_hz_synth)

    def sample(seed: jax.Array) -> jax.Array:
        return sample_uniform(jax.random.key(seed), jnp.zeros((1, mixture.shape[-1])), config)[0]

    output = resynthesise(variables, mixture, analysis, jax.vmap(sample)(seeds), config)
    if config.mask.refine and REFINER in variables["params"]:
        masks = refined_masks(variables, mixture, output.sources, config)[:, None, :-1]
        grid = MaskConfig(config.refiner.fft_size, config.refiner.hop_samples)
        return Separated(apply_masks_to_channels(channels, masks, grid), output)
    masks = _masks(mixture, channels, output.sources, analysis.f0_hz_synth, config)
    return Separated(apply_masks_to_channels(channels, masks, config.mask), output)


def _masks(
    mixture: jax.Array,
    channels: jax.Array,
    sources: jax.Array,
    f0_hz_synth: jax.Array,
    config: ModelConfig,
) -> jax.Array:
    """Masks [B, C, J, F, T] of synthesised voices [B, J, samples], as ``config.mask`` says.

    C is 1 where one mask serves all channels. Voices that are fitted are so to each channel, where
    they differ in level.
    """
    mask, rate_hz = config.mask, config.audio.sample_rate_hz
    magnitudes = jnp.abs(centred_stft(sources, mask.fft_size, mask.hop_samples))
    synthesised = magnitudes
    if mask.rest:
        may_sound = sounding(f0_hz_synth, config.audio.hop_s)
        magnitudes = synthesised * may_sound[:, :, None]

    def fitted(channel: jax.Array) -> jax.Array:
        scaled = channel / jnp.maximum(jnp.max(jnp.abs(channel), -1, keepdims=True), 1e-20)
        heard = jnp.abs(centred_stft(scaled, mask.fft_size, mask.hop_samples))
        return ratio_masks(fit_envelopes(magnitudes, heard, rate_hz, mask), mask.power)

    if mask.fit:  # one channel after another, for the sake of memory
        masks = jnp.moveaxis(jax.lax.map(fitted, jnp.moveaxis(channels, 1, 0)), 0, 1)
    else:
        masks = ratio_masks(magnitudes, mask.power)[:, None]
    if mask.rest:
        masks = with_faint_rests(masks, ratio_masks(synthesised, mask.power), may_sound)
        masks *= voice_gains(mixture, f0_hz_synth, rate_hz, mask)[:, None, None]
    return masks


def refined_masks(
    variables: Variables, mixture: jax.Array, sources: jax.Array, config: ModelConfig
) -> jax.Array:
    """Masks [B, J + 1, F, T] of voices and rest, from synthesised voices [B, J, samples].

    Needs the part ``refiner``. No gradient flows into the voices.
    """
    fft_size, hop = config.refiner.fft_size, config.refiner.hop_samples
    heard = jnp.abs(centred_stft(mixture, fft_size, hop))
    guessed = jnp.abs(centred_stft(jax.lax.stop_gradient(sources), fft_size, hop))
    refiner = Refiner(config.refiner, config.conv)
    masks: Any = refiner.apply(part_of(variables, REFINER), heard, guessed)
    return masks


@own_settings
def init_variables(
    key: jax.Array, config: ModelConfig, parts: tuple[str, ...] = PARTS
) -> dict[str, Any]:
    """Fresh variables of several parts, joined.

    By one program: drawn array by array, each is compiled by itself, ten seconds for the CNNs.
    """
    return _drawn(key, config, parts)


@partial(jax.jit, static_argnames=("config", "parts"))
def _drawn(key: jax.Array, config: ModelConfig, parts: tuple[str, ...]) -> dict[str, Any]:
    joined: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for part in parts:
        fresh = init_part(part, jax.random.fold_in(key, ALL_PARTS.index(part)), config)
        for collection, tree in fresh.items():
            joined[collection][part] = tree
    return joined
