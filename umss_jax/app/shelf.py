"""The folder of all jobs: each in a folder of its own, with what was given and what was made."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from umss_jax.app.jobs import Job, State, as_tree, from_tree
from umss_jax.documents import NoDocumentError, read_json
from umss_jax.errors import OutputError, UsageError
from umss_jax.files import check_place, home, write_text
from umss_jax.locks import take

GIVEN, MADE = "given", "made"
"""Folders of a job."""
_RECORD, _LOCK = "job.json", "lock"


def usual_folder() -> Path:
    """Where results are kept if nobody says otherwise: not in a cache, which may be emptied."""
    if os.environ.get("UMSS_JAX_HOME"):
        return home() / "app"
    import platformdirs

    return Path(platformdirs.user_data_dir("umss-jax", appauthor=False)) / "app"


class Shelf:
    """The jobs of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the folder for this process, which it makes where it is missing.

        Raises:
            OutputError: it cannot be written.
            UsageError: another process has it.
        """
        check_place(self.folder / _RECORD)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be written ({error.strerror})", "choose another -o"
            ) from error
        try:
            if take(file) is False:
                raise UsageError(
                    f"another umss-jax app keeps its results in {self.folder}",
                    "use its page, or choose another -o",
                )
            yield
        finally:
            os.close(file)

    def new_id(self) -> str:
        """A name for a job's folder; later ones come later in the alphabet."""
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"

    def folder_of(self, job: Job) -> Path:
        """Where a job's files are."""
        return self.folder / job.id

    def recording_of(self, job: Job) -> Path:
        """What is to be separated."""
        return self.folder_of(job) / GIVEN / job.recording

    def score_of(self, job: Job) -> Path | None:
        """Its score."""
        return self.folder_of(job) / GIVEN / job.score if job.score else None

    def save(self, job: Job) -> None:
        """Keeps what is known of a job.

        Raises:
            OutputError: there is no room.
        """
        write_text(self.folder_of(job) / _RECORD, json.dumps(as_tree(job), indent=2) + "\n")

    def load(self) -> list[Job]:
        """All jobs, the oldest first; those that had not ended were interrupted."""
        found = []
        for path in sorted(self.folder.glob(f"*/{_RECORD}")):
            try:
                job = from_tree(read_json(path), path.parent.name)
            except (OSError, NoDocumentError, ValueError, TypeError, KeyError, AttributeError):
                continue  # somebody else's folder
            if job.state in (State.WAITING, State.RUNNING):
                job = job._replace(state=State.INTERRUPTED)
            found.append(job)
        return sorted(found, key=lambda job: (job.added_s, job.id))

    def clear(self, job: Job) -> None:
        """Removes what a job has made."""
        shutil.rmtree(self.folder_of(job) / MADE, ignore_errors=True)

    def remove(self, job: Job) -> None:
        """Removes a job and all its files."""
        (self.folder_of(job) / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.folder_of(job), ignore_errors=True)
