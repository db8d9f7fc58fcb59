"""Refused weight files: anything else, and all kinds garbled.

Each file is made from a good one by one change; `refused_weights.refused` says what must happen.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
from refused_weights import Touch, enter, refused
from weight_files import write_random

from umss_jax.cli import run
from umss_jax.errors import WeightsError
from weights_convert import import_file


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    return enter(tmp_path, monkeypatch)


OTHER = {
    "empty file": (b"", "is no weight file"),
    "text": (b"weights, honestly", "is no weight file"),
    "bare pickle": (pickle.dumps(Touch(), 4), "is a bare pickle"),
    "old checkpoint": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is a bare pickle"),
    "one npy": (b"\x93NUMPY\x01\x00v\x00", "give the whole folder"),
    "empty zip": (b"PK\x03\x04", "cut short or garbled"),
    "HDF5 signature alone": (b"\x89HDF\r\n\x1a\n", "cut short or garbled"),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_files(name, workplace):
    content, message = OTHER[name]
    path = workplace / "x.pkl"
    path.write_bytes(content)
    refused(path, message)


@pytest.mark.parametrize("kind", ["keras-voas-cnn", "npy-voas-cnn", "torch-unet-exact"])
def test_garbled_anywhere_is_refused_or_read(kind, workplace):
    """Changed bytes and lost ends: one type of error and no other, or finite numbers."""
    if kind.startswith("torch"):
        pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    path = write_random(kind, workplace / "x")
    rng = np.random.default_rng(0)
    counts = {"refused": 0, "read": 0}
    files = [path] if path.is_file() else sorted(path.iterdir())
    good = {file: file.read_bytes() for file in files}
    for _ in range(20 if kind.startswith("torch") else 150):
        file = files[rng.integers(len(files))]
        content = bytearray(good[file])
        near = min(4096, len(content))
        for place in (rng.integers(near), len(content) - 1 - rng.integers(near)):
            content[place] = rng.integers(256)
        if rng.random() < 0.2:
            del content[rng.integers(len(content)) :]
        file.write_bytes(content)
        try:
            import_file(path)
            counts["read"] += 1
        except WeightsError:
            counts["refused"] += 1
        file.write_bytes(good[file])
    assert counts["refused"] > 10
    assert not Path("home").exists()


def test_other_places(workplace):
    refused(workplace / "nowhere", "cannot be read")
    (workplace / "empty").mkdir()
    refused(workplace / "empty", "holds no .npy files")


def test_too_large_a_file_is_not_opened(workplace):
    path = workplace / "x.h5"
    with open(path, "wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate((1 << 30) + 1)
    refused(path, "is larger than any weight file")


def test_exit_codes_and_one_line_on_stderr(workplace, capsys):
    """Through the main command: 1 for a file that fails, 2 for a request that makes no sense."""
    good = write_random("npy-voas-cnn", workplace / "assigner")
    (workplace / "bad").write_bytes(b"nothing")
    requests = [
        (("import", "bad", "-o", "x"), 1),
        (("import", "nowhere", "-o", "x"), 1),
        (("import", str(good), "-o", "no name"), 1),
        (("import", str(good), "-o", "x", "--kind", "nonsense"), 2),
        (("import", str(good)), 2),
        (("verify", "x"), 2),
        (("export", "x", "y", "--to", "keras"), 2),
        (("fetch", "nonsense"), 2),
        (("import", str(good), "-o", "x"), 0),
        (("export", "x", "y", "--to", "nonsense"), 2),
        (("export", "x", "y", "--to", "torch"), 1),
        (("verify", "x"), 0),
    ]
    for arguments, code in requests:
        assert run(["weights", *arguments]) == code, arguments
        out, err = capsys.readouterr()
        assert bool(out) == (code == 0), arguments
        assert err.count("\n") <= 1, arguments
        assert code == 0 or err.startswith("umss-jax: "), arguments
