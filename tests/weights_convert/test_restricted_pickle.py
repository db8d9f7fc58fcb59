"""The restricted unpickler reads arrays in lists, and runs nothing, whatever it is given."""

import io
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weights_convert import restricted_pickle
from weights_convert.restricted_pickle import RefusedPickleError, load_arrays, scan


def outer_array(layers):
    outer = np.empty(len(layers), object)
    outer[:] = layers
    return outer


ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
LAYERS = st.lists(st.lists(ARRAYS, min_size=1, max_size=4), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(LAYERS, st.sampled_from([3, 4]), st.booleans())
def test_reads_what_numpy_writes(layers, protocol, fortran):
    order = "F" if fortran else "C"
    layers = [[np.array(array, order=order) for array in arrays] for arrays in layers]
    outer = outer_array([list(arrays) for arrays in layers])
    found = load_arrays(pickle.dumps(outer, protocol))
    assert [len(arrays) for arrays in found] == [len(arrays) for arrays in layers]
    for mine, theirs in zip(found, layers, strict=True):
        for array, expected in zip(mine, theirs, strict=True):
            assert array.shape == expected.shape
            assert array.tobytes() == np.array(expected, order="C").tobytes()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def global_of(module, name):
    return f"c{module}\n{name}\n".encode()


GOOD = pickle.dumps(outer_array([[np.arange(6, dtype=np.float32).reshape(2, 3)]]), 3)
BODY = GOOD[2:-1]


def malicious(path):
    """Programs by name; those that act would make ``path``."""
    argument = pickle.dumps(str(path), 3)[2:-1]
    call = argument + b"\x85R."
    numpy_call = b"(" + argument + b"tR."
    return {
        "reduce": pickle.dumps(Touch(path), 3),
        "reduce, protocol 0": pickle.dumps(Touch(path), 0),
        "reduce, protocol 4": pickle.dumps(Touch(path), 4),
        "reduce, protocol 5": pickle.dumps(Touch(path), 5),
        "inside an array": pickle.dumps(outer_array([[Touch(path)]]), 3),
        "inside an array, protocol 4": pickle.dumps(outer_array([[Touch(path)]]), 4),
        "after an array": b"\x80\x03" + BODY + b"0" + global_of("os", "mkdir") + call,
        "system": b"\x80\x03" + global_of("os", "system") + argument + b"\x85R.",
        "eval": b"\x80\x03" + global_of("builtins", "eval") + call,
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0bcore.loadtx\x93" + call,
        "inst": b"(" + argument + b"ios\nmkdir\n.",
        "obj": b"(" + global_of("os", "mkdir") + argument + b"o.",
        "newobj": b"\x80\x03" + global_of("numpy", "ndarray") + argument + b"\x85\x81.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x03" + argument + b"Q.",
        "scalar of objects": b"\x80\x03"
        + global_of("numpy.core.multiarray", "scalar")
        + numpy_call,
        "numpy.load": b"\x80\x03" + global_of("numpy", "load") + call,
        "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93" + call,
        "text of a name": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + call,
        "build a dictionary": GOOD[:-1] + b"}X\x01\x00\x00\x00aK\x01sb.",
    }


@pytest.mark.parametrize("name", malicious("x"))
def test_runs_nothing(name, tmp_path):
    target = tmp_path / "made"
    program = malicious(target)[name]
    with pytest.raises(RefusedPickleError):
        load_arrays(program)
    assert not target.exists()


def test_the_programs_of_the_test_do_act(tmp_path):
    """The test above could not fail if its programs were harmless."""
    for name in ("reduce", "inst", "obj", "text of a name", "after an array"):
        target = tmp_path / name
        pickle.loads(malicious(target)[name])
        assert target.is_dir()


@pytest.mark.parametrize("name", malicious("x"))
def test_second_fence_alone_runs_nothing(name, tmp_path, monkeypatch):
    """Without the first fence (reading the program as data) the stand-ins still hold."""
    monkeypatch.setattr(restricted_pickle, "scan", lambda content: None)
    target = tmp_path / "made"
    with pytest.raises(RefusedPickleError):
        load_arrays(malicious(target)[name])
    assert not target.exists()


CLAIMS = {
    "bytes": b"\x80\x03\x8e" + struct.pack("<Q", 1 << 62) + b"ab.",
    "memo": b"\x80\x03Nr" + struct.pack("<I", 0xFFFFFFF0) + b".",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "text": b"\x80\x03X" + struct.pack("<I", 0xFFFFFFF0) + b"ab.",
    "operations": b"\x80\x03" + b"N0" * 200_000 + b"N.",
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_of_memory_are_refused_before_anything_runs(name):
    with pytest.raises(RefusedPickleError):
        scan(CLAIMS[name])


OTHER_CONTENTS = {
    "doubles": outer_array([[np.zeros(3)]]),
    "integers": outer_array([[np.zeros(3, np.int32)]]),
    "big-endian": outer_array([[np.zeros(3, ">f4")]]),
    "objects in the list": outer_array([[outer_array([1])]]),
    "numbers in the list": outer_array([[1]]),
    "no list": outer_array([np.zeros(3, np.float32)]),
    "a list": [[np.zeros(3, np.float32)]],
    "nothing": None,
    "a dictionary": {"a": 1},
    "a string": "harmless",
}


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("name", OTHER_CONTENTS)
def test_anything_but_lists_of_float32_is_refused(name, protocol):
    with pytest.raises(RefusedPickleError):
        load_arrays(pickle.dumps(OTHER_CONTENTS[name], protocol))


def test_shape_must_have_its_bytes():
    claimed = GOOD.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86")
    assert claimed != GOOD
    with pytest.raises(RefusedPickleError, match="does not have its bytes"):
        load_arrays(claimed)


def test_trailing_bytes_are_refused():
    with pytest.raises(RefusedPickleError, match="3 bytes follow"):
        load_arrays(GOOD + b"abc")


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_cut_short_anywhere_is_refused(length):
    with pytest.raises(RefusedPickleError):
        load_arrays(GOOD[:length])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_garbled_bytes_never_do_more_than_fail(data):
    """Any change of bytes gives arrays or the one error, never another exception."""
    program = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    try:
        layers = load_arrays(bytes(program))
    except RefusedPickleError:
        return
    assert all(array.dtype == np.float32 for arrays in layers for array in arrays)


def test_allowed_operations_are_operations():
    known = {operation.name for operation in pickletools.opcodes}
    assert known >= restricted_pickle._ALLOWED_OPERATIONS


def test_reads_the_published_form(shared):
    """Protocol 3 under NumPy's old name, as the 2024 code's files are."""
    path = shared / "weights" / "multi-f0_assigner" / "voas_cnn_branch1.npy"
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        program = file.read()
    assert b"numpy.core.multiarray" in program
    shapes = [[array.shape for array in layer] for layer in load_arrays(program)]
    assert shapes == [[(3, 3, 16, 16), (16,)], [(16,)] * 4, [(3, 3, 16, 16), (16,)]]
    # An independent reader of what is trusted here: pickle itself, NumPy's old name replaced.
    theirs = pickle.load(
        io.BytesIO(program.replace(b"numpy.core.multiarray", b"numpy._core.multiarray", 1))
    )
    for mine, layer in zip(load_arrays(program), theirs, strict=True):
        for array, expected in zip(mine, layer, strict=True):
            np.testing.assert_array_equal(array, expected)
