"""The one home of every default: frozen dataclasses, read by all stages.

Two frame rates exist and must not be mixed: 344 frames of 22 050/256 Hz per 4-second example for
the HCQT, salience and assignment, and 250 frames of 16 000/256 Hz for encoder, decoder and
synthesiser. Names carry the number (``f0_hz_344``, ``f0_hz_250``).

Numbers are those of the paper (Richard, Chouteau, Torres, ICASSP 2024) and of its published code.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

VOICES: tuple[str, ...] = ("soprano", "alto", "tenor", "bass")
"""The voices, in the order of every voice axis J."""


@dataclass(frozen=True)
class AudioConfig:
    """Rates and lengths of the model's audio."""

    sample_rate_hz: int = 16_000
    example_samples: int = 64_000
    hop_samples: int = 256

    @property
    def frames_250(self) -> int:
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

    *bfloat16* is for accelerators: operands and results of these products are rounded to 8 bits.
    Parameters and everything else stay in float32: recurrences, output layers, phases, filters and
    losses among it.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class ConvConfig:
    """Convolutional networks of salience and assignment."""

    norm_epsilon: float = 1e-3
    # 'direct', 'fft' (along frequency, for kernels of many frequency taps) or 'auto'.
    method: str = "auto"
    # 'whole' batch at once, or one 'example' after another, which takes far less memory.
    batching: str = "example"
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
"""Least salience of a peak, by salience network (models 1, 2, 3 and 7 of the 2020 paper's code)."""

VOICE_THRESHOLDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "voas-cnn": (0.23, 0.17, 0.15, 0.17),
        "voas-clstm": (0.29, 0.20, 0.17, 0.23),
        "small-voices": (0.15, 0.15, 0.15, 0.15),
    }
)
"""Least assigned salience of a voiced frame, S A T B, by assignment network."""


@dataclass(frozen=True)
class F0Config:
    """Peak-picking of the assigned saliences."""

    thresholds: tuple[float, ...] = VOICE_THRESHOLDS[DEFAULT_ASSIGNMENT]
    multi_f0_threshold: float = MULTI_F0_THRESHOLDS[DEFAULT_SALIENCE]
    floor_hz: float = 1e-5


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
class LossConfig:
    """L_full = L_rec + α L1 + β L2 + γ L3 (paper, equation 1)."""

    fft_sizes: tuple[int, ...] = (2048, 1024, 512, 256, 128, 64)
    overlap: float = 0.75
    rec_weight: float = 1.0
    l1_weight: float = 1e4
    l2_weight: float = 1e5
    l3_weight: float = 1e4
    # First and last bin, both inside, of each voice on the 360-bin pitch grid.
    voice_bands_bins: tuple[tuple[int, int], ...] = ((179, 285), (152, 260), (129, 225), (88, 189))


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam with the L2 penalty in the gradient (not decoupled), as the reference trains."""

    learning_rate: float = 1e-4
    l2_penalty: float = 1e-5
    f0_learning_rate_factor: float = 1.0
    """Learning rate of salience and assignment, as a factor of the others'."""
    decay_steps: int = 0
    """The rate is multiplied by ``decay_factor`` every so many steps; 0 = constant."""
    decay_factor: float = 0.98
    # For short runs; the reference uses none of these (0 = off).
    clip_norm: float = 0.0
    warmup_steps: int = 0
    total_steps: int = 0
    final_fraction: float = 0.0


@dataclass(frozen=True)
class MaskConfig:
    """Soft masks on the mixture's STFT."""

    fft_size: int = 2048
    hop_samples: int = 256


class Assigner(enum.StrEnum):
    """What gives the F0s of the salience to the voices.

    *auto* stands for the model's own network, or the continuity rule where it has none.
    """

    AUTO = "auto"
    VOAS_CNN = "voas-cnn"
    VOAS_CLSTM = "voas-clstm"
    SMALL_VOICES = "small-voices"
    HEURISTIC = "heuristic"


class TrackAssigner(enum.StrEnum):
    """As :class:`Assigner`, or *none*: the peaks of every frame, given to nobody."""

    AUTO = "auto"
    VOAS_CNN = "voas-cnn"
    VOAS_CLSTM = "voas-clstm"
    SMALL_VOICES = "small-voices"
    HEURISTIC = "heuristic"
    NONE = "none"


class ClipMode(enum.StrEnum):
    """What happens where a sample of any stem would pass full scale.

    *rescale* turns all files down by one gain; floating point cannot clip, so there the gain
    stays 1. *clamp* cuts each sample at full scale. *none* leaves samples as they are, which only
    floating point can hold: integers saturate as with *clamp*.
    """

    RESCALE = "rescale"
    CLAMP = "clamp"
    NONE = "none"


DEFAULT_MODEL = "starter"
"""The weights that are part of the package: F0 networks and synthesiser."""


@dataclass(frozen=True)
class FileConfig:
    """Audio files in and out."""

    block_samples: int = 65_536
    """Samples per channel that are in memory at once while a file is read or written."""
    silence_peak: float = 1e-6
    """A recording whose peak lies below this (-120 dB) is refused as silent."""
    cancelled_downmix: float = 1e-3
    """Channels whose mean lies this far below their peak cancel each other out (-60 dB)."""
    rescaled_peak: float = 0.999
    """Peak after `--clip-mode rescale` had to turn the stems down."""


@dataclass(frozen=True)
class SeparationConfig:
    """From a recording of any length to stems, segment by segment."""

    segment_s: float = 4.0
    overlap: float = 0.25
    """Part of a segment that is cross-faded into the next, 0 to 0.5."""
    seed: int = 0
    silence: float = 1e-5
    """Segments below this part of the recording's peak (-100 dB) go to the residual unheard."""


@dataclass(frozen=True)
class NoteConfig:
    """From a pitch track to the notes of a MIDI file."""

    smoothing_s: float = 0.176
    """Running median over about one vibrato cycle (5 to 6 Hz)."""
    largest_gap_s: float = 0.064
    """Unvoiced stretches up to this long (a consonant, a missed frame) do not end a note."""
    shortest_note_s: float = 0.096
    hysteresis_semitones: float = 0.75
    """A note lasts until the pitch is this far from it (from 0.5 on another semitone is nearer)."""
    velocity: int = 80
    program: int = 52
    """Of General MIDI: choir, "aah"."""
    ticks_per_beat: int = 480
    microseconds_per_beat: int = 500_000


@dataclass(frozen=True)
class PlotConfig:
    """The picture of salience and tracks."""

    inches_per_s: float = 0.5
    least_width_inches: float = 9.0
    most_width_inches: float = 60.0
    height_inches: float = 6.0
    dots_per_inch: int = 110
    margin_octaves: float = 0.5
    """Shown below the lowest and above the highest pitch."""


@dataclass(frozen=True)
class ReportConfig:
    """The page about a separation or an evaluation."""

    lossless_megabytes: float = 20.0
    """Audio of a page up to this size is FLAC, beyond it MP3."""
    most_megabytes: float = 100.0
    """A page that would be larger is refused: browsers keep all of its audio in memory."""
    mp3_compression: float = 0.4
    """0 best to 1 smallest; about 2 bits a sample."""
    columns: int = 1400
    """Most columns of a picture."""
    spectrogram_rows: int = 144
    window_s: float = 0.064
    range_db: float = 70.0
    lowest_hz: float = 60.0
    highest_hz: float = 12_000.0
    shades: int = 48
    margin_octaves: float = 0.25
    """Shown below the lowest and above the highest pitch."""
    most_points: int = 12_000
    """Of a pitch curve."""
    excerpts: int = 2
    """Of an evaluation, whose audio is kept for its page unless told otherwise."""
    length_tolerance_s: float = 0.5
    """By which targets and salience may be longer or shorter than the stems."""


@dataclass(frozen=True)
class AdaptationConfig:
    """Training on one recording itself, without stems: short, so with a large learning rate."""

    steps: int = 200
    batch: int = 4
    segment_step_s: float = 2.0
    """Distance of the training segments' starts."""
    max_segments: int = 64
    """Of a longer recording, this many segments are chosen, evenly spread."""
    seed: int = 0
    train_assignment: bool = False
    learning_rate: float = 1e-3
    f0_learning_rate_factor: float = 0.1
    warmup_steps: int = 20
    """Full rate from the first steps on can throw the vocal tract's filters off the unit circle."""
    final_fraction: float = 0.05


@dataclass(frozen=True)
class CombConfig:
    """Harmonic comb without learning: what any trained system has to beat."""

    lobe_hz: float = 30.0  # standard deviation
    roll_off_db_per_octave: float = 6.0
    minimum_hz: float = 20.0
    maximum_hz: float = 8_000.0


class Dataset(enum.StrEnum):
    """Test sets: those of the paper, or any folder with four stems a piece."""

    CSD = "csd"
    CANTORIA = "cantoria"
    BCBSQ = "bcbsq"
    FOLDER = "folder"


class F0Source(enum.StrEnum):
    """Whose F0 a voice is synthesised from: the reference's, or estimated from the mixture."""

    ORACLE = "oracle"
    MIX = "mix"


class F0Windows(enum.StrEnum):
    """Stretches over which F0 accuracies are taken; see :func:`umss_jax.evaluate.protocol.f0_windows`."""

    SECOND = "second"
    EXCERPT = "excerpt"
    REFERENCE = "reference"


@dataclass(frozen=True)
class CrepeConfig:
    """F0 tracks by CREPE."""

    model: str = "full"
    batch_frames: int = 512


@dataclass(frozen=True)
class EvaluationConfig:
    """Frames, thresholds and tolerances of the evaluation protocol."""

    sample_rate_hz: int = 16_000
    frame_samples: int = 16_000
    minimum_energy: float = 10.0
    fft_size: int = 512
    hop_samples: int = 256
    mel_bands: int = 128
    cepstral_coefficients: int = 13
    f0_frames_per_second: float = 62.5
    # F0 networks write 1e-5 Hz into unvoiced frames and interpolate from it: this is no pitch.
    minimum_f0_hz: float = 20.0
    tolerance_cents: float = 50.0
    crepe_confidence: float = 0.4
    bss_filter_samples: int = 512
    """Length of the distortion that BSS-eval forgives."""
    stem_length_tolerance_s: float = 2.0
    """Stems of one piece may differ by this; singers of the Choral Singing Dataset do by 1.1 s."""
    bootstrap_resamples: int = 2_000
    bootstrap_coverage: float = 0.95


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
    unet: UnetConfig = field(default_factory=UnetConfig)


@dataclass(frozen=True)
class ChoraleConfig:
    """What is drawn for a synthetic quartet; pairs are ranges."""

    tempo_factor: tuple[float, float] = (0.7, 1.4)
    transposition_semitones: tuple[float, float] = (-4.0, 4.0)
    singers_probability: tuple[float, ...] = (0.7, 0.15, 0.15)
    """Of one, two, three singers a part."""
    longest_s: float = 0.0
    """Where a rendering is cut; 0 = nowhere."""
    tail_s: float = 1.0
    block_frames: int = 625
    """Lengths are multiples of it (10 s), so that few shapes are compiled."""
    lanes: int = 4
    """Singers that are synthesised at once."""
    timing_s: float = 0.018
    """Standard deviation."""
    breath_probability: float = 0.06
    """Of a breath that the score does not ask for, after a note of one second."""
    intonation_cents: tuple[float, float] = (3.0, 15.0)
    detuning_cents: float = 6.0
    """Standard deviation of a singer's tuning."""
    drift_cents: tuple[float, float] = (3.0, 14.0)
    jitter_cents: tuple[float, float] = (1.0, 5.0)
    vibrato_hz: tuple[float, float] = (4.8, 6.5)
    vibrato_cents: tuple[float, float] = (8.0, 75.0)
    breath_db: tuple[float, float] = (-42.0, -20.0)
    """Breath noise relative to the tone."""
    balance_db: float = 3.0
    """Standard deviation of the parts' levels."""
    dry_probability: float = 0.4
    reverberation_s: tuple[float, float] = (0.15, 1.6)
    """Time to decay by 60 dB."""
    direct_db: tuple[float, float] = (0.0, 18.0)
    """Direct sound over reverberation."""


@dataclass(frozen=True)
class DemoConfig:
    """What `umss-jax demo` renders and separates."""

    score: str = "Evening"
    """Of the embedded ones, the one in triple time: no tune of it is in music21's corpus, from
    which the F0 networks learned."""
    longest_s: float = 28.0
    adapt_steps: int = 0


@dataclass(frozen=True)
class SetConfig:
    """Recordings of a training or validation set."""

    folders: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ("*",)
    """Shell patterns of their names."""
    exclude: tuple[str, ...] = ()
    singers: tuple[int, ...] = ()
    """Of every voice, from 1, as far as it has them; none for all."""


@dataclass(frozen=True)
class DataConfig:
    """Training and validation examples."""

    train: SetConfig = SetConfig()
    validation: SetConfig = SetConfig()
    pool: int = 0
    """Different training examples, which then repeat; 0 = ever new ones."""
    validation_examples: int = 64
    """Most validation excerpts; 0 = all."""


class Parallel(enum.StrEnum):
    """How a training step is mapped over devices."""

    PMAP = "pmap"
    SHARD_MAP = "shard_map"


@dataclass(frozen=True)
class TrainConfig:
    """One training run; the numbers are the reference's."""

    name: str = "run"
    strategy: str = "w_up"
    seed: int = 4
    weights: str = DEFAULT_MODEL
    """Initial weights by name or file; parts that they lack are drawn. Empty: all are, with the
    networks that ``model`` names."""
    batch: int = 15
    epoch_examples: int = 1600
    epochs: tuple[int, ...] = ()
    """Of each phase, instead of what the strategy says."""
    max_epochs: int = 8000
    """Of phases that last until they no longer improve."""
    patience: int = 200
    """Epochs without a better validation loss before a phase ends; 0 = never."""
    decay_epochs: int = 200
    """See ``optimiser.decay_steps``, which this sets where that is 0."""
    cosine: bool = False
    """Warm-up and cosine over each phase instead of the decay by steps."""
    cache_salience: bool = False
    """Keep what frozen networks say of an example; pays with ``data.pool``."""
    f0_assigner: Assigner = Assigner.HEURISTIC
    """What gives the F0 where the strategy takes it as known."""
    checkpoint_steps: int = 0
    """Besides the end of each epoch."""
    parallel: Parallel = Parallel.PMAP
    tensorboard: bool = True
    data: DataConfig = DataConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    loss: LossConfig = LossConfig()
    model: ModelConfig = field(default_factory=ModelConfig)


@dataclass(frozen=True)
class AugmentationConfig:
    """How synthetic voices are made to stand for real ones; probabilities and ranges."""

    speed_semitones: float = 1.5
    """Voices are played faster or slower by up to this, which moves formants and pitch."""
    mixed_probability: float = 0.25
    """Of voices from different pieces, which cross each other freely (salience only)."""
    voices_probability: tuple[float, ...] = (0.08, 0.12, 0.2, 0.6)
    """Of one to four voices."""
    level_db: float = 4.0
    """Standard deviation of each voice's."""
    equalisation_db: float = 7.0
    """Standard deviation of the points of a voice's curve, an octave apart."""
    room_probability: float = 0.4
    room_s: tuple[float, float] = (0.1, 0.9)
    direct_db: tuple[float, float] = (-2.0, 15.0)
    noise_probability: float = 0.7
    noise_db: tuple[float, float] = (-60.0, -18.0)
    """Relative to the mixture."""


@dataclass(frozen=True)
class PretrainConfig:
    """Supervised training of the F0 networks on voices whose F0 is known."""

    name: str = "pretrain"
    seed: int = 1
    steps: tuple[int, ...] = (3000, 1200)
    """Of the salience network, then of the assignment network; 0 leaves one out."""
    batch: tuple[int, ...] = (6, 4)
    crop_s: tuple[float, ...] = (2.0, 4.0)
    window_frames: int = 64
    """In the middle of a crop that the salience network trains on: the rest is there for the low
    pitches, whose filters are long. 0 = all."""
    distinct_mixes: int = 1600
    """That the assignment network learns from: the salience network hears each once. 0 = a new one
    every time."""
    transposed_bins: int = 15
    """By which each of them moves up or down, at most, every time it comes."""
    weights: str = ""
    """Initial ones by name or file; what they lack is drawn."""
    blur_bins: float = 1.0
    validation_steps: int = 250
    """Between validations, at which checkpoints are written."""
    validation_examples: int = 24
    train: SetConfig = SetConfig()
    validation: SetConfig = SetConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimiser: OptimiserConfig = OptimiserConfig(
        learning_rate=2e-3, l2_penalty=0.0, clip_norm=1.0, warmup_steps=100, final_fraction=0.02
    )
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            salience_network="small-salience",
            assignment_network="small-voices",
            conv=ConvConfig(recompute="none"),
        )
    )
