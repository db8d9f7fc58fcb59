"""Caches mend themselves: whatever lies in the place of an entry, the right values come back."""

import errno
import logging
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import soundfile

from umss_jax import files
from umss_jax.audio import cache as audio_cache
from umss_jax.audio.cache import DecodedAudio
from umss_jax.config import Assigner, ModelConfig
from umss_jax.data.mixes import Examples
from umss_jax.errors import AudioError
from umss_jax.kept_arrays import KeptArrays
from umss_jax.train import f0_cache
from umss_jax.words import warn_once

ARRAY = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float32)
DAMAGES = 60


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    warn_once.cache_clear()


def truncated(path, rng):
    os.truncate(path, int(rng.integers(path.stat().st_size)))


def flipped(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def longer(path, rng):
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(1, 100))))


def garbled(path, rng):
    path.write_bytes(rng.bytes(int(rng.integers(1, 10_000))))


def older(path, rng):
    path.unlink()
    np.save(path, ARRAY)


def a_folder(path, rng):
    path.unlink()
    path.mkdir()


def a_full_folder(path, rng):
    a_folder(path, rng)
    (path / "somebody's").write_text("notes")


def a_pipe(path, rng):
    path.unlink()
    os.mkfifo(path)


def linked(to):
    def link(path, rng):
        path.unlink()
        path.symlink_to(to or path)

    link.__name__ = f"a link to {to}"
    return link


KINDS = [truncated, flipped, longer, garbled, older, a_folder, a_full_folder, a_pipe]
KINDS += [linked(to) for to in ("/dev/zero", "/", "/nothing", "/etc/passwd", "")]


@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.__name__)
def test_damaged_entries_are_made_again_with_a_word(tmp_path, caplog, damage):
    kept = KeptArrays(tmp_path, "numbers")
    rng = np.random.default_rng(1)
    for _ in range(DAMAGES if damage in (truncated, flipped, longer, garbled) else 1):
        warn_once.cache_clear()
        caplog.clear()
        np.testing.assert_array_equal(kept.put("one", ARRAY).array, ARRAY)
        np.testing.assert_array_equal(KeptArrays(tmp_path, "numbers").get("one").array, ARRAY)
        path = tmp_path / "one.npy"
        damage(path, rng)
        assert kept.get("one") is None
        assert all("made again" in line and str(path) in line for line in caplog.messages)
        assert len(caplog.messages) == (0 if damage.__name__ == "a link to /nothing" else 1)
    np.testing.assert_array_equal(kept.put("one", ARRAY).array, ARRAY)
    np.testing.assert_array_equal(kept.get("one").array, ARRAY)
    if damage is a_full_folder:
        (aside,) = tmp_path.glob("*.aside/*")
        assert aside.read_text() == "notes"


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 3)), np.float32(2.5), np.arange(6).reshape(2, 3).T, np.array([np.nan, np.inf])],
    ids=("empty", "scalar", "transposed", "not finite"),
)
def test_any_array_comes_back(tmp_path, array):
    kept = KeptArrays(tmp_path, "numbers")
    first = kept.put("one", array)
    again = kept.get("one")
    for one in (first, again):
        np.testing.assert_array_equal(one.array, array)
        assert (one.array.dtype, one.array.shape) == (np.asarray(array).dtype, np.shape(array))
    assert first.digest == again.digest
    assert kept.put("two", np.arange(9)).digest != first.digest


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_where_nothing_can_be_written_work_goes_on(tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    kept = KeptArrays(tmp_path / "home", "numbers")
    for name in ("one", "two"):
        np.testing.assert_array_equal(kept.put(name, ARRAY).array, ARRAY)
        assert kept.get(name) is None
    (line,) = caplog.messages
    assert os.strerror(number) in line
    assert "numbers are not kept" in line
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file(tmp_path, caplog):
    (tmp_path / "home").write_text("")
    kept = KeptArrays(tmp_path / "home" / "numbers", "numbers")
    assert kept.get("one") is None
    np.testing.assert_array_equal(kept.put("one", ARRAY).array, ARRAY)
    assert sum("are not kept" in line for line in caplog.messages) == 1


def fill(folder, seed):
    logging.disable()
    kept = KeptArrays(folder, "numbers")
    rng = np.random.default_rng(seed)
    for _ in range(60):
        name = int(rng.integers(5))
        found = kept.get(str(name))
        array = kept.put(str(name), ARRAY + name).array if found is None else found.array
        np.testing.assert_array_equal(array, ARRAY + name)
        if rng.random() < 0.3:
            (folder / f"{name}.npy").unlink(missing_ok=True)


def test_two_processes_fill_the_same_cache(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(tmp_path, seed)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {path.suffix for path in tmp_path.iterdir()} <= {".npy"}


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.2, 0.2, 8000), 16_000, "FLOAT")
    return path


@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.__name__)
def test_decoded_audio_mends_itself(tmp_path, recording, damage):
    first = np.array(DecodedAudio().load(recording))
    (entry,) = (tmp_path / "home" / "audio_16k").iterdir()
    damage(entry, np.random.default_rng(2))
    np.testing.assert_array_equal(DecodedAudio().load(recording), first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_cache, "decode_16k", lambda *_: pytest.fail("decoded"))
        np.testing.assert_array_equal(DecodedAudio().load(recording), first)


def rewritten(path):
    soundfile.write(path, np.full(8000, 0.1), 16_000, "FLOAT")


CHANGES = [
    (rewritten, "changed while it was being read"),
    (lambda path: path.unlink(), "a.wav does not exist"),
    (lambda path: os.truncate(path, 1000), "changed while it was being read"),
    (lambda path: (path.unlink(), path.mkdir()), "a.wav is a directory"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids="0123")
def test_recordings_that_change_while_they_are_decoded(
    tmp_path, recording, monkeypatch, change, message
):
    decode = audio_cache.decode_16k

    def disturbed(path, audio):
        samples = decode(path, audio)
        change(path)
        return samples

    monkeypatch.setattr(audio_cache, "decode_16k", disturbed)
    with pytest.raises(AudioError, match=message) as caught:
        DecodedAudio().load(recording)
    assert str(recording) in str(caught.value)
    assert not list((tmp_path / "home").rglob("*.npy"))


def test_recordings_that_change_before_they_are_decoded(tmp_path, recording, monkeypatch):
    decode = audio_cache.decode_16k

    def disturbed(path, audio):
        shutil.copy(recording, tmp_path / "before.wav")
        rewritten(path)
        return decode(path, audio)

    monkeypatch.setattr(audio_cache, "decode_16k", disturbed)
    with pytest.raises(AudioError, match="changed while"):
        DecodedAudio().load(recording)
    monkeypatch.undo()
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    before = DecodedAudio().load(tmp_path / "before.wav")
    np.testing.assert_array_equal(before, soundfile.read(tmp_path / "before.wav", dtype="f4")[0])


class Ear:
    """Stands for the F0 networks: says one thing of every example."""

    asked = 0

    def __init__(self, *_, **__):
        pass

    def salience(self, mixture):
        Ear.asked += 1
        return ARRAY[None] * np.float32(np.abs(mixture).max())


@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.__name__)
def test_analyses_mend_themselves(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(f0_cache, "ModelEngine", Ear)
    monkeypatch.setattr(Ear, "asked", 0)
    examples = Examples(("one",), np.full((1, 4096), 0.5, np.float32), None)

    def heard():
        cache = f0_cache.AnalysisCache({"params": {}}, ModelConfig(), Assigner.HEURISTIC, True)
        return cache.batch(examples, "salience").salience

    for asked in (1, 1):
        np.testing.assert_array_equal(heard(), ARRAY[None] * 0.5)
        assert Ear.asked == asked
    (entry,) = (tmp_path / "home" / "analysis").rglob("*.npy")
    damage(entry, np.random.default_rng(3))
    for asked in (2, 2):
        np.testing.assert_array_equal(heard(), ARRAY[None] * np.float32(0.5))
        assert Ear.asked == asked
