"""The configuration that stored weights carry: written with them, read with them, joined by part.

A file holds the whole :class:`umss_jax.config.ModelConfig` that its weights were trained with. What
a file does not say is at the value that it had before there was such a setting: :data:`FORMAT_1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from umss_jax.config import ModelConfig, VoicesConfig, with_voices
from umss_jax.config_tree import build, leaves, nested
from umss_jax.errors import UsageError, WeightsError

FORMAT_1 = ModelConfig()
"""What files of format 1 meant, which hold no configuration: the defaults of their time. Where a
default changes, or a setting is added whose default is not what was done before, the old value is
written here."""

_GRID = tuple(
    f"hcqt.{name}"
    for name in ("sample_rate_hz", "hop_samples", "fmin_hz", "bins", "bins_per_octave")
)
_F0_NETWORK = ("audio", "conv.norm_epsilon", *_GRID)
_OWN: Mapping[str, tuple[str, ...]] = {
    "assignment": (*_F0_NETWORK, "assignment_network", "f0.thresholds", "voices"),
    "salience": (*_F0_NETWORK, "hcqt", "salience_network", "f0.multi_f0_threshold"),
    "encoder": ("audio", "encoder"),
    "decoder": ("audio", "decoder", "synth", "mask", "f0.floor_hz"),
    "unet": ("audio", "unet", "synth"),
    "refiner": ("audio", "refiner"),
}
"""Settings that come with a part, by dotted name or all below it; later rows count where both do
(only a U-Net separates where there is a decoder too)."""

_OF_VOICES = ("assignment", "decoder", "unet", "encoder")
"""Parts that were trained for an ensemble; the first that is there says which."""

_AGREED = frozenset({"audio.sample_rate_hz", "audio.hop_samples", "conv.norm_epsilon", *_GRID})
"""Settings in which parts must agree that are combined."""

_OF_THE_RUN = frozenset(
    {"conv.method", "conv.batching", "conv.recompute"}
    | {"f0.mean_bins", "f0.across_notes", "f0.jointly", "f0.to_harmonics", "f0.again"}
    | {"f0.unassigned_part"}
    | {"mask.power", "mask.fit", "mask.rest", "mask.strokes", "mask.refine"}
    | {f"{name}.compute" for name in ("conv", "encoder", "decoder")}
)
"""How something is computed, not what, and the chain: never taken from weights."""


class Source(NamedTuple):
    """Where a part comes from."""

    name: str
    """Of its weights, for messages."""
    config: ModelConfig


def restore(tree: Any, name: str) -> ModelConfig:
    """The configuration in the metadata of weights, of this version or an earlier one.

    Raises:
        WeightsError: it holds what this version does not know.
    """
    if not isinstance(tree, Mapping):
        raise WeightsError(f"the metadata of {name} holds no configuration", "store them again")
    try:
        return build(ModelConfig, tree, default=FORMAT_1)
    except (UsageError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
        reason = error.message if isinstance(error, UsageError) else str(error)
        raise WeightsError(
            f"{name} has a configuration that this version does not know ({reason[:300]})",
            "update umss-jax",
        ) from error


def join(sources: Mapping[str, Source], base: ModelConfig) -> ModelConfig:
    """The configuration of parts that were trained with different ones.

    Each part brings its own settings; ``base`` holds where none does, and says how to compute. The
    parts are those of :func:`without_other_voices`.

    Raises:
        UsageError: two parts cannot stand together.
    """
    values = leaves(with_voices(base, voices_of(sources, base.voices)))
    brought: dict[str, Source] = {}
    for part in (part for part in _OWN if part in sources):
        source = sources[part]
        for name, value in leaves(source.config).items():
            if name in _OF_THE_RUN or not _is_below(name, _OWN[part]):
                continue
            before = brought.setdefault(name, source)
            if name in _AGREED and values[name] != value and before is not source:
                raise UsageError(
                    f"{before.name} has {name} = {values[name]}, {source.name} {value}",
                    "combine weights that were trained with the same",
                )
            values[name], brought[name] = value, source
    return build(ModelConfig, nested(values))


def voices_of(sources: Mapping[str, Source], default: VoicesConfig) -> VoicesConfig:
    """The voices of parts: those of the assignment network, or else of what synthesises.

    Others than the usual ones go first, since what synthesises is often of these by default alone.
    """
    found = [sources[one].config.voices for one in _OF_VOICES if one in sources]
    special = [voices for voices in found if not voices.is_usual]
    return next(iter(special or found), default)


def without_other_voices(sources: Mapping[str, Source]) -> dict[str, Source]:
    """The parts without an assignment network of other voices than the rest."""
    voices = voices_of(sources, VoicesConfig())
    return {
        part: source
        for part, source in sources.items()
        if part != "assignment" or source.config.voices.are_those_of(voices)
    }


def differences(config: ModelConfig, other: ModelConfig, parts: tuple[str, ...]) -> list[str]:
    """Settings of these parts in which two configurations differ, as ``name = value``."""
    own = tuple(prefix for part in parts for prefix in _OWN.get(part, ()))
    theirs = leaves(other)
    return [
        f"{name} = {value}"
        for name, value in leaves(config).items()
        if value != theirs[name] and name not in _OF_THE_RUN and _is_below(name, own)
    ]


def _is_below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
