"""One self-contained page about a separation or an evaluation.

The page opens from the disk: sounds, pictures, style and program are inside, and its own policy
forbids it to load anything else. It is written aside and renamed.
"""

from __future__ import annotations

import json
import math
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import umss_jax
from umss_jax.errors import OutputError, ReportError
from umss_jax.files import working_folder
from umss_jax.report.config import ReportConfig
from umss_jax.report.evaluation import STATISTICS, evaluation_page, is_evaluation
from umss_jax.report.excerpts import FEWER, excerpts_player
from umss_jax.report.separation import Sources, is_separation, separation_page
from umss_jax.report.sounds import Advance, nobody
from umss_jax.separation.outputs import is_page


class Report(NamedTuple):
    """A page that was written."""

    path: Path
    megabytes: float


def write_reports(
    source: Path,
    sources: Sources | None = None,
    frames: Path | None = None,
    config: ReportConfig = ReportConfig(),
    advance: Advance = nobody,
) -> list[Report]:
    """Writes the page, or pages, about one folder or file.

    A folder of `umss-jax separate` or of `umss-jax evaluate --out` gets ``report.html``; a file of
    `umss-jax evaluate --json` gets ``<name>.report.html`` beside it, and so does every such file in
    any other folder.

    Args:
        source: The folder or file.
        sources: What to show of a separation besides its own files.
        frames: What ``evaluate --csv`` wrote, for one evaluation; by default found by its name.
        config: Sizes and limits.
        advance: Told which part of the page of a separation is done.

    Raises:
        ReportError: There is nothing to show, or something is missing.
        AudioError: A sound cannot be decoded.
        OutputError: The page cannot be written, or would replace somebody else's.
    """
    try:
        source.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ReportError(f"{source} does not exist", "check the path") from error
    except OSError as error:  # rights, or a name that is too long
        raise ReportError(
            f"{source} cannot be read ({error.strerror})", "check the path"
        ) from error
    if source.is_dir() and is_separation(source):
        page = separation_page(source, sources, config, advance)
        return [_write(source / "report.html", "separation.html", page, config)]
    if source.is_file():
        return [_evaluation(source, frames, config)]
    files = [path for path in sorted(source.glob("*.json")) if is_evaluation(path)]
    if not files:
        raise ReportError(*_nothing_here(source))
    return [_evaluation(path, frames, config) for path in files]


def _evaluation(path: Path, frames: Path | None, config: ReportConfig) -> Report:
    is_folder = path.name == STATISTICS
    page = evaluation_page(path, frames)
    page["player"] = excerpts_player(path.parent / "audio", config) if is_folder else None
    target = path.with_name("report.html") if is_folder else path.with_suffix(".report.html")
    return _write(target, "evaluation.html", page, config, FEWER)


def _nothing_here(folder: Path) -> tuple[str, str]:
    """What is wrong with a folder, and the nearest folder that would do."""
    below = sorted(
        path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/manifest.json")
    )
    message = f"{folder} holds neither a separation (manifest.json) nor an evaluation (.json)"
    if below:
        return message, f"name the folder of a recording, such as {below[0]}"
    return message, "name what umss-jax separate or umss-jax evaluate --out wrote"


def _write(
    target: Path,
    template: str,
    page: dict[str, Any],
    config: ReportConfig,
    remedy: str = "show a part of it with --start and --seconds",
) -> Report:
    """Renders the page and puts it in its place."""
    if os.path.lexists(target) and not (target.is_file() and is_page(target)):
        raise OutputError(f"{target} exists and is no report of ours", "move it away")
    # JSON may hold halves of characters, which no file can.
    content = _render(template, page).encode("utf-8", "replace")
    megabytes = len(content) / 1e6
    if megabytes > config.most_megabytes:
        raise ReportError(
            f"{target} would be {megabytes:.3g} MB (limit {config.most_megabytes:.3g} MB)",
            f"{remedy}, or raise --max-mb",
        )
    with working_folder(target) as work:
        made = work / target.name
        made.write_bytes(content)
        os.replace(made, target)
    return Report(target, megabytes)


def _render(template: str, page: dict[str, Any]) -> str:
    """The HTML of a page, by a file in ``templates``."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("umss_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_function"] = partial(
        json.dumps, separators=(",", ":"), allow_nan=False
    )
    environment.filters["score"] = _score
    return environment.get_template(template).render(version=umss_jax.__version__, **page)


def _score(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else "–"
