"""The rows of a table as training runs: their settings, their weights, their scores."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umss_jax.data.config import Dataset
from umss_jax.data.test_sets import quartets_of
from umss_jax.errors import UmssError, UsageError
from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.train.run_folder import read_state
from umss_jax.train.run_weights import WEIGHTS
from umss_jax.train.settings import build_run, read_tree
from umss_jax.train.strategies import SCHEDULES

HERE = Path(__file__).parent
_UNET = ("batch=16", "optimiser.learning_rate=1e-3", "model.unet.condition=original")
"""What the reference sets otherwise where it trains a U-Net."""


class AbsentError(Exception):
    """Why a row or a table stays empty."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str
    run: str
    """``<data set>_<strategy>``: a configuration of ``configs/``, and what it trains."""
    published: dict[str, list[float]]
    assigner: str = "voas-cnn"
    phase: str = ""
    """Weights after this phase, instead of the last."""

    @property
    def strategy(self) -> str:
        """How the run is trained."""
        return self.run.split("_", 1)[1]

    def command(self) -> tuple[Path, list[str]]:
        """The configuration of the run, and what is set over it."""
        data_set = self.run.split("_", 1)[0]
        settings = [f"name={self.run}", f"strategy={self.strategy}"]
        if self.strategy == "unet":
            settings += _UNET
        return HERE / "configs" / f"{data_set}.toml", settings


@dataclass(frozen=True)
class TestSet:
    """What the rows are tested on."""

    dataset: str
    folder: str
    songs: tuple[str, ...] = ()
    limit: int = 0

    __test__ = False


@dataclass
class Session:
    """Where everything is, and what was already trained."""

    datasets: Path
    runs: Path
    out: Path
    quick: bool
    train: bool
    songs: tuple[str, ...]
    loaded: dict[str, str]
    """Models that need no training, by run."""
    trained: dict[str, str | AbsentError] = field(default_factory=dict)


def count_excerpts(test_set: TestSet, session: Session) -> int:
    """Number of excerpts of a test set that is there.

    Raises:
        AbsentError: it is not, or not all of it.
    """
    folder = session.datasets / test_set.folder
    if not folder.is_dir():
        raise AbsentError(f"the test set {test_set.folder} is not in {session.datasets}")
    protocol = EvaluationConfig()
    try:
        quartets = quartets_of(
            Dataset(test_set.dataset),
            folder,
            test_set.songs,
            audio=protocol.audio,
            length_tolerance_s=protocol.stem_length_tolerance_s,
        )
    except UmssError as error:
        raise AbsentError(f"the test set is not whole ({error}); --song takes a part") from error
    count = sum(len(quartet.start_frames) for quartet in quartets)
    return min(count, test_set.limit) if test_set.limit else count


def weights_of(row: Row, session: Session) -> str:
    """The weights of a row, trained if they are not there.

    Raises:
        AbsentError: neither weights nor data are there, or training failed.
    """
    if row.run in session.loaded:
        if row.phase:
            raise AbsentError(f"the weights given for {row.run} are those after its last phase")
        return session.loaded[row.run]
    name = f"quick_{row.strategy}" if session.quick else row.run
    if name not in session.trained:
        try:
            session.trained[name] = _train(row, name, session)
        except AbsentError as absent:
            session.trained[name] = absent
    found = session.trained[name]
    if isinstance(found, AbsentError):
        raise found
    path = session.runs / name
    weights = path / "phases" / f"{row.phase}.safetensors" if row.phase else path / WEIGHTS
    if not weights.is_file():
        raise AbsentError(f"{weights} is not there")
    return str(weights)


def _train(row: Row, name: str, session: Session) -> str:
    """Trains a run, or finds it finished; returns its folder.

    Raises:
        AbsentError: its data are not there, or training failed.
    """
    folder = session.runs / name
    if read_state(folder).get("state") == "finished" and (folder / WEIGHTS).is_file():
        return str(folder)
    if not session.train:
        raise AbsentError(f"{folder} holds no finished run")
    file, overrides = row.command()
    if session.quick:
        epochs = json.dumps([1] * len(SCHEDULES[row.strategy]))
        file = HERE / "tables" / "quick.toml"
        overrides = [f"name={name}", f"strategy={row.strategy}", f"epochs={epochs}"]
    config = build_run(read_tree(file), overrides)
    for part, chosen in (("train", config.data.train), ("validation", config.data.validation)):
        folders = [session.datasets / Path(one).name for one in chosen.folders]
        for one in folders:
            if not one.is_dir():
                raise AbsentError(
                    f"needs {one.name} for training, which is not in {session.datasets}"
                )
        overrides.append(f"data.{part}.folders={json.dumps([str(one) for one in folders])}")
    done = run_command(["train", str(file), *overrides, "--runs", str(session.runs), "--quiet"])
    if done:
        raise AbsentError(f"training of {name} failed with exit code {done}")
    return str(folder)


def evaluate(
    rows: list[Row], models: dict[str, str], test_set: TestSet, session: Session
) -> dict[str, Any]:
    """Statistics by label: rows with models, and those for scale."""
    scores: dict[str, Any] = {}
    for assigner in dict.fromkeys(row.assigner for row in rows):
        chosen = {row.label: models.get(row.label) for row in rows if row.assigner == assigner}
        arguments = [f"{label}={model}" for label, model in chosen.items() if model]
        if scores and not arguments:
            continue
        arguments = arguments or ["--baselines"]
        out = session.out / "evaluation"
        folder = str(session.datasets / test_set.folder)
        arguments += ["--data", folder, "--dataset", test_set.dataset, "--assigner", assigner]
        # The published accuracies of F0 were taken over the windows of the published code.
        arguments += ["--f0-windows", "reference", "-o", str(out), "--quiet"]
        for song in test_set.songs:
            arguments += ["--song", song]
        if test_set.limit:
            arguments += ["--limit", str(test_set.limit)]
        out.mkdir(parents=True, exist_ok=True)
        if done := run_command(["evaluate", *arguments], show=False):
            raise UsageError(f"evaluation failed with exit code {done}", "see the message above")
        scores |= json.loads((out / "statistics.json").read_text(encoding="utf-8"))
    return scores


def run_command(arguments: list[str], show: bool = True) -> int:
    """Runs umss-jax in a process of its own, which gives its memory back."""
    print("$ umss-jax", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "umss_jax", *arguments]
    out = sys.stderr if show else subprocess.DEVNULL
    return subprocess.run(command, stdout=out, check=False).returncode
