"""The queue: one after the other, cancelled, tried again, interrupted, and never stuck."""

import pytest
from app_parts import StubWorker, wait_until, write_song

from umss_jax.app.job_queue import JobQueue
from umss_jax.app.jobs import Job, State
from umss_jax.app.shelf import GIVEN, MADE, Shelf
from umss_jax.app.stages import FACTORS
from umss_jax.errors import OutputError


def make_job(shelf, name, song=True):
    job = Job(name, f"{name}.wav", 0.0, practice=False)
    place = shelf.folder_of(job) / GIVEN
    place.mkdir(parents=True)
    if song:
        write_song(place / job.recording)
    else:
        (place / job.recording).write_text("no sound")
    return job


class Desk:
    """A queue and what it works on."""

    def __init__(self, folder):
        self.shelf, self.worker = Shelf(folder), StubWorker()
        self.queue = JobQueue(self.shelf, self.worker, 240.0)

    def state(self, name):
        return self.queue.get(name).state

    def reaches(self, name, state):
        wait_until(lambda: self.state(name) == state)


def of_row(queue, *keys):
    """Some of what is shown of the newest job."""
    return [queue.snapshot()[0].get(key) for key in keys]


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    made.queue.start()
    yield made
    made.queue.close()


def test_one_after_the_other(desk):
    desk.worker.hold()
    for name in ("b", "a"):
        desk.queue.add(make_job(desk.shelf, name))
    wait_until(lambda: desk.queue.snapshot()[1].get("stage") == "separating")
    newest, oldest = desk.queue.snapshot()
    assert (newest["id"], newest["state"]) == ("a", "waiting")
    assert (oldest["id"], oldest["state"]) == ("b", "running")
    assert 0 < oldest["part"] < 1
    assert oldest["left_s"] > 0
    version = desk.queue.version
    desk.worker.goes_on.set()
    desk.reaches("a", State.DONE)
    assert desk.worker.asked == ["b.wav", "a.wav"]
    assert desk.queue.version > version
    assert [one["pages"] for one in desk.queue.snapshot()] == [
        [{"file": "listen-1.html", "label": ""}]
    ] * 2


def test_how_long_a_stage_took_is_known_the_next_time(desk):
    desk.queue.add(make_job(desk.shelf, "a"))
    desk.reaches("a", State.DONE)
    learnt = {stage for stage in FACTORS if desk.queue._factors[stage] != FACTORS[stage]}
    assert {"loading the model", "making the page"} <= learnt  # the last one too
    assert "following the score" not in learnt  # which did not come


def test_what_waits_or_runs_is_cancelled_and_leaves_nothing(desk):
    desk.worker.hold()
    jobs = [make_job(desk.shelf, name) for name in ("a", "b", "c")]
    for job in jobs:
        desk.queue.add(job)
    wait_until(lambda: desk.queue.snapshot()[-1].get("stage") == "separating")
    assert desk.queue.cancel("b")
    assert desk.state("b") == State.CANCELLED
    assert desk.queue.cancel("a")
    desk.reaches("a", State.CANCELLED)
    desk.reaches("c", State.RUNNING)
    assert not (desk.shelf.folder_of(jobs[0]) / MADE).exists()
    assert not desk.queue.cancel("a")
    desk.worker.goes_on.set()
    desk.reaches("c", State.DONE)
    assert desk.worker.asked == ["a.wav", "c.wav"]
    assert desk.queue.retry("a")
    desk.reaches("a", State.DONE)
    assert not desk.queue.retry("a")


def test_the_page_shows_how_far_it_is_and_can_be_cancelled_while_it_is_made(desk):
    desk.worker.hold("making the page")
    job = make_job(desk.shelf, "a")
    desk.queue.add(job)
    first = pytest.approx(5 / 8 / 6)  # 5 s of 8 of the first of six sounds
    page = "making the page"
    wait_until(lambda: of_row(desk.queue, "stage", "part") == [page, first])
    assert 0 <= desk.queue.snapshot()[0]["left_s"] < 60
    assert desk.queue.cancel("a")
    desk.reaches("a", State.CANCELLED)
    assert not (desk.shelf.folder_of(job) / MADE).exists()
    desk.worker.goes_on.set()
    assert desk.queue.retry("a")
    desk.reaches("a", State.DONE)


def test_only_what_has_ended_is_removed(desk):
    desk.worker.hold()
    job = make_job(desk.shelf, "a")
    desk.queue.add(job)
    desk.reaches("a", State.RUNNING)
    assert not desk.queue.remove("a")
    desk.worker.goes_on.set()
    desk.reaches("a", State.DONE)
    assert desk.queue.remove("a")
    assert desk.queue.get("a") is None
    assert not desk.shelf.folder_of(job).exists()
    assert not desk.queue.remove("a")


def test_a_broken_file_fails_by_one_line_without_our_folders(desk):
    for name in ("a", "b"):
        desk.queue.add(make_job(desk.shelf, name, song=name == "b"))
    desk.reaches("b", State.DONE)
    job = desk.queue.get("a")
    assert job.state == State.FAILED
    assert job.error.startswith("a.wav ")
    assert "\n" not in job.error
    assert str(desk.shelf.folder) not in job.error


def test_a_defect_fails_one_job_alone(desk, monkeypatch):
    run = desk.worker.run

    def defective(task, tell):
        if task.recording.name == "a.wav":
            raise ZeroDivisionError("of a\nsort")
        return run(task, tell)

    monkeypatch.setattr(desk.worker, "run", defective)
    for name in ("a", "b"):
        desk.queue.add(make_job(desk.shelf, name))
    desk.reaches("b", State.DONE)
    assert desk.queue.get("a").error == "ZeroDivisionError: of a sort"


def test_a_worker_that_dies_fails_its_job(desk):
    desk.worker.hold()
    desk.queue.add(make_job(desk.shelf, "a"))
    desk.reaches("a", State.RUNNING)
    desk.worker.stopped.clear()
    wait_until(lambda: desk.queue.snapshot()[0].get("stage") == "separating")
    desk.worker.stop()  # nobody asked the queue
    desk.reaches("a", State.FAILED)
    assert "try again" in desk.queue.get("a").error


def test_a_full_disk_does_not_stop_the_queue(desk, monkeypatch):
    def full(job):
        raise OutputError("no room", "make some")

    monkeypatch.setattr(desk.shelf, "save", full)
    desk.queue.add(make_job(desk.shelf, "a"))
    desk.reaches("a", State.DONE)


def test_what_the_end_of_the_program_interrupts_can_be_tried_again(tmp_path):
    first = Desk(tmp_path)
    first.queue.start()
    first.worker.hold()
    for name in ("a", "b"):
        first.queue.add(make_job(first.shelf, name))
    first.reaches("a", State.RUNNING)
    wait_until(lambda: first.queue.snapshot()[-1].get("stage") == "separating")
    first.queue.close()
    second = Desk(tmp_path)
    assert [one["state"] for one in second.queue.snapshot()] == ["interrupted"] * 2
    second.queue.start()
    assert second.queue.retry("a")
    second.reaches("a", State.DONE)
    second.queue.close()
    assert [one["state"] for one in Desk(tmp_path).queue.snapshot()] == ["interrupted", "done"]
