"""The page's answers, without a browser: uploads, files, and who may ask."""

import asyncio
import errno
import io
import json
import os
import threading
import zipfile
from urllib.parse import quote

import pytest
import soundfile
from app_parts import StubWorker, wait_until, write_song
from starlette.requests import ClientDisconnect

from umss_jax.app import uploads
from umss_jax.app.config import AppConfig
from umss_jax.app.job_queue import JobQueue
from umss_jax.app.server import make_app
from umss_jax.app.shelf import GIVEN, Shelf
from umss_jax.config import VOICES

testclient = pytest.importorskip("starlette.testclient", reason="needs starlette and httpx")

CONFIG = AppConfig(upload_megabytes=0.5, spare_megabytes=0.0, drain_s=1.0)
HERE = "http://127.0.0.1:8337"


class Place:
    """A page, its folder and whoever asks for it."""

    def __init__(self, folder, token=""):
        self.shelf, self.worker = Shelf(folder), StubWorker()
        self.queue = JobQueue(self.shelf, self.worker, CONFIG.page_s)
        self.closing = threading.Event()
        host = "192.168.1.9" if token else CONFIG.host
        config = AppConfig(host, upload_megabytes=0.5, spare_megabytes=0.0, drain_s=1.0)
        app = make_app(self.shelf, self.queue, config, token, self.closing)
        self.client = testclient.TestClient(app, base_url=HERE)

    def send(self, name, content, **headers):
        named = {uploads.RECORDING: quote(name), uploads.PRACTICE: "0", **headers}
        return self.client.post("/jobs", content=content, headers=named)

    def done(self, name="choir.wav", practice="0"):
        answer = self.send(name, self.song.read_bytes(), **{uploads.PRACTICE: practice})
        assert answer.status_code == 201, answer.text
        job = answer.json()["id"]
        wait_until(lambda: self.queue.get(job).state not in ("waiting", "running"))
        return self.queue.get(job)

    @property
    def left(self):
        """What is in the folder."""
        return sorted(path.name for path in self.shelf.folder.iterdir())


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    made = Place(folder)
    made.song = write_song(tmp_path / "song.wav", 3.0)
    made.queue.start()
    yield made
    made.queue.close()


def test_from_the_recording_to_stems_practice_files_notes_and_a_page(place):
    job = place.done(practice="1")
    assert job.state == "done", job.error
    (shown,) = place.client.get("/state").json()
    assert (shown["name"], shown["state"]) == ("choir.wav", "done")
    expected = {
        f"{voice}{mix}.flac" for voice in VOICES for mix in ("", "_predominant", "_missing")
    }
    assert set(job.outcome.files) == expected | {
        *("residual.flac", "f0.csv", "notes.mid", "manifest.json")
    }
    address = f"/jobs/{job.id}"
    page = place.client.get(f"{address}/{shown['pages'][0]['file']}")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name in (*job.outcome.files, "all.zip"):
        assert f'<a href="{name}" download>' in page.text
    assert '<a class="home" href="../../">' in page.text
    folder = place.shelf.folder_of(job) / job.outcome.place
    answer = place.client.get(f"{address}/alto.flac")
    assert answer.content == (folder / "alto.flac").read_bytes()
    named = "attachment; filename*=utf-8''choir%20alto.flac"
    assert answer.headers["content-disposition"] == named
    assert soundfile.info(io.BytesIO(answer.content)).frames == 24_000
    packed = place.client.get(f"{address}/all.zip")
    assert packed.headers["content-disposition"] == 'attachment; filename="choir.zip"'
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"choir/{name}": (folder / name).read_bytes() for name in job.outcome.files
        }


def test_a_long_recording_has_a_page_for_each_part(place):
    place.queue._page_s = 2.0
    job = place.done()
    assert [tuple(page) for page in job.outcome.pages] == [
        ("listen-1.html", "0:00–0:02"),
        ("listen-2.html", "0:02–0:03"),
    ]
    for page in job.outcome.pages:
        text = place.client.get(f"/jobs/{job.id}/{page.file}").text
        assert '"duration":1.5' in text


def test_a_score_comes_before_the_recording_in_one_upload(place):
    score, song = b"MThd and so on", place.song.read_bytes()
    place.worker.hold()
    headers = {uploads.SCORE: "song.mid", uploads.SCORE_BYTES: str(len(score))}
    answer = place.send("song.wav", score + song, **headers)
    given = place.shelf.folder / answer.json()["id"] / GIVEN
    assert (given / "song.mid").read_bytes() == score
    assert (given / "song.wav").read_bytes() == song
    job = place.queue.get(answer.json()["id"])
    wait_until(lambda: place.queue.get(job.id).state == "failed")
    assert place.queue.get(job.id).error.startswith("score song.mid cannot be read ")


@pytest.mark.parametrize("name", ["../../x.wav", "a/b\\c.wav", "\x1b]0;x\x07.wav", "é" * 200, "\0"])
def test_hostile_names_stay_inside(place, tmp_path, name):
    place.worker.hold()
    job = place.send(name, place.song.read_bytes()).json()["id"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "song.wav"]
    assert place.left == [job]
    (kept,) = (place.shelf.folder / job / GIVEN).iterdir()
    assert kept.name == place.queue.get(job).recording
    assert kept.name.isprintable()


@pytest.mark.parametrize(
    "path",
    [
        *("job.json", "..%2fjob.json", "%2e%2e%2fjob.json", "..%5cjob.json", "given", "given%2fx"),
        *("%2fetc%2fpasswd", "soprano.flac%00", "SOPRANO.FLAC", "nothing"),
    ],
)
def test_only_what_is_listed_is_given(place, path):
    job = place.done()
    answer = place.client.get(f"/jobs/{job.id}/{path}")
    assert answer.status_code == 404
    assert "added_s" not in answer.text
    for other in ("..", "x", quote("../", safe=""), job.id.upper()):
        assert place.client.get(f"/jobs/{other}/job.json").status_code == 404


def blocks(content, size=4096):
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.mark.parametrize("says_how_long", [True, False])
def test_too_large_is_refused_by_one_line_and_leaves_nothing(place, says_how_long):
    content = bytes(600_000)
    answer = place.send("big.wav", content if says_how_long else blocks(content))
    assert answer.status_code == 413
    assert answer.json()["error"] == (
        "big.wav is larger than 0.5 MB, the most that is taken: cut it, or start umss-jax app "
        "with a higher --max-upload-mb"
    )
    assert place.left == []
    assert place.send("just.wav", bytes(500_000)).status_code == 201


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({uploads.RECORDING: ""}, b"x"),
        ({}, b""),
        ({uploads.SCORE: "a.mid", uploads.SCORE_BYTES: "5"}, b"score"),
        ({uploads.SCORE: "a.mid", uploads.SCORE_BYTES: "9"}, blocks(b"score")),
        ({uploads.SCORE: "a.mid", uploads.SCORE_BYTES: "-1"}, b"score"),
        ({uploads.SCORE: "a.mid"}, b"score"),
    ],
)
def test_uploads_that_lack_something_are_refused(place, headers, content):
    answer = place.send("a.wav", content, **headers)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert place.left == []


def given(name="a.wav", total=None):
    return uploads.Given(name, "", 0, False, total)


async def body(content, before=None):
    for block in blocks(content):
        if before is not None:
            before()
        await asyncio.sleep(0)
        yield block


def receive(place, stream, **about):
    return uploads.receive(stream, given(**about), place.shelf, CONFIG)


def test_two_uploads_at_once_are_both_whole(place):
    contents = [bytes([number]) * 200_000 for number in (1, 2)]

    async def both():
        return await asyncio.gather(*(receive(place, body(one)) for one in contents))

    jobs = asyncio.run(both())
    assert [place.shelf.recording_of(job).read_bytes() for job in jobs] == contents
    assert place.left == sorted(job.id for job in jobs)


def test_what_does_not_come_whole_leaves_nothing(place):
    with pytest.raises(uploads.UploadError, match="did not come whole"):
        asyncio.run(receive(place, body(b"x" * 9_000), total=9_001))

    def gone():
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        asyncio.run(receive(place, body(b"x", gone)))
    assert place.left == []


def test_a_full_disk_is_said_and_leaves_nothing(place, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(uploads.asyncio, "to_thread", full)
        answer = place.send("a.wav", bytes(9_000))
    assert answer.status_code == 507
    assert answer.json()["error"] == "there is no room on the disk for a.wav: free some space"
    assert place.left == []
    tight = AppConfig(spare_megabytes=1e6)
    with pytest.raises(uploads.UploadError, match="no room"):
        uploads.read_headers({uploads.RECORDING: "a.wav", "content-length": "9"}, tight, 10**9)
    with pytest.raises(uploads.UploadError, match="no room"):
        asyncio.run(uploads.receive(body(b"x" * 9), given(), place.shelf, tight))
    assert place.left == []


# --- who may ask


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8337"}, 200),
        ({"host": "[::1]:8337"}, 200),
        ({"host": "evil.example:8337"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "localhost.evil.example:8337"}, 421),
        ({"origin": HERE}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
    ],
)
def test_other_sites_get_nothing(place, headers, status):
    for path in ("/state", "/"):
        assert place.client.get(path, headers=headers).status_code == status
    answer = place.send("a.wav", b"sound", **headers)
    assert answer.status_code == (201 if status == 200 else status)
    assert bool(place.left) == (status == 200)


def test_a_link_from_elsewhere_may_lead_here_and_do_nothing(place):
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert place.client.get("/", headers=link).status_code == 200
    assert place.send("a.wav", b"sound", **link).status_code == 403
    assert place.client.delete("/jobs/x", headers=link).status_code == 403


def test_nothing_may_be_loaded_from_elsewhere_or_framed(place):
    for path in ("/", "/state", "/nothing"):
        headers = place.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    page = place.client.get("/").text
    assert "http" not in page.replace("https://", "http://").split("<body>")[1]


def test_beyond_this_computer_a_token_is_needed(tmp_path):
    place = Place(tmp_path, token="secret")
    client = place.client
    for headers in ({}, {"authorization": "Bearer other"}, {"cookie": "umss-jax-8337=other"}):
        for path in ("/", "/state", "/?token=other", "/app.js"):
            assert client.get(path, headers=headers).status_code == 401
        assert client.post("/jobs", content=b"x", headers=headers).status_code == 401
    bearer = {"authorization": "Bearer secret", "host": "choir.local:8337"}
    assert client.get("/state", headers=bearer).status_code == 200
    answer = client.get("/?token=secret", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/state").status_code == 200


def test_buttons_of_what_has_moved_on(place):
    job = place.done()
    assert place.client.post(f"/jobs/{job.id}/cancel").status_code == 409
    assert place.client.post("/jobs/none/cancel").status_code == 404
    assert place.client.get(f"/jobs/{job.id}/retry").status_code == 404
    assert place.client.put(f"/jobs/{job.id}/retry").status_code == 405
    assert place.client.delete(f"/jobs/{job.id}").status_code == 204
    assert place.left == []


def test_seconds_left_go_on_within_a_stage(place, tmp_path):
    place.worker.hold()
    place.send("a.wav", write_song(tmp_path / "longer.wav").read_bytes())
    wait_until(lambda: place.queue.snapshot()[0].get("stage") == "separating")
    (route,) = (route for route in place.client.app._app.routes if route.path == "/news")

    async def listen():
        left = []
        async for text in route.endpoint.__self__._news():
            left.append(json.loads(text.removeprefix("data: "))[0]["left_s"])
            if len(left) == 2:
                place.closing.set()
        return left

    before, after = asyncio.run(asyncio.wait_for(listen(), 30))
    assert before != after
    place.worker.goes_on.set()


def test_news_come_with_every_change_and_end(place):
    (route,) = (route for route in place.client.app._app.routes if route.path == "/news")
    service = route.endpoint.__self__

    async def listen():
        heard, version = [], place.queue.version
        async for text in service._news():
            heard.append(json.loads(text.removeprefix("data: ")))
            if len(heard) == 1:
                await asyncio.to_thread(place.send, "a.wav", b"no sound")
            if place.queue.version > version and heard[-1] and heard[-1][0]["state"] == "failed":
                place.closing.set()
        return heard

    heard = asyncio.run(asyncio.wait_for(listen(), 30))
    assert heard[0] == []
    assert heard[-1][0]["error"].startswith("a.wav ")
