"""Refuses settings outside the ranges of :mod:`umss_jax.ranges`, and those that contradict."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
import typing
from collections.abc import Collection, Sequence
from typing import Any

from umss_jax import ranges
from umss_jax.errors import UsageError, brief, printable

_VOICE_NAME = re.compile(r"[^\W_][\w-]{0,39}")
_NO_VOICES = re.compile(
    r"residual|mixture|mix|f0|manifest|alignment|targets|time|time_s|confidence|voicing"
    r"|con|prn|aux|nul|(com|lpt)\d|.*_(predominant|missing)"
)
"""Names of other files and columns, and those that Windows keeps for itself."""


def refusal(value: float, allowed: ranges.Range) -> str | None:
    """What a number should be instead, where it is not within a range."""
    if isinstance(value, int):
        if allowed.low <= value <= allowed.high:  # exact, however large
            return None
    elif math.isfinite(value) and allowed.low <= value <= allowed.high:
        return None
    return f"give a number from {allowed}"


def refuse_outside(kind: str, field: str, hint: Any, value: Any, key: str) -> None:
    """Refuses a value of a field that is outside its range, or text that no setting is.

    Args:
        kind: name of the dataclass.
        field: name of its field.
        hint: the field's type, which the value has.
        value: what is asked for.
        key: how messages call it.

    Raises:
        UsageError: says the value and the range.
    """
    if isinstance(value, tuple):
        length = ranges.LENGTHS.get(field, ranges.Range(0, ranges.MOST_VALUES))
        if not length.low <= len(value) <= length.high:
            exact = length.low == length.high
            number = f"{length.low:g}" if exact else str(length)
            raise UsageError(f"{key} has {len(value)} values", f"give {number} of them")
        _refuse_descending(hint, value, key)
        for one in value:
            _refuse_outside_one(kind, field, one, key)
    else:
        _refuse_outside_one(kind, field, value, key)


def _refuse_outside_one(kind: str, field: str, value: Any, key: str) -> None:
    if isinstance(value, tuple):
        for one in value:
            _refuse_outside_one(kind, field, one, key)
    elif isinstance(value, str):
        if len(value) > ranges.LONGEST_TEXT or printable(value) != value:
            raise UsageError(
                f"{key} is {brief(value)}",
                f"give text of at most {ranges.LONGEST_TEXT} characters, none of them a control",
            )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        allowed = ranges.of_field(kind, field)
        instead = refusal(value, allowed) if allowed else None
        if instead:
            raise UsageError(f"{key} is {brief(value)}", instead)


def _refuse_descending(hint: Any, value: tuple[Any, ...], key: str) -> None:
    """A pair of numbers is a range."""
    inner = typing.get_args(hint)
    if len(inner) == 2 and inner[1] is Ellipsis:
        for one in value:
            if isinstance(one, tuple):
                _refuse_descending(inner[0], one, key)
    elif len(value) == 2 and value[0] > value[1]:
        raise UsageError(f"{key} is {brief(list(value))}", "give the lower number first")


def check_numbers(config: Any, but: Collection[str] = ()) -> None:
    """Refuses fields of a dataclass that are no numbers although their defaults are, or outside.

    Where the default is a whole number, so must the value be. Fields in ``but`` may have any value,
    since whoever calls refuses those in words of its own.

    Raises:
        UsageError: says field, value and range.
    """
    for field in dataclasses.fields(config):
        if isinstance(field.default, bool) or not isinstance(field.default, int | float):
            continue
        value: Any = getattr(config, field.name)
        is_whole = isinstance(field.default, int)
        is_number = isinstance(value, numbers.Integral if is_whole else numbers.Real)
        instead = None
        if isinstance(value, bool) or not is_number:
            instead = "give a whole number" if is_whole else "give a number"
        elif field.name not in but:
            allowed = ranges.of_field(type(config).__name__, field.name)
            instead = refusal(value, allowed) if allowed else None
        if instead:
            raise UsageError(f"{field.name} is {brief(value)}", instead)


def refuse_contradictions(model: Any) -> None:
    """Refuses a :class:`umss_jax.config.ModelConfig` whose settings cannot stand together.

    Raises:
        UsageError: frames do not fill an example, a transform is shorter than its hop, or pitches
            are out of reach.
    """
    if model.audio.example_samples % model.audio.hop_samples:
        raise UsageError(
            f"audio.example_samples of the model is {model.audio.example_samples}",
            f"give a multiple of audio.hop_samples ({model.audio.hop_samples})",
        )
    for name, stage in (("mask", model.mask), ("unet", model.unet)):
        if stage.fft_size < stage.hop_samples:
            raise UsageError(
                f"{name}.fft_size of the model is {stage.fft_size}",
                f"give at least {name}.hop_samples ({stage.hop_samples})",
            )
    octaves = model.hcqt.bins / model.hcqt.bins_per_octave
    if math.log2(model.hcqt.fmin_hz) + octaves > math.log2(model.hcqt.sample_rate_hz / 2):
        raise UsageError(
            f"hcqt of the model has {octaves:g} octaves above {model.hcqt.fmin_hz:g} Hz",
            f"let them end below half of {model.hcqt.sample_rate_hz} Hz",
        )
    if model.decoder.f0_low_hz >= model.decoder.f0_high_hz:
        raise UsageError(
            f"decoder.f0_low_hz of the model is {model.decoder.f0_low_hz:g}",
            f"give less than decoder.f0_high_hz ({model.decoder.f0_high_hz:g})",
        )
    if len(model.f0.thresholds) != len(model.voices):
        raise UsageError(
            f"f0.thresholds of the model has {len(model.f0.thresholds)} values",
            f"give {len(model.voices)}, one for each voice",
        )


def check_voices(names: Sequence[str], lowest: Sequence[int], highest: Sequence[int]) -> None:
    """Refuses what are no voices of an ensemble.

    Args:
        names: the highest voice first.
        lowest: notes of MIDI, one for each.
        highest: likewise.

    Raises:
        UsageError: as :class:`umss_jax.config.VoicesConfig` says.
    """
    check_voice_names(names)
    for field, notes in (("lowest_notes", lowest), ("highest_notes", highest)):
        if len(notes) != len(names):
            raise UsageError(
                f"voices.{field} has {len(notes)} values",
                f"give {len(names)}, one for each of voices.names",
            )
        for note in notes:
            refuse_outside("VoicesConfig", field, int, note, f"voices.{field}")
    for name, low, high in zip(names, lowest, highest, strict=True):
        if low >= high:
            raise UsageError(
                f"the range of {name} is empty ({low} to {high})",
                "give the lower note first (--voices)",
            )
    for upper, lower in zip(range(len(names)), range(1, len(names)), strict=False):
        if lowest[upper] < lowest[lower] or highest[upper] < highest[lower]:
            raise UsageError(
                f"the range of {names[lower]} ({lowest[lower]} to {highest[lower]}) is not below "
                f"that of {names[upper]} ({lowest[upper]} to {highest[upper]})",
                "name them from the highest to the lowest (--voices)",
            )


def check_voice_count(count: int) -> None:
    """Refuses what is no number of voices; errors as :func:`check_voices`."""
    if not 2 <= count <= ranges.MOST_VOICES:
        raise UsageError(
            f"{count} {'voice is' if count == 1 else 'voices are'} asked for",
            f"name 2 to {ranges.MOST_VOICES} (--voices)",
        )


def check_voice_names(names: Sequence[str]) -> None:
    """Refuses names that voices cannot have together; errors as :func:`check_voices`."""
    check_voice_count(len(names))
    seen: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if not _VOICE_NAME.fullmatch(name):
            raise UsageError(
                f"{brief(name)} is no name of a voice",
                "use up to 40 letters, digits, - and _ (--voices), a letter or digit first",
            )
        if _NO_VOICES.fullmatch(folded):
            raise UsageError(
                f"no voice can be called {brief(name)}, which names another file or column",
                "choose another name (--voices)",
            )
        if folded in seen:
            raise UsageError(
                f"two voices are called {seen[folded]}", "number them in --voices, as in tenor1"
            )
        seen[folded] = name
