"""Fetching: pinned, checked, all or nothing. The server is a local one."""

import hashlib
import http.server
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner
from weight_files import assert_same, random_variables, save_recognised, write_random

from umss_jax.cli.weights import app, bring_published
from umss_jax.config import ModelConfig
from umss_jax.errors import OutputError, UnknownModelError, WeightsError
from umss_jax.trees import select_parts
from umss_jax.weights import download as fetching
from umss_jax.weights import store as weights
from umss_jax.weights.remote_files import SOURCES, UMSS_2024, VOAS, RemoteFile


class Server:
    """Serves bytes by path; ``trouble`` spoils the answer for one path."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.trouble: dict[str, str] = {}
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                content = server.files.get(self.path)
                trouble = server.trouble.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                if trouble == "500":
                    self.send_error(500)
                    return
                self.send_response(200)
                if trouble != "endless":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if trouble == "drop":
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                elif trouble == "garble":
                    self.wfile.write(bytes([content[0] ^ 1]) + content[1:])
                elif trouble == "endless":
                    self.wfile.write(content * 8)
                else:
                    self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Random files in the places of the published ones, with pins to match."""
    made = tmp_path / "made"
    made.mkdir()
    write_random("npy-late-deep", made / "multi-f0_estimator")
    write_random("npy-voas-cnn", made / "multi-f0_assigner")
    write_random("keras-voas-cnn", made / "voas_cnn.h5")

    def pinned(files):
        return tuple(
            RemoteFile(f.repository, f.commit, f.path, f.place, hashed(made / f.place))
            for f in files
        )

    def hashed(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    sources = {name: pinned(SOURCES[name]) for name in ("published", "voas-cnn")}
    monkeypatch.setattr(fetching, "SOURCES", sources)
    return made


@pytest.fixture
def mirror(server, folder):
    for files in fetching.SOURCES.values():
        for file in files:
            server.files[file.url("")] = (folder / file.place).read_bytes()
    return server


def contents(root: Path) -> dict[str, bytes]:
    """Every file and folder below, the root included."""
    return {
        str(path.relative_to(root.parent)): path.read_bytes() if path.is_file() else b"folder"
        for path in [root, *root.rglob("*")]
        if path.exists()
    }


@pytest.mark.parametrize("name", ["published", "voas-cnn"])
def test_from_a_mirror(name, mirror, cache, folder):
    path = fetching.fetch(name, mirror.url, progress=False)
    for file in fetching.SOURCES[name]:
        assert (cache / "downloads" / name / file.place).read_bytes() == (
            folder / file.place
        ).read_bytes()
    assert path == fetching.import_path(name)
    assert path.exists()
    assert all(asked.split("/")[3] in (UMSS_2024[1], VOAS[1]) for asked in mirror.asked)
    leftovers = [p for p in (cache / "downloads").iterdir() if p.name.startswith(".")]
    assert not leftovers


def test_a_second_time_nothing_is_asked(mirror, cache):
    fetching.fetch("published", mirror.url, progress=False)
    before = contents(cache)
    mirror.asked.clear()
    fetching.fetch("published", mirror.url, progress=False)
    assert not mirror.asked
    assert contents(cache) == before


def test_only_what_is_missing_or_spoilt_is_brought(mirror, cache):
    path = fetching.fetch("published", mirror.url, progress=False)
    before = contents(cache)
    (path / "multi-f0_estimator" / "cuesta.npy").write_bytes(b"spoilt")
    (path / "multi-f0_assigner" / "voas_cnn_branch1.npy").unlink()
    mirror.asked.clear()
    fetching.fetch("published", mirror.url, progress=False)
    assert len(mirror.asked) == 2
    assert contents(cache) == before


@pytest.mark.parametrize("layout", ["repository", "cache", "bare"])
def test_from_a_folder(layout, folder, cache, tmp_path):
    place = tmp_path / "place"
    for file in fetching.SOURCES["published"]:
        target = {
            "repository": place / file.path,
            "cache": place / file.place,
            "bare": place / Path(file.place).name,
        }[layout]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file.place, target)
    path = fetching.fetch("published", str(place), progress=False)
    assert contents(path / "multi-f0_assigner") == contents(folder / "multi-f0_assigner")


TROUBLES = {
    "404": ("gone", "answers 404"),
    "500": ("500", "answers 500"),
    "dropped connection": ("drop", "cannot be had|broke off"),
    "wrong hash": ("garble", "is not the published file, its hash is another"),
}


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_leaves_the_cache_as_it_was(name, filled, mirror, cache):
    """The last of sixteen files fails; with and without something in the cache before."""
    trouble, message = TROUBLES[name]
    if filled:
        fetching.fetch("voas-cnn", mirror.url, progress=False)
        save_recognised("mine", random_variables("keras-voas-cnn"))
    before = contents(cache)
    last = fetching.SOURCES["published"][-1]
    if trouble == "gone":
        del mirror.files[last.url("")]
    else:
        mirror.trouble[last.url("")] = trouble
    with pytest.raises(WeightsError, match=message) as caught:
        fetching.fetch("published", mirror.url, progress=False)
    assert len(mirror.asked) >= len(fetching.SOURCES["published"])
    assert contents(cache) == before
    text = str(caught.value)
    assert last.sha256 in text
    assert str(cache / "downloads" / "published" / last.place) in text
    assert "\n" not in text


def test_after_trouble_the_next_call_succeeds(mirror, cache):
    last = fetching.SOURCES["published"][-1]
    mirror.trouble[last.url("")] = "drop"
    with pytest.raises(WeightsError):
        fetching.fetch("published", mirror.url, progress=False)
    mirror.trouble.clear()
    assert fetching.fetch("published", mirror.url, progress=False).is_dir()


def test_a_server_that_never_ends_is_cut_off(mirror, cache, monkeypatch):
    monkeypatch.setattr(fetching, "MAX_BYTES", 100_000)
    (file,) = fetching.SOURCES["voas-cnn"]
    mirror.trouble[file.url("")] = "endless"
    with pytest.raises(WeightsError, match="sends more than any weight file"):
        fetching.fetch("voas-cnn", mirror.url, progress=False)
    assert not cache.exists()


def test_offline_says_which_file_to_put_where(cache, folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    (file,) = fetching.SOURCES["voas-cnn"]
    with pytest.raises(WeightsError, match="cannot be had") as caught:
        fetching.fetch("voas-cnn", address, progress=False)
    place = cache / "downloads" / "voas-cnn" / "voas_cnn.h5"
    assert file.url(address) in str(caught.value)
    assert f"put the file with SHA-256 {file.sha256} at {place}" in str(caught.value)
    assert not cache.exists()
    # Having done so, it works offline.
    place.parent.mkdir(parents=True)
    shutil.copyfile(folder / "voas_cnn.h5", place)
    assert fetching.fetch("voas-cnn", address, progress=False) == place


@pytest.mark.parametrize("where", ["download", "first move", "fifth move", "spoilt before"])
def test_full_disk_leaves_the_cache_as_it_was(where, mirror, cache, monkeypatch):
    save_recognised("mine", random_variables("keras-voas-cnn"))
    if where == "spoilt before":
        for file in fetching.SOURCES["published"]:
            place = cache / "downloads" / "published" / file.place
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"spoilt")
    before = contents(cache)
    replace = fetching.os.replace
    moves = []

    def full(*_):
        raise OSError(28, "No space left on device")

    def full_later(source, target):
        if str(target).endswith(".npy") and ".part" not in str(target):
            moves.append(target)
            if len(moves) == (1 if where == "first move" else 5):
                full()
        replace(source, target)

    if where == "download":
        monkeypatch.setattr("tqdm.tqdm.update", full)
    else:
        monkeypatch.setattr(fetching.os, "replace", full_later)
    with pytest.raises(OutputError, match="no room is left"):
        fetching.fetch("published", mirror.url, progress=False)
    monkeypatch.undo()
    assert contents(cache) == before


def test_a_folder_without_the_file(cache, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"holds no models/voas_cnn\.h5"):
        fetching.fetch("voas-cnn", str(tmp_path / "empty"))
    assert not cache.exists()


def test_unknown_name(cache):
    with pytest.raises(UnknownModelError, match="choose one of published, voas-cnn"):
        fetching.fetch("nothing")


def test_git_object_pins(cache, folder, tmp_path, monkeypatch):
    """Where no SHA-256 is known, the id that the pinned commit records must agree."""
    path = folder / "voas_cnn.h5"
    if shutil.which("git") is None:
        pytest.skip("needs git to make an object id independently")
    made = subprocess.run(
        ["git", "hash-object", "--no-filters", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    right = RemoteFile(*VOAS, "models/x.h5", "voas_cnn.h5", None, made.stdout.strip())
    wrong = RemoteFile(*VOAS, "models/x.h5", "voas_cnn.h5", None, "0" * 40)
    monkeypatch.setitem(fetching.SOURCES, "x", (wrong,))
    with pytest.raises(WeightsError, match="no SHA-256 is known"):
        fetching.fetch("x", str(folder))
    monkeypatch.setitem(fetching.SOURCES, "x", (right,))
    assert fetching.fetch("x", str(folder)).read_bytes() == path.read_bytes()


def test_pins_are_complete():
    for name, files in SOURCES.items():
        for file in files:
            assert len(file.commit) == 40, name
            assert (file.sha256 is None) != (file.git_object is None), name
            assert len(file.sha256 or "") in (0, 64), name
            assert len(file.git_object or "") in (0, 40), name
        assert len({file.place for file in files}) == len(files), name


@pytest.mark.parametrize("name", ["published", "voas-cnn"])
def test_pins_are_those_of_the_published_files(name, shared, cache):
    path = fetching.fetch(name, str(shared / "weights"))
    assert path.exists()


def test_rewritten_file_does_not_pass_for_the_published_one(shared, cache):
    """The copy of exp3multif0.pkl at hand was written anew: its bytes are not the public ones."""
    with pytest.raises(WeightsError, match="its hash is another"):
        fetching.fetch("late-deep", str(shared / "weights"))


def test_command_fetches_imports_and_stores(mirror, cache):
    result = CliRunner().invoke(app, ["fetch", "published", "--from", mirror.url])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(cache / "weights" / "published.safetensors")
    shutil.rmtree(cache / "downloads")
    variables = weights.load("published").variables
    expected = random_variables("npy-late-deep")
    assert_same(select_parts(variables, ["salience"]), expected)


def test_what_was_fetched_is_stored_when_it_is_asked_for(mirror, cache):
    fetching.fetch("published", mirror.url, progress=False)
    with pytest.raises(UnknownModelError, match="umss-jax weights fetch published"):
        weights.load("published")
    bring_published("voas-cnn+mine")  # of others nothing is brought
    assert weights.stored_names() == []
    bring_published("published+mine")
    variables, config, about = weights.load("published")
    assert about["architecture"] == "late-deep+voas-cnn"
    assert config.f0 == ModelConfig().f0
    assert_same(select_parts(variables, ["assignment"]), random_variables("npy-voas-cnn"))


def test_progress_goes_to_stderr(mirror, cache, capsys):
    fetching.fetch("voas-cnn", mirror.url, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "voas_cnn.h5" in err
