"""Settings of training, pre-training and adaptation."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from umss_jax.config import Assigner, ConvConfig, ModelConfig, with_networks
from umss_jax.data.config import AugmentationConfig, DataConfig, DrawnSalienceConfig, SetConfig
from umss_jax.range_checks import check_numbers
from umss_jax.weights.config import DEFAULT_MODEL


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
    silence_weight: float = 0.05
    """Of seconds in which a voice or the rest is silent, where masks are refined: their errors in
    dB are so much larger that with the weight of the others nothing else is learnt."""
    mistaken_f0: float = 0.0
    """Probability that half a second of a voice gets a wrong F0 or none, where masks are refined:
    the F0 networks are surer of what they were trained on than of any other recording."""


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
class AdaptationConfig:
    """Training on one recording itself, without stems: short, so with a large learning rate.

    Raises:
        UsageError: a value is no number or outside of what makes sense.
    """

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

    def __post_init__(self) -> None:
        check_numbers(self)


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
    """Initial weights by name or file; parts that they lack are initialised. Empty: all are, with
    the networks that ``model`` names."""
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
    """Initial ones by name or file; what they lack is initialised."""
    blur_bins: float = 1.0
    validation_steps: int = 250
    """Between validations, at which checkpoints are written."""
    validation_examples: int = 24
    train: SetConfig = SetConfig()
    validation: SetConfig = SetConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    drawn: DrawnSalienceConfig = DrawnSalienceConfig()
    """Examples of the assignment network that need no sound."""
    optimiser: OptimiserConfig = OptimiserConfig(
        learning_rate=2e-3, l2_penalty=0.0, clip_norm=1.0, warmup_steps=100, final_fraction=0.02
    )
    model: ModelConfig = field(
        default_factory=lambda: with_networks(
            ModelConfig(conv=ConvConfig(recompute="none")), "small-salience", "small-voices"
        )
    )
