"""The one home of every default: frozen dataclasses, read by all stages.

Two frame rates exist and must not be mixed: 344 frames of 22 050/256 Hz per 4-second example for
the HCQT, salience and assignment, and 250 frames of 16 000/256 Hz for encoder, decoder and
synthesiser. Names carry the number (``f0_hz_cqt``, ``f0_hz_synth``).

Numbers are those of the paper (Richard, Chouteau, Torres, ICASSP 2024) and of its published code.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from umss_jax.errors import UsageError, brief
from umss_jax.range_checks import check_voices, refuse_contradictions

VOICES: tuple[str, ...] = ("soprano", "alto", "tenor", "bass")
"""The usual voices, in the order of every voice axis J."""


@dataclass(frozen=True)
class VoicesConfig:
    """The voices of an ensemble, in the order of every voice axis J: their number is J.

    Raises:
        UsageError: there are fewer than two or more than eight, a name cannot be that of a file and
            a track, a range is empty, or the voices do not go from the highest to the lowest.
    """

    names: tuple[str, ...] = VOICES
    """The highest first."""
    lowest_notes: tuple[int, ...] = (60, 53, 48, 40)
    """Of each voice, MIDI."""
    highest_notes: tuple[int, ...] = (81, 74, 69, 64)

    def __post_init__(self) -> None:
        check_voices(self.names, self.lowest_notes, self.highest_notes)

    def __len__(self) -> int:
        """J."""
        return len(self.names)

    @property
    def is_usual(self) -> bool:
        """Whether they are soprano, alto, tenor and bass, whatever they are called."""
        return self.are_those_of(VoicesConfig())

    def are_those_of(self, other: VoicesConfig) -> bool:
        """Whether they are the same by name, or by range where they are called otherwise."""
        mine, theirs = ((one.lowest_notes, one.highest_notes) for one in (self, other))
        return self.names == other.names or mine == theirs


@dataclass(frozen=True)
class AudioConfig:
    """Rates and lengths of the model's audio."""

    sample_rate_hz: int = 16_000
    example_samples: int = 64_000
    hop_samples: int = 256

    @property
    def hop_s(self) -> float:
        """Distance of the frames of encoder, decoder and synthesiser (0.016 s)."""
        return self.hop_samples / self.sample_rate_hz

    @property
    def synth_frames(self) -> int:
        """Frames of encoder, decoder and synthesiser in one example (250)."""
        return self.example_samples // self.hop_samples


@dataclass(frozen=True)
class HcqtConfig:
    """Harmonic constant-Q transform and the pitch grid that salience and assignment live on."""

    sample_rate_hz: int = 22_050
    hop_samples: int = 256
    fmin_hz: float = 32.7
    bins: int = 360
    bins_per_octave: int = 60
    harmonics: tuple[int, ...] = (1, 2, 3, 4, 5)
    floor_db: float = -80.0
    # Amplitudes below this count as this in the dB scale, and damp the gradient of the phase.
    amplitude_floor: float = 1e-5
    # Share of each kernel's spectral magnitude left out: 0 is exact, 0.01 what librosa does.
    sparsity: float = 0.0
    # Windowed-sinc resampler that feeds it (torchaudio's defaults, which the reference uses).
    resample_zero_crossings: int = 6
    resample_roll_off: float = 0.99


class Compute(enum.StrEnum):
    """In what the operands of convolutions and dense layers are multiplied.

    *float32* is what they are kept in; tensor cores may round them to TF32 as they multiply, see
    :mod:`umss_jax.precision`. *bfloat16* is for accelerators: operands and results of these
    products are rounded to 8 bits. Parameters and everything else stay in float32: recurrences,
    output layers, phases, filters and losses among it.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class ConvConfig:
    """Convolutional networks of salience and assignment."""

    norm_epsilon: float = 1e-3
    # 'direct', 'fft' (along frequency, for kernels of many frequency taps) or 'auto'.
    method: str = "auto"
    # 'whole' batch at once, or one 'example' after another, which takes far less memory; 'auto' is
    # 'example' on a processor, 'whole' on accelerators.
    batching: str = "auto"
    # What the backward pass computes again: 'none', 'elementwise' (all but the convolutions) or
    # 'everything' (only the inputs of the network are kept).
    recompute: str = "elementwise"
    compute: Compute = Compute.FLOAT32


DEFAULT_SALIENCE = "late-deep"
DEFAULT_ASSIGNMENT = "voas-cnn"

MULTI_F0_THRESHOLDS: Mapping[str, float] = MappingProxyType(
    {
        "early-deep": 0.4,
        "early-shallow": 0.5,
        "late-deep": 0.5,
        "late-deep-magnitude": 0.4,
        "small-salience": 0.35,
    }
)
"""Minimum salience of a peak, by salience network (models 1, 2, 3, 7 of the 2020 paper's code)."""

VOICE_THRESHOLDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "voas-cnn": (0.23, 0.17, 0.15, 0.17),
        "voas-clstm": (0.29, 0.20, 0.17, 0.23),
        "small-voices": (0.15, 0.15, 0.15, 0.15),
        "wide-voices": (0.15, 0.15, 0.15, 0.15),
    }
)
"""Minimum assigned salience of a voiced frame, S A T B, by assignment network; for other voices the
mean of the four."""


@dataclass(frozen=True)
class F0Config:
    """Peak-picking of the assigned saliences."""

    thresholds: tuple[float, ...] = VOICE_THRESHOLDS[DEFAULT_ASSIGNMENT]
    multi_f0_threshold: float = MULTI_F0_THRESHOLDS[DEFAULT_SALIENCE]
    unassigned_part: float = 1.0
    """Of that threshold, from which on pitches count that are given to no voice."""
    floor_hz: float = 1e-5
    mean_bins: int = 0
    """F0 is the mean position of the salience over this many bins on either side of a peak; 0, as
    in the paper, is the frequency of the peak's bin."""
    across_notes: bool = True
    """Whether F0 is interpolated between frames across the borders of notes too, as in the
    reference; that makes pitches up that nobody sings."""
    jointly: bool = False
    """Whether the voices' F0 are found together, as a path through time that takes ranges and
    leaps into account besides what the assignment network says; see
    :mod:`umss_jax.pitch.ranges`. In the paper each frame of each voice is for itself."""
    to_harmonics: bool = False
    """Whether F0 is moved by a few cents to where its harmonics lie in the mixture, before voices
    are separated; see :mod:`umss_jax.pitch.harmonics`."""
    again: bool = False
    """Whether the salience network also hears the mixture without each voice that was found, and
    the voices are found anew with what it hears there; see :mod:`umss_jax.dsp.removal`. Where F0
    are found jointly or by ranges; takes J more runs of that network."""

    @property
    def least_salience(self) -> float:
        """Of pitches that are given to no voice."""
        return self.unassigned_part * self.multi_f0_threshold


@dataclass(frozen=True)
class EncoderConfig:
    """Mixture encoder."""

    fft_size: int = 512
    hop_samples: int = 256
    hidden: int = 256
    latent: int = 128
    compute: Compute = Compute.FLOAT32


@dataclass(frozen=True)
class DecoderConfig:
    """Decoder from latent and F0 to the raw controls of the synthesiser."""

    hidden: int = 512
    line_spectral_frequencies: int = 20
    noise_bands: int = 40
    f0_low_hz: float = 20.0
    f0_high_hz: float = 8000.0
    compute: Compute = Compute.FLOAT32


@dataclass(frozen=True)
class SynthConfig:
    """Harmonic-plus-noise source and all-pole vocal tract."""

    sample_rate_hz: int = 16_000
    hop_samples: int = 256
    frame_samples: int = 512
    harmonics: int = 101
    harmonic_amplitude_max: float = 2.0
    noise_gain_max: float = 1.0
    noise_magnitude_scale: float = 2.5
    roll_off_db_per_octave: float = 6.0
    roll_off_reference_hz: float = 200.0
    roll_off_bands: int = 65


@dataclass(frozen=True)
class MaskConfig:
    """Soft masks on the mixture's STFT."""

    fft_size: int = 2048
    hop_samples: int = 256
    power: float = 1.0
    """Of the magnitudes that the masks are in the ratio of: 1 in the paper, 2 for a Wiener filter
    of the voices' powers."""
    fit: bool = False
    """Whether the voices' spectra are first fitted to the mixture by smooth envelopes; see
    :mod:`umss_jax.dsp.envelopes`."""
    rest: bool = False
    """Whether steady sound that nobody sings (noise, hum, a DC offset) is left out of the masks, so
    that it goes to the residual; see :mod:`umss_jax.dsp.rest`."""
    strokes: bool = False
    """Whether claps and knocks are taken out of the mixture before anything is heard in it, so that
    they go to the residual; see :mod:`umss_jax.dsp.strokes`."""
    refine: bool = False
    """Whether the refiner of the weights makes the masks, where they have one."""


@dataclass(frozen=True)
class RefinerConfig:
    """The network that refines masks."""

    fft_size: int = 2048
    hop_samples: int = 512
    power: float = 1.6
    """Of the synthesised magnitudes in the ratio that it corrects."""
    patch_bins: int = 4
    patch_frames: int = 2
    """So many bins and frames make one cell of the next level."""
    channels: tuple[int, int] = (32, 64)
    """Of the patches, and of patches of patches."""
    blocks: int = 3
    """Of the lower level."""


class Chain(enum.StrEnum):
    """What is done with what the networks say.

    *paper* is the published chain. *improved* separates better with the same weights: the F0 of
    all voices are found together, between bins but not between notes, and moved to where the
    harmonics in the mixture lie; the masks are those of the refiner where the weights have one,
    else in the ratio of the voices' powers, after these were fitted to the mixture, less what is
    steady and sung by nobody. *thorough* does the same and also listens to the mixture without each
    voice, where soft ones are found that louder ones cover; that takes four times as long.
    """

    PAPER = "paper"
    IMPROVED = "improved"
    THOROUGH = "thorough"


class Assigner(enum.StrEnum):
    """What gives the F0s of the salience to the voices.

    *auto* stands for the model's own network, *ranges* where that is of other voices, or the
    continuity rule (*heuristic*) where it has none. *ranges* follows the ranges of the voices and
    the course of each through time. In the chain *improved* a network's word counts beside these
    two (``F0Config.jointly``).
    """

    AUTO = "auto"
    VOAS_CNN = "voas-cnn"
    VOAS_CLSTM = "voas-clstm"
    SMALL_VOICES = "small-voices"
    WIDE_VOICES = "wide-voices"
    HEURISTIC = "heuristic"
    RANGES = "ranges"


RULES = frozenset({"heuristic", "ranges"})
"""Assigners that need no network."""


class TrackAssigner(enum.StrEnum):
    """As :class:`Assigner`, or *none*: the peaks of every frame, given to nobody."""

    AUTO = "auto"
    VOAS_CNN = "voas-cnn"
    VOAS_CLSTM = "voas-clstm"
    SMALL_VOICES = "small-voices"
    WIDE_VOICES = "wide-voices"
    HEURISTIC = "heuristic"
    RANGES = "ranges"
    NONE = "none"


class UnetCondition(enum.StrEnum):
    """What a U-Net is told of the target voice.

    *original* (Petermann et al. 2020): its F0 as a blurred bin of the pitch grid. *exact*
    (Schulze-Forster et al. 2023): the magnitude spectrum of a harmonic sound on its F0.
    """

    ORIGINAL = "original"
    EXACT = "exact"


@dataclass(frozen=True)
class UnetConfig:
    """The conditioned U-Net, a supervised baseline."""

    condition: UnetCondition = UnetCondition.ORIGINAL
    fft_size: int = 1024
    hop_samples: int = 256
    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Of the convolutions on the way down; the way up mirrors them."""
    kernel: int = 5
    down_slope: float = 1.0
    """Of the LeakyReLU on the way down; the published code's 1 leaves everything as it is."""
    dropout: float = 0.5
    dropout_layers: int = 3
    """The first so many on the way up; whole channels are dropped."""
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.1
    """Weight of a batch in the running statistics."""
    # Of the condition "original".
    blur_bins: float = 1.0
    blur_radius_bins: int = 4
    condition_channels: tuple[int, ...] = (16, 64, 256)
    condition_kernel: int = 10


@dataclass(frozen=True)
class ModelConfig:
    """Everything that shapes the computation from mixture to voices.

    The networks go by the names of :mod:`umss_jax.networks.registry`, which also makes the
    configuration that fits given weights, thresholds included.
    """

    salience_network: str = DEFAULT_SALIENCE
    assignment_network: str = DEFAULT_ASSIGNMENT
    audio: AudioConfig = field(default_factory=AudioConfig)
    hcqt: HcqtConfig = field(default_factory=HcqtConfig)
    conv: ConvConfig = field(default_factory=ConvConfig)
    f0: F0Config = field(default_factory=F0Config)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    synth: SynthConfig = field(default_factory=SynthConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    unet: UnetConfig = field(default_factory=UnetConfig)
    voices: VoicesConfig = field(default_factory=VoicesConfig)

    def __post_init__(self) -> None:
        """Refuses settings that cannot stand together.

        Raises:
            UsageError: a rate of a single stage that is not that of the audio, frames that do not
                fill an example, a transform shorter than its hop, or pitches out of reach.
        """
        rate_hz, hop = self.audio.sample_rate_hz, self.audio.hop_samples
        for name, value, expected in (
            ("encoder.hop_samples", self.encoder.hop_samples, hop),
            ("synth.hop_samples", self.synth.hop_samples, hop),
            ("synth.sample_rate_hz", self.synth.sample_rate_hz, rate_hz),
        ):
            if value != expected:
                raise UsageError(
                    f"{name} of the model is {value}, but audio.{name.split('.')[1]} {expected}",
                    "set them alike: there is one frame rate from encoder to synthesiser",
                )
        refuse_contradictions(self)


def with_chain(config: ModelConfig, chain: Chain) -> ModelConfig:
    """The configuration of a chain, whatever it was before."""
    is_improved = chain != Chain.PAPER
    return replace(
        config,
        f0=replace(
            config.f0,
            mean_bins=2 if is_improved else 0,
            unassigned_part=0.8 if is_improved else 1.0,
            across_notes=not is_improved,
            jointly=is_improved,
            to_harmonics=is_improved,
            again=chain == Chain.THOROUGH,
        ),
        mask=replace(
            config.mask,
            power=2.0 if is_improved else 1.0,
            fit=is_improved,
            rest=is_improved,
            strokes=is_improved,
            refine=is_improved,
        ),
    )


def with_networks(
    config: ModelConfig, salience: str | None = None, assignment: str | None = None
) -> ModelConfig:
    """The configuration with other F0 networks, by name, and the thresholds of their kind.

    None leaves a network and its threshold.

    Raises:
        UsageError: no network has this name.
    """
    for kind, name, known in (
        ("salience", salience, MULTI_F0_THRESHOLDS),
        ("assignment", assignment, VOICE_THRESHOLDS),
    ):
        if name is not None and name not in known:
            raise UsageError(
                f"no {kind} network is called {brief(name)}", f"choose from {', '.join(known)}"
            )
    if salience is not None:
        f0 = replace(config.f0, multi_f0_threshold=MULTI_F0_THRESHOLDS[salience])
        config = replace(config, salience_network=salience, f0=f0)
    if assignment is not None:
        f0 = replace(config.f0, thresholds=_thresholds(assignment, config.voices))
        config = replace(config, assignment_network=assignment, f0=f0)
    return config


def with_voices(config: ModelConfig, voices: VoicesConfig) -> ModelConfig:
    """The configuration for other voices, with the thresholds of its network for these."""
    if voices.are_those_of(config.voices):
        return replace(config, voices=voices)
    f0 = replace(config.f0, thresholds=_thresholds(config.assignment_network, voices))
    return replace(config, voices=voices, f0=f0)


def _thresholds(assignment: str, voices: VoicesConfig) -> tuple[float, ...]:
    usual = VOICE_THRESHOLDS[assignment]
    if voices.is_usual:
        return usual
    return (round(sum(usual) / len(usual), 3),) * len(voices)
