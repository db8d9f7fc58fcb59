"""The layers of the F0 networks, in the order of computation.

Three kinds of files hold Late/Deep and VoasCNN; each table gives these layers its own names.
"""

from __future__ import annotations

from typing import NamedTuple

from umss_jax.config import VOICES

Sizes = tuple[int, ...]


class Layer(NamedTuple):
    """A convolution or a batch normalisation.

    Attributes:
        path: path in the variables, after the collection.
        sizes: of a convolution taps in frequency, taps in time, inputs, outputs; of a
            normalisation its channels alone.
    """

    path: str
    sizes: Sizes

    @property
    def is_norm(self) -> bool:
        """Whether this is a normalisation."""
        return len(self.sizes) == 1


Layers = tuple[Layer, ...]


def blocks(at: str, *sizes: Sizes) -> Layers:
    """Blocks of a convolution and, after the rectifier, a normalisation."""
    layers = []
    for number, size in enumerate(sizes, 1):
        layers.append(Layer(f"{at}/block_{number}/conv", size))
        layers.append(Layer(f"{at}/block_{number}/norm", size[-1:]))
    return tuple(layers)


def branch(feature: str, *sizes: Sizes) -> Layers:
    """A branch of a salience network: its normalisation, then blocks."""
    at = f"salience/{feature}"
    return (Layer(f"{at}/input_norm", (5,)), *blocks(at, *sizes))


def merged(*sizes: Sizes) -> Layers:
    """What follows the branches of a salience network, to its output."""
    return (*blocks("salience/merged", *sizes), Layer("salience/output", (1, 1, 8, 1)))


FIRST = ((5, 5, 5, 16),)
LATE_BRANCH = (*FIRST, (5, 5, 16, 32), *2 * ((5, 5, 32, 32),), *2 * ((70, 3, 32, 32),))
LATE_MAGNITUDE = branch("magnitude", *LATE_BRANCH)
LATE_PHASE = branch("phase", *LATE_BRANCH)
LATE_MERGED = merged((3, 3, 64, 64), (3, 3, 64, 64), (360, 1, 64, 8))
VOAS_COMMON: Layers = (
    Layer("assignment/input_norm", (1,)),
    *blocks("assignment", (3, 3, 1, 32), (3, 3, 32, 32), (70, 3, 32, 16), (70, 3, 16, 16)),
)


def voas_cnn_voice(voice: str) -> Layers:
    """The part of one voice of VoasCNN."""
    at = f"assignment/{voice}"
    return (
        *blocks(at, (3, 3, 16, 16)),
        Layer(f"{at}/conv_2", (3, 3, 16, 16)),
        Layer(f"{at}/output", (1, 1, 16, 1)),
    )


VOAS_CNN: Layers = (*VOAS_COMMON, *(layer for v in VOICES for layer in voas_cnn_voice(v)))
