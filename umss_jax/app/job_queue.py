"""One job after the other: what waits, what runs and how far it is, what was done."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from umss_jax.app import stages
from umss_jax.app.jobs import ENDED, Job, Outcome, State
from umss_jax.app.shelf import MADE, Shelf
from umss_jax.app.stages import Heard, Told
from umss_jax.app.work import Task
from umss_jax.app.worker import Refused, StoppedError, Worker
from umss_jax.errors import OutputError, one_line

_DIED = (
    "the process that separates has ended unasked, perhaps for lack of memory: try again, or "
    "separate a shorter part"
)


class JobQueue:
    """The jobs of a folder, done in turn by one worker; safe to be used from any thread."""

    def __init__(self, shelf: Shelf, worker: Worker, page_s: float) -> None:
        self._shelf, self._worker, self._page_s = shelf, worker, page_s
        self._changed = threading.Condition()
        self._jobs = {job.id: job for job in shelf.load()}
        self._running: str | None = None
        self._cancelled: set[str] = set()
        self._heard: Heard | None = None
        self._factors = dict(stages.FACTORS)
        self._closing = False
        self.version = 0
        """Grows with every change."""
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def close(self) -> None:
        """Stops the job that runs, which is then interrupted, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._worker.stop()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def get(self, name: str) -> Job | None:
        """The job of this id."""
        with self._changed:
            return self._jobs.get(name)

    @property
    def is_busy(self) -> bool:
        """Whether a job runs: what is left of it changes with the time."""
        return self._running is not None

    def add(self, job: Job) -> None:
        """Puts a job, whose folder is there, at the end."""
        self._put(job)

    def cancel(self, name: str) -> bool:
        """Ends a job that waits or runs; whether there was one."""
        with self._changed:
            job = self._jobs.get(name)
            if job is None or job.state not in (State.WAITING, State.RUNNING):
                return False
            self._cancelled.add(name)
            if self._running == name:
                self._worker.stop()  # in here, so that it cannot be the next job that is stopped
            else:
                self._put(job._replace(state=State.CANCELLED))
        return True

    def retry(self, name: str) -> bool:
        """Puts a job that has failed, or was cancelled or interrupted, at the end once more."""
        with self._changed:
            job = self._jobs.get(name)
            if job is None or job.state not in ENDED:
                return False
            self._cancelled.discard(name)
            del self._jobs[name]
            self._put(job._replace(state=State.WAITING, error="", outcome=None))
        return True

    def remove(self, name: str) -> bool:
        """Removes a job that has ended with all its files; whether there was one."""
        with self._changed:
            job = self._jobs.get(name)
            if job is None or job.state in (State.WAITING, State.RUNNING):
                return False
            del self._jobs[name]
            self._touch()
        self._shelf.remove(job)
        return True

    def snapshot(self) -> list[dict[str, Any]]:
        """What pages show, the newest first."""
        with self._changed:
            jobs, heard, running = list(self._jobs.values()), self._heard, self._running
            factors = dict(self._factors)
        shown = []
        for job in reversed(jobs):
            one: dict[str, Any] = {
                "id": job.id,
                "name": job.recording,
                "score": job.score,
                "added_s": job.added_s,
                "state": job.state,
                "error": job.error,
                "pages": [],
                "notes": [],
            }
            if job.outcome is not None:
                one["pages"] = [page._asdict() for page in job.outcome.pages]
                one["notes"] = list(job.outcome.notes)
            if job.id == running and heard is not None:
                names = stages.stages_of(bool(job.score), job.practice)
                one |= stages.progress_of(heard, time.monotonic(), names, factors)._asdict()
            shown.append(one)
        return shown

    def _touch(self) -> None:
        self.version += 1
        self._changed.notify_all()

    def _put(self, job: Job) -> None:
        """Shows a job as it now is, and keeps it; a full disk must not stop the others."""
        with self._changed:
            self._jobs[job.id] = job
            self._touch()
            with contextlib.suppress(OutputError):
                self._shelf.save(job)

    def _next(self) -> Job | None:
        """The next job that waits, as running; None at the end."""
        with self._changed:
            while not self._closing:
                waiting = [job for job in self._jobs.values() if job.state == State.WAITING]
                if waiting:
                    job = waiting[0]._replace(state=State.RUNNING)
                    self._running, self._heard = job.id, None
                    self._put(job)
                    return job
                self._changed.wait()
        return None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            done = self._do(job)
            if done.outcome is None:
                self._shelf.clear(job)
            with self._changed:
                self._running = self._heard = None
                self._put(done)

    def _do(self, job: Job) -> Job:
        folder = self._shelf.folder_of(job)
        recording, score = self._shelf.recording_of(job), self._shelf.score_of(job)
        self._shelf.clear(job)  # of an earlier try
        task = Task(recording, score, folder, MADE, job.practice, self._page_s)
        try:
            answer = self._worker.run(task, self._tell)
        except StoppedError:
            if job.id in self._cancelled:
                return job._replace(state=State.CANCELLED)
            if self._closing:
                return job._replace(state=State.INTERRUPTED)
            return job._replace(state=State.FAILED, error=_DIED)
        except Exception as error:  # a defect: the next job still gets its chance
            line = one_line(f"{type(error).__name__}: {error}")
            return job._replace(state=State.FAILED, error=line)
        if isinstance(answer, Refused):
            return job._replace(state=State.FAILED, error=answer.line)
        assert isinstance(answer, Outcome)
        with self._changed:
            self._learn(time.monotonic())  # of the last stage, which no other follows
        return job._replace(state=State.DONE, outcome=answer)

    def _tell(self, told: Told) -> None:
        now_s = time.monotonic()
        with self._changed:
            stops = self._closing or self._running in self._cancelled
        if stops:  # it was asked for just before the job began
            self._worker.stop()
        with self._changed:
            before = self._heard
            if before is not None and before.told.stage != told.stage:
                self._learn(now_s)
            self._heard = stages.heard_now(before, told, now_s)
            self._touch()

    def _learn(self, now_s: float) -> None:
        """Remembers how long the stage took that is over now."""
        if self._heard is not None:
            self._factors = stages.learnt(self._factors, self._heard, now_s)
