"""The folder of a training run: configuration, metrics, state; and the list of all runs.

``config.toml`` (every setting, resolved), ``metrics.jsonl`` (a row a step, a row a validation),
``state.json`` (where it stands), ``checkpoints/<phase>``, ``tensorboard``, and
``weights.safetensors`` with its metadata: the best so far, ready for ``umss-jax separate -n``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.config import with_networks
from umss_jax.config_tree import build, differences, plain, to_toml
from umss_jax.errors import OutputError, UmssError, UsageError
from umss_jax.files import write_text
from umss_jax.train.config import PretrainConfig, TrainConfig

_FORMAT_2 = "# umss-jax run, format 2: the model's settings are those that its weights carry"

_MAY_CHANGE = {"max_epochs", "patience", "tensorboard", "parallel", "checkpoint_steps"}
"""Settings that a resumed run may have otherwise: they do not change the steps done before."""


class RunResult(NamedTuple):
    """How a run ended."""

    steps: int
    """Of all phases."""
    best_loss: float
    """Of the last phase."""
    weights: Path


class RunFolder:
    """The folder of one run, new or to be resumed; of several hosts one ``writes`` to it.

    Raises:
        UsageError: the folder holds a run of other settings, or one that is still going.
        OutputError: it cannot be written.
    """

    def __init__(
        self, path: Path, config: TrainConfig | PretrainConfig, writes: bool = True
    ) -> None:
        self.path, self.writes = path, writes
        self._metrics = path / "metrics.jsonl"
        settings = plain(config)
        before = path / "config.toml"
        if before.is_file():
            changed = differences(plain(_settings_of(before, config)), settings)
            changed = [key for key in changed if key not in _MAY_CHANGE]
            if changed:
                raise UsageError(
                    f"{path} is a run with another {', '.join(changed[:5])}",
                    "give this one another name, or set what was there",
                )
        state = read_state(path)
        if writes and state.get("state") == "running" and state.get("pid") != os.getpid():
            raise UsageError(
                f"{path} is being trained by process {state['pid']}", "wait for it or end it"
            )
        self._write("config.toml", f"{_FORMAT_2}\n{to_toml(settings)}\n")

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends a row of metrics."""
        if not self.writes:
            return
        try:
            with open(self._metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(
                f"{self._metrics} cannot be written ({error.strerror})", "make room"
            ) from error

    def forget_after(self, phase: int, step: int) -> None:
        """Drops rows of steps after a checkpoint, which are about to be done again."""
        rows = [
            row for row in read_metrics(self.path) if (row["phase"], row["step"]) <= (phase, step)
        ]
        self._write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    @contextlib.contextmanager
    def going(self) -> Iterator[None]:
        """Says *running* inside, and afterwards how it ended."""
        self.set_state("running")
        try:
            yield
        except UmssError as error:
            self.set_state("failed", error=str(error))
            raise
        except (KeyboardInterrupt, SystemExit):
            self.set_state("interrupted")
            raise
        except BaseException as error:
            self.set_state("failed", error=repr(error))
            raise
        self.set_state("finished")

    def set_state(self, state: str, **details: Any) -> None:
        """Says where the run stands: running, finished, interrupted or failed."""
        current = {
            **{k: v for k, v in read_state(self.path).items() if k not in ("state", "error")},
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


def _settings_of(path: Path, config: TrainConfig | PretrainConfig) -> TrainConfig | PretrainConfig:
    """The settings in a run's ``config.toml``; those that it does not name are at their defaults.

    Before format 2 the networks of the weights and the thresholds of their kind counted, whatever
    ``config.toml`` said of them: now those of ``config``, of the run that is to resume.
    """
    text = path.read_text(encoding="utf-8")
    had = build(type(config), tomllib.loads(text))
    if text.startswith(_FORMAT_2):
        return had
    model = with_networks(had.model, config.model.salience_network, config.model.assignment_network)
    unet = dataclasses.replace(model.unet, condition=config.model.unet.condition)
    return dataclasses.replace(had, model=dataclasses.replace(model, unet=unet))


def read_state(path: Path) -> dict[str, Any]:
    """``state.json`` of a run; a run whose process is gone is ``killed``, none is empty."""
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(state, dict):
        return {}
    is_here = state.get("state") == "running" and state.get("host") == platform.node()
    if is_here and not _alive(state.get("pid")):
        state["state"] = "killed"
    return state


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``; a last line that a killed run left unfinished is dropped."""
    rows = []
    try:
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def list_runs(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and state of every run in a folder, by name."""
    if not folder.is_dir():
        return []
    found = [(one.name, read_state(one)) for one in sorted(folder.iterdir()) if one.is_dir()]
    return [(name, state) for name, state in found if state]


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    try:
        # On Linux, a zombie has ended and only its parent has not noticed.
        return Path(f"/proc/{int(pid)}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return True
