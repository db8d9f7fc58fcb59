"""Refused weight files: folders of ``.npy`` files.

Each file is made from a good one by one change; `refused_weights.refused` says what must happen.
"""

import io
import pickle

import numpy as np
import pytest
from refused_weights import MADE, Touch, enter, refused, refused_after, truncate
from weight_files import write_random


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    return enter(tmp_path, monkeypatch)


def npy_bytes(header, content=b""):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


OBJECTS = {"descr": "|O", "fortran_order": False, "shape": (3,)}


def overwrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def shorten(name):
    return lambda folder: truncate(folder / name)


def lengthen(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"more")


def swap(folder):
    one, two = folder / "voas_cnn_f0_assigner.npy", folder / "voas_cnn_branch1.npy"
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def code_in_the_header(folder):
    text = (
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').mkdir('{MADE}'),)}}"
    )
    header = text.ljust(118).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (folder / "voas_cnn_postprocess1_bias.npy").write_bytes(content)


def nan(folder):
    np.save(folder / "voas_cnn_postprocess1_bias.npy", np.full((1, 1), np.nan, np.float32))


BRANCH, LAST = "voas_cnn_branch1.npy", "voas_cnn_postprocess1_bias.npy"
NPY = {
    "runs a command": (
        overwrite(BRANCH, npy_bytes(OBJECTS, pickle.dumps(Touch(), 3))),
        [f"{BRANCH}: it asks for", "mkdir"],
    ),
    "runs a command, protocol 4": (
        overwrite(BRANCH, npy_bytes(OBJECTS, pickle.dumps(Touch(), 4))),
        [f"{BRANCH}: "],
    ),
    "code in the header": (code_in_the_header, [f"{LAST}: "]),
    "bomb of a header": (
        overwrite(LAST, npy_bytes({"descr": "<f4", "fortran_order": False, "shape": (10**15,)})),
        [f"{LAST}: its header tells shape [1000000000000000], but 0 bytes follow"],
    ),
    "endless header": (
        overwrite(LAST, b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{'descr': "),
        [f"{LAST}: "],
    ),
    "truncated pickle": (shorten(BRANCH), [f"{BRANCH}: it is cut short or garbled"]),
    "truncated array": (shorten(LAST), [f"{LAST}: "]),
    "trailing bytes": (lengthen(BRANCH), [f"{BRANCH}: 4 bytes follow its end"]),
    "trailing bytes of an array": (lengthen(LAST), ["but 8 bytes follow"]),
    "missing file": (
        lambda folder: (folder / BRANCH).unlink(),
        ["missing voas_cnn_branch1[0][0] [3, 3, 16, 16]", "(8 wrong"],
    ),
    "extra file": (
        lambda folder: np.save(folder / "more.npy", np.zeros(2, np.float32)),
        ["extra more [2]", "(1 wrong"],
    ),
    "swapped files": (swap, ["missing voas_cnn_f0_assigner[3][0]", "extra voas_cnn_branch1[8][3]"]),
    "other type": (
        lambda folder: np.save(folder / LAST, np.zeros((1, 1))),
        [f"{LAST}: it holds float64 instead of float32"],
    ),
    "not a number": (nan, ["params/assignment/soprano/output/bias holds numbers that are not"]),
    "no npy": (overwrite(LAST, b"hello, world"), [f"{LAST}: "]),
}


@pytest.mark.parametrize(("change", "messages"), NPY.values(), ids=NPY)
def test_npy(change, messages, workplace):
    refused_after(change, write_random("npy-voas-cnn", workplace / "assigner"), messages)


def test_npy_folder_of_two_networks(workplace):
    folder = write_random("npy-voas-cnn", workplace / "assigner")
    for path in write_random("npy-late-deep", workplace / "estimator").iterdir():
        path.rename(folder / path.name)
    refused(folder, "extra voas_cnn_branch1[0][0]")
