"""What an evaluation writes: a Markdown table, statistics as JSON, every frame as CSV."""

from __future__ import annotations

import csv
import enum
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from umss_jax.errors import printable
from umss_jax.evaluate.protocol import StemEvaluation, summarise_f0, summarise_stems
from umss_jax.evaluate.run import Measures, Result
from umss_jax.evaluate.statistics import Summary

MEASURES = {
    "si_sdr_db": "SI-SDR",
    "spectral_snr_db": "SNR sp.",
    "spectral_si_snr_db": "SI-SNR sp.",
    "mel_cepstral_distance": "MCD",
}
BSS_MEASURES = {"sdr_db": "SDR", "sir_db": "SIR", "sar_db": "SAR"}
F0_MEASURES = {
    "overall_accuracy": "OA",
    "raw_pitch_accuracy": "RPA",
    "raw_chroma_accuracy": "RCA",
}
_DEFAULT = Measures()


class Group(enum.StrEnum):
    """What the statistics may be split by."""

    SONG = "song"
    VOICE = "voice"


Summaries = dict[str, Summary]


def table(results: Sequence[Result]) -> str:
    """Markdown: mean / median of each measure, the interval of the first, F0 accuracies."""
    return _markdown(
        [(one.label, one.stems.summary, one.f0.summary if one.f0 else None) for one in results]
    )


def group_tables(results: Sequence[Result], by: Group, measures: Measures) -> str:
    """Markdown: one such table for every song or voice, under its name."""
    text = ""
    for name in _group_names(results[0], by):
        rows = [(one.label, *_of_group(one, by, name, measures)) for one in results]
        text += f"\n{by}: {printable(name)}\n\n{_markdown(rows)}"
    return text


def statistics(
    results: Sequence[Result], groups: Sequence[Group] = (), measures: Measures = _DEFAULT
) -> dict[str, Any]:
    """All summaries by label, as JSON holds them: what is undefined is null.

    ``stems`` and ``f0`` (None where there is none) by measure; ``multi_pitch`` means where there
    is F0; for each group ``songs`` or ``voices``, with the first two by name.
    """
    table: dict[str, Any] = {}
    for one in results:
        row = _plain_pair(one.stems.summary, one.f0.summary if one.f0 else None)
        if one.f0:
            row["multi_pitch"] = {
                name: float(np.mean(values))
                for name, values in one.f0.multi_pitch._asdict().items()
            }
        for by in groups:
            row[f"{by}s"] = {
                name: _plain_pair(*_of_group(one, by, name, measures))
                for name in _group_names(one, by)
            }
        table[one.label] = row
    return table


def frames(results: Sequence[Result]) -> str:
    """Every second of every voice as CSV; undefined scores are empty.

    F0 accuracies stand beside the scores of stems where they were taken per second.
    """
    has_bss = any(one.stems.bss for one in results)
    of_stems = [*MEASURES, *(BSS_MEASURES if has_bss else ())]
    # F0 accuracies are columns if there are any and each belongs to one second.
    tracks = [one.f0 for one in results if one.f0 and one.f0.kept.shape == one.stems.kept.shape]
    of_f0 = tracks[0].scores._fields if tracks else ()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["row", "excerpt", "voice", "second", "energy", "kept"]
    writer.writerow([*head, *of_stems, *of_f0, "song"])
    for one in results:
        scores = one.stems.measures()
        f0 = one.f0.scores._asdict() if one.f0 and of_f0 else {}
        for index in np.ndindex(one.stems.energy.shape):
            excerpt, voice, second = index
            columns = [scores.get(key) for key in of_stems] + [f0.get(key) for key in of_f0]
            writer.writerow(
                [
                    *(one.label, one.stems.names[excerpt], one.voices[voice], second),
                    f"{one.stems.energy[index]:.5f}",
                    int(one.stems.kept[index]),
                    *(_cell(values, index) for values in columns),
                    one.songs[excerpt],
                ]
            )
    return text.getvalue()


def _cell(values: np.ndarray | None, index: tuple[int, ...]) -> str:
    return "" if values is None or np.isnan(values[index]) else f"{values[index]:.5f}"


def _markdown(rows: Sequence[tuple[str, Summaries, Summaries | None]]) -> str:
    has_f0 = any(f0 for _, _, f0 in rows)
    measures = {**MEASURES, **(BSS_MEASURES if "sdr_db" in rows[0][1] else {})}
    heads = ["", *measures.values(), "SI-SDR 95 %", "frames", "undefined"]
    heads += F0_MEASURES.values() if has_f0 else []
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for label, stems, f0 in rows:
        main = stems["si_sdr_db"]
        cells = [printable(label).replace("|", "\\|")]
        cells += [f"{stems[key].mean:.2f} / {stems[key].median:.2f}" for key in measures]
        cells += [f"{main.mean_low:.2f} to {main.mean_high:.2f}"]
        cells += [str(main.frames), str(main.undefined)]
        if has_f0:
            cells += [f"{f0[key].mean:.3f}" if f0 else "" for key in F0_MEASURES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _group_names(result: Result, by: Group) -> list[str]:
    return list(result.voices) if by is Group.VOICE else list(dict.fromkeys(result.songs))


def _of_group(
    result: Result, by: Group, name: str, measures: Measures
) -> tuple[Summaries, Summaries | None]:
    """Statistics over one song or voice."""
    chosen: Any = (
        (slice(None), result.voices.index(name))
        if by is Group.VOICE
        else np.asarray([song == name for song in result.songs])
    )
    stems: StemEvaluation = result.stems
    return (
        summarise_stems(stems, measures.undefined_as, chosen, measures.config),
        summarise_f0(result.f0, chosen, measures.config) if result.f0 else None,
    )


def _plain_pair(stems: Summaries, f0: Summaries | None) -> dict[str, Any]:
    return {"stems": _plain(stems), "f0": _plain(f0) if f0 else None}


def _plain(summaries: Summaries) -> dict[str, Any]:
    return {
        measure: {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in summary._asdict().items()
        }
        for measure, summary in summaries.items()
    }
