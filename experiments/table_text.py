"""A filled table of the paper as Markdown: published figures left of ours."""

from __future__ import annotations

from typing import Any

HEADS = {
    "si_sdr_db": "SI-SDR [dB]",
    "overall_accuracy": "OA [%]",
    "raw_pitch_accuracy": "RPA [%]",
    "raw_chroma_accuracy": "RCA [%]",
}


def markdown(table: dict[str, Any]) -> str:
    """A filled table for people to read: published figures left of ours."""
    lines = [f"# {table['title']}", ""]
    if table["quick"]:
        lines += [
            "**Quick run: a few steps of training on other data, a few excerpts. Our figures say "
            "that the scripts work and nothing else.**",
            "",
        ]
    test_set = table["test_set"]
    songs = test_set["songs"]
    of = songs if isinstance(songs, str) else ", ".join(songs)
    lines += [
        f"Test set: {test_set['dataset']}, {of}, {test_set['excerpts']} excerpts of 4 s. Mean / "
        f"median. Commit {table['commit']}, {table['date']}, {table['machine']}, "
        f"{table['seconds']} s with training.",
        "",
    ]
    heads = [""]
    for measure in table["measures"]:
        heads += [f"{HEADS[measure]} published", "ours"]
    lines += ["| " + " | ".join([*heads, "95 % of SI-SDR"]) + " |"]
    lines += ["|" + " --- |" * (len(heads) + 1)]
    for row in table["rows"]:
        lines.append(_line(row["label"], row["published"], row["ours"], table["measures"]))
    for label, ours in table["for_scale"].items():
        if ours:
            lines.append(_line(label, {}, ours, table["measures"]))
    empty: dict[str, list[str]] = {}
    for row in table["rows"]:
        if row["empty_because"]:
            empty.setdefault(row["empty_because"], []).append(row["label"])
    if empty:
        lines += ["", "Empty:", ""]
        lines += [f"- {'; '.join(labels)}: {reason}" for reason, labels in empty.items()]
    return "\n".join(lines) + "\n"


def _line(
    label: str,
    published: dict[str, list[float]],
    ours: dict[str, dict[str, float]] | None,
    measures: list[str],
) -> str:
    cells = [label]
    for measure in measures:
        is_db = measure.endswith("_db")
        figures = published.get(measure)
        cells.append(" / ".join(f"{x:.2f}" if is_db else f"{x:g}" for x in figures or ()))
        found = (ours or {}).get(measure)
        values = [found["mean"], found["median"]] if found else []
        cells.append(
            " / ".join(
                "–" if x is None else f"{x:.2f}" if is_db else f"{100 * x:.1f}" for x in values
            )
        )
    main = (ours or {}).get("si_sdr_db")
    if main and main["mean_low"] is not None:
        cells.append(f"{main['mean_low']:.2f} to {main['mean_high']:.2f}")
    else:
        cells.append("")
    return "| " + " | ".join(cells) + " |"
