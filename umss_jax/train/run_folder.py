"""The folder of a training run: configuration, metrics, state; and the list of all runs.

``config.toml`` (every setting, resolved), ``inputs.json`` (hashes of what it learns from),
``metrics.jsonl`` (a row a step, a row a validation), ``state.json`` (where it stands), ``run.lock``
(held while a process trains), ``checkpoints/<phase>``, ``tensorboard``, and
``weights.safetensors`` with its metadata: the best so far, ready for ``umss-jax separate -n``.
Nothing is computed from ``metrics.jsonl`` and ``state.json``: a run resumes without them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.config_tree import plain, to_toml
from umss_jax.errors import OutputError, UmssError, UsageError
from umss_jax.files import write_text
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.resuming import FORMAT_2, PLACES, Change, changes, read_settings, refuse
from umss_jax.train.run_lock import BusyError, hold, is_held

WEIGHTS = "weights.safetensors"
"""In the folder of a run; its metadata lie in it."""

log = logging.getLogger("umss_jax")


class RunResult(NamedTuple):
    """How a run ended."""

    steps: int
    """Of all phases."""
    best_loss: float
    """Of the last phase."""
    weights: Path


class RunFolder:
    """The folder of one run, new or to be resumed; of several hosts one ``writes`` to it."""

    def __init__(
        self, path: Path, config: TrainConfig | PretrainConfig, writes: bool = True
    ) -> None:
        self.path, self.writes = path, writes
        self._config = config
        self._metrics = path / "metrics.jsonl"
        self.moved: list[Change] = []
        """Settings by which inputs are looked for elsewhere than before; once it is going."""

    @property
    def has_begun(self) -> bool:
        """Whether there is something to resume: a checkpoint, or weights that were the best."""
        return self.phases_begun > 0 or (self.path / WEIGHTS).exists()

    @property
    def phases_begun(self) -> int:
        """Number of the last phase that has a checkpoint, counted from 1; 0 for none."""
        numbers = [0]
        with contextlib.suppress(OSError):
            for folder in (self.path / "checkpoints").iterdir():
                number = folder.name.split("_")[0]
                if number.isdecimal() and steps_kept(folder):
                    numbers.append(1 + int(number))
        return max(numbers)

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends a row of metrics."""
        if not self.writes:
            return
        with _no_room(self._metrics), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def forget_after(self, phase: int, step: int) -> None:
        """Drops rows of a phase after a checkpoint, which are about to be done again.

        Rows of later phases stay: those are done again from checkpoints of their own.
        """
        rows, damaged = _rows_of(self.path)
        if damaged:
            log.warning("%s: %d damaged rows are left out", self._metrics, damaged)
        kept = [row for row in rows if row["phase"] != phase or row["step"] <= step]
        kept.sort(key=lambda row: (row["phase"], row["step"]))
        self._write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))

    def flush(self) -> None:
        """Brings the rows to the disk, before a checkpoint says that their steps are done."""
        if self.writes and self._metrics.is_file():
            with _no_room(self._metrics), open(self._metrics, "rb") as file:
                os.fsync(file.fileno())

    @contextlib.contextmanager
    def going(self) -> Iterator[None]:
        """Holds the run, says *running* inside, and afterwards how it ended.

        Raises:
            UsageError: the folder holds a run of other settings, or one that is still going.
            OutputError: it cannot be written.
        """
        with self._claimed():
            self._compare_settings()
            self.set_state("running")
            try:
                yield
            except BaseException as error:
                self._say_how_it_ended(error)
                raise
            self.set_state("finished")

    def _say_how_it_ended(self, error: BaseException) -> None:
        with contextlib.suppress(OutputError):  # where that is what ended it
            if isinstance(error, KeyboardInterrupt | SystemExit):
                self.set_state("interrupted")
            else:
                text = str(error) if isinstance(error, UmssError) else repr(error)
                self.set_state("failed", error=text)

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[None]:
        """Nobody else trains here until this ends."""
        if not self.writes:
            yield
            return
        had_lock = is_held(self.path) is not None
        with contextlib.ExitStack() as stack:
            try:
                is_locked = stack.enter_context(hold(self.path))
            except BusyError as busy:
                raise UsageError(
                    f"{self.path} is being trained by {busy}", "wait for it or end it"
                ) from busy
            state = _parsed_state(self.path)
            if not (had_lock and is_locked) and _is_going_here(state) and not _is_this(state):
                # A run of an older version, which took no lock, or where there are none.
                raise UsageError(
                    f"{self.path} is being trained by process {state['pid']}",
                    "wait for it or end it",
                )
            if not is_locked:
                log.warning(
                    "%s: this file system keeps no locks; do not train this run from another host",
                    self.path,
                )
            yield

    def _compare_settings(self) -> None:
        """Refuses other settings than those of before; keeps these."""
        if self.has_begun:
            had = read_settings(self.path / "config.toml", self._config)
            if had is not None:
                found = changes(had, self._config, self.phases_begun)
                refuse(self.path, [change for change in found if change.key not in PLACES])
                self.moved = found
        self._write("config.toml", f"{FORMAT_2}\n{to_toml(plain(self._config))}\n")

    def set_state(self, state: str, **details: Any) -> None:
        """Says where the run stands: running, finished, interrupted or failed."""
        current = {
            **{k: v for k, v in _parsed_state(self.path).items() if k not in ("state", "error")},
            "state": state,
            "pid": os.getpid(),
            "host": platform.node(),
            "updated": time.strftime("%Y-%m-%d %H:%M:%S"),
            **details,
        }
        self._write("state.json", json.dumps(current, indent=1) + "\n")

    def _write(self, name: str, text: str) -> None:
        if self.writes:
            write_text(self.path / name, text)


def read_state(path: Path) -> dict[str, Any]:
    """``state.json`` of a run; a run whose process is gone is ``killed``, none is empty.

    Where the file is damaged the state is ``unknown``.
    """
    state = _parsed_state(path)
    if state.get("state") in ("running", "unknown"):
        held = is_held(path)
        if held:
            state["state"] = "running"
        elif state["state"] == "running" and (
            held is False or (state.get("host") == platform.node() and not _is_going_here(state))
        ):
            state["state"] = "killed"
    return state


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``, without those that are damaged or that a kill left unfinished."""
    return _rows_of(path)[0]


def steps_kept(checkpoints: Path) -> list[int]:
    """Steps of the checkpoints in the folder of a phase, in order; sound or not."""
    if not checkpoints.is_dir():
        return []
    names = [one.name for one in checkpoints.iterdir()]
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def list_runs(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and state of every run in a folder, by name."""
    if not folder.is_dir():
        return []
    found = [(one.name, read_state(one)) for one in sorted(folder.iterdir()) if one.is_dir()]
    return [(name, state) for name, state in found if state]


def _parsed_state(path: Path) -> dict[str, Any]:
    """``state.json`` as it is."""
    try:
        state = json.loads((path / "state.json").read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        state = None
    if not isinstance(state, dict) or not isinstance(state.get("state"), str):
        return {"state": "unknown"}
    return state


def _rows_of(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows, and how many lines are none; the last one may be unfinished and is not counted."""
    try:
        lines = (path / "metrics.jsonl").read_bytes().split(b"\n")
    except OSError:
        return [], 0
    rows = list(map(_row, lines))
    return [row for row in rows if row], rows[:-1].count(None)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(row, dict) and type(row.get("phase")) is type(row.get("step")) is int
    return row if fits else None


@contextlib.contextmanager
def _no_room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error})", "make room"
        ) from error


def _is_this(state: Mapping[str, Any]) -> bool:
    return state.get("pid") == os.getpid()


def _is_going_here(state: Mapping[str, Any]) -> bool:
    """Whether a state says *running* and its process is alive, as far as this host can tell."""
    pid = state.get("pid")
    if state.get("state") != "running" or state.get("host") != platform.node():
        return False
    if type(pid) is not int or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    try:
        # On Linux, a zombie has ended and only its parent has not noticed.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return True
