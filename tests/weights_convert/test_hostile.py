"""Weight files made to take the machine, or damaged: imported as they were, or refused in a line.

Each is read by a process of its own with little memory and time (`hostile_worker`).
"""

import io
import os
import pickle
import pickletools
import struct
import zipfile

import h5py
import numpy as np
import pytest
from hostile_worker import Reader, is_fine, seed_of
from mutations import mutate
from weight_files import write_random

from umss_jax.files import arrays_sha256
from umss_jax.trees import flatten
from weights_convert import import_file

KINDS = {"keras": "keras-voas-cnn", "npy": "npy-voas-cnn"}


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    with Reader("weights") as started:
        yield started


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    return write_random(KINDS["keras"], tmp_path_factory.mktemp("keras") / "x.h5").read_bytes()


@pytest.fixture
def folder(tmp_path):
    return write_random(KINDS["npy"], tmp_path / "assigner")


def refusal(reader, path, *words):
    answer = reader.ask(path)
    assert answer.startswith("refused "), answer
    assert is_fine(answer)
    assert str(path) in answer
    assert len(answer) < 60_000
    for word in words:
        assert word in answer, answer
    return answer


def outer_of(layers):
    outer = np.empty(len(layers), object)
    outer[:] = layers
    return outer


def shared_objects(layers):
    """The file of an object array of these lists."""
    outer = outer_of(layers)
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": outer.shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + pickle.dumps(outer, 3).replace(b"numpy._core", b"numpy.core", 1)


ARRAY = np.zeros((1 << 19,), np.float32)
SAME_LIST = [np.zeros(3, np.float32)] * 1000
SHARED_PICKLES = {
    "one array many times": [[ARRAY] * 1500],
    "one array in many layers": [[ARRAY] for _ in range(1500)],
    "one list many times": [SAME_LIST for _ in range(1500)],
    "one empty array many times": [[np.zeros((0, 3), np.float32)] * 5000],
}


@pytest.mark.parametrize("name", SHARED_PICKLES)
def test_arrays_that_are_one_object(reader, folder, name):
    (folder / "voas_cnn_branch1.npy").write_bytes(shared_objects(SHARED_PICKLES[name]))
    refusal(reader, folder, "voas_cnn_branch1.npy: several of its arrays are one and the same")


def test_arrays_that_share_their_bytes(reader, folder):
    """Different arrays, all of one bytes object, which the pickle asks for again and again."""
    content = shared_objects([[np.zeros(1000, np.float32)] for _ in range(1)])
    start = content.index(b"\x80\x03")
    program = pickle.dumps(outer_of([[np.zeros(1000, np.float32), np.ones(1000, np.float32)]]), 3)
    program = program.replace(b"numpy._core", b"numpy.core", 1)
    places = [
        (operation, argument, at)
        for operation, argument, at in pickletools.genops(program)
        if operation.name in ("BINBYTES", "BINPUT")
    ]
    held = [n for n, (operation, _, _) in enumerate(places) if operation.name == "BINBYTES"]
    assert len(held) == 2
    number, again = places[held[0] + 1][1], places[held[1]][2]
    program = program[:again] + pickle.BINGET + bytes([number]) + program[again + 5 + 4000 :]
    (folder / "voas_cnn_branch1.npy").write_bytes(content[:start] + program)
    refusal(reader, folder, "voas_cnn_branch1.npy: its arrays share their numbers")


def npy(header, content=b"", version=(1, 0)):
    text = header if isinstance(header, bytes) else repr(header).encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + content


def described(shape=(1, 1), descr="<f4", fortran=False):
    return {"descr": descr, "fortran_order": fortran, "shape": shape}


NPY = {
    "huge": npy(described((1 << 40, 1 << 40))),
    "product overflows to the size": npy(described((1 << 63, 2)), bytes(4)),
    "negative": npy(described((-1, -1)), bytes(4)),
    "negative once": npy(described((-1,)), bytes(4)),
    "many dimensions": npy(described((1,) * 60), bytes(4)),
    "shape of fractions": npy(described((1.0,)), bytes(4)),
    "shape of truths": npy(described((True, "a")), bytes(4)),
    "endless number": npy(b"{'descr':'<f4','fortran_order':False,'shape':(" + b"9" * 6000 + b",)}"),
    "deep": npy(b"(" * 5000 + b")" * 5000),
    "double": npy(described(descr="<f8"), bytes(8)),
    "big-endian": npy(described(descr=">f4"), bytes(4)),
    "record": npy(described(descr=[("a", "<f4")]), bytes(4)),
    "nested record": npy(described(descr=[("a", [("b", "<f4", (1 << 40,))])]), bytes(4)),
    "version 3, cut": npy(described(), b"", (3, 0)),
    "version 9": npy(described(), bytes(4), (9, 9)),
    "object, no pickle": npy(described(descr="|O"), b"x"),
    "object, deep lists": npy(described((1,), "|O"), b"\x80\x03" + b"]" * 100_000 + b"."),
    "zeros": bytes(128),
    "empty": b"",
}


@pytest.mark.parametrize("name", NPY)
def test_npy_headers_that_lie(reader, folder, name):
    (folder / "voas_cnn_postprocess1_bias.npy").write_bytes(NPY[name])
    refusal(reader, folder, "voas_cnn_postprocess1_bias.npy: ")


def test_npy_of_any_axis_order_and_version_are_read(reader, folder):
    expected = reader.ask(folder)
    assert expected.startswith("ok ")
    path = folder / "voas_cnn_postprocess1_weights.npy"
    array = np.load(path)
    for version in ((1, 0), (2, 0), (3, 0)):
        for order in "CF":
            with path.open("wb") as file:
                np.lib.format.write_array(file, np.array(array, order=order), version)
            assert reader.ask(folder) == expected


def special(path, kind):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 6 << 30)
    else:
        path.symlink_to(kind)


SPECIAL = ["pipe", "folder", "sparse", "/dev/zero", "/dev/full", "nowhere"]


@pytest.mark.parametrize("kind", SPECIAL)
def test_members_that_are_no_regular_files(reader, folder, kind):
    special(folder / "voas_cnn_branch1.npy", kind)
    refusal(reader, folder)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("ending", ["h5", "pth", "safetensors"])
def test_files_that_are_no_regular_files(reader, tmp_path, kind, ending):
    path = tmp_path / f"x.{ending}"
    path.touch()
    special(path, kind)
    refusal(reader, path)


@pytest.mark.parametrize("start", [b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x02"])
def test_sparse_files_with_a_good_beginning(reader, tmp_path, start):
    for size in (300 << 20, 900 << 20, 6 << 30):
        path = tmp_path / f"{size}.bin"
        path.write_bytes(start)
        os.truncate(path, size)
        refusal(reader, path)


def test_folders_of_too_many_or_too_large_files(reader, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(200):
        (many / f"{number}.npy").touch()
        os.truncate(many / f"{number}.npy", 10 << 20)
    refusal(reader, many, "promise")


def edited(content, path, change):
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def hard_links(file):
    """One array of 8 MB, a thousand names of it."""
    group = file.create_group("shared")
    group["a:0"] = np.zeros(1 << 21, np.float32)
    names = [f"{number}:0" for number in range(1000)]
    for name in names:
        group[name] = group["a:0"]
    group.attrs["weight_names"] = np.array([name.encode() for name in names])
    file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], b"shared"])
    del group["a:0"]


def nested_groups(file):
    group = file["conv1"]
    for _ in range(3000):
        group = group.create_group("g")


def a_circle(file):
    file["conv1/conv1/again"] = file["conv1"]


def many_members(file):
    group = file["conv1"]
    for number in range(3000):
        group.create_group(str(number))


def one_name_many_times(file):
    names = np.array(["x" * (1 << 20)] * 40, object)
    del file.attrs["layer_names"]
    file.attrs.create("layer_names", names, dtype=h5py.string_dtype())


def names_in_another_file(file):
    file["top_level_model_weights"] = h5py.ExternalLink("/dev/zero", "x")


def references(file):
    del file["conv1/conv1/bias:0"]
    file["conv1/conv1/bias:0"] = np.array([file["conv1"].ref] * 32, h5py.ref_dtype)


def wide_type(file):
    del file["conv1/conv1/bias:0"]
    file["conv1/conv1"].create_dataset("bias:0", (32,), np.dtype(("<f4", (1 << 20,))))


def no_space(file):
    del file["conv1/conv1/bias:0"]
    file["conv1/conv1"].create_dataset("bias:0", data=h5py.Empty("f4"))


def names_of(value):
    def change(file):
        file.attrs["layer_names"] = value

    return change


HDF5 = {
    "hard links": (hard_links, "promise"),
    "nested groups": (nested_groups, "nested too deep"),
    "a circle": (a_circle, "nested too deep"),
    "many members": (many_members, "3001 members"),
    "one name many times": (one_name_many_times, "layer_names"),
    "names in another file": (names_in_another_file, "top_level_model_weights"),
    "references": (references, "instead of float32"),
    "wide type": (wide_type, "conv1/bias"),
    "no space": (no_space, "conv1/bias"),
    "a name with NUL": (names_of(np.array([b"a\0b"])), "layer_names"),
    "an empty name": (names_of(np.array([b""])), ""),
    "a name that leads up": (names_of(np.array([b".."])), ".."),
    "a long name": (names_of(np.array([b"x" * 10_000])), "layer_names"),
    "a line in a name": (names_of(np.array([b"a\nb"])), "layer_names"),
    "names in two dimensions": (names_of(np.array([[b"a"], [b"b"]])), "layer_names"),
    "one name alone": (names_of(b"conv1"), "layer_names"),
    "an empty list": (names_of(h5py.Empty("S3")), ""),
}


@pytest.mark.parametrize("name", HDF5)
def test_hdf5(reader, tmp_path, keras, name):
    change, words = HDF5[name]
    refusal(reader, edited(keras, tmp_path / "x.h5", change), words)


def views(torch):
    storage = torch.zeros(1 << 21)
    return {f"a{number}": storage.view(-1) for number in range(1000)}


def overlapping(torch):
    storage = torch.zeros(1 << 21)
    return {str(number): storage[number : number + (1 << 20)] for number in range(300)}


def one_tensor(torch):
    tensor = torch.zeros(1 << 21)
    return {f"a{number}": tensor for number in range(1000)}


def entry(make):
    return lambda torch: {"encoder.dense.weight": make(torch)}


def deep(torch):
    value = torch.zeros(1)
    for _ in range(200):
        value = [value]
    return {"a": value}


TORCH = {
    "views of one storage": views,
    "one tensor many times": one_tensor,
    "overlapping views": overlapping,
    "meta": entry(lambda torch: torch.empty(1 << 40, device="meta")),
    "expanded": entry(lambda torch: torch.zeros(1).expand(1 << 40)),
    "float8": entry(lambda torch: torch.zeros(8).to(torch.float8_e4m3fn)),
    "float8, other": entry(lambda torch: torch.zeros(8).to(torch.float8_e5m2)),
    "bfloat16": entry(lambda torch: torch.zeros(8, dtype=torch.bfloat16)),
    "complex": entry(lambda torch: torch.zeros(8, dtype=torch.complex64)),
    "conjugate": entry(lambda torch: torch.zeros(8, dtype=torch.complex64).conj()),
    "quantised": entry(lambda torch: torch.quantize_per_tensor(torch.zeros(8), 1, 0, torch.qint8)),
    "sparse": entry(lambda torch: torch.zeros(8, 8).to_sparse()),
    "nested": entry(lambda torch: [torch.zeros(8)]),
    "a key that is a number": lambda torch: {3: torch.zeros(8)},
    "a key that is a tuple": lambda torch: {(1, 2): torch.zeros(8)},
    "a long key": lambda torch: {"x" * 10_000: torch.zeros(8)},
    "a key with a line": lambda torch: {"a\nb": torch.zeros(8)},
    "deep": deep,
    "nothing": lambda torch: {},
    "a tensor": lambda torch: torch.zeros(8),
    "a set": lambda torch: {"a": {1, 2}},
    "byte array": lambda torch: {"a": bytearray(8)},
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TORCH)
def test_torch(reader, tmp_path, name):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pth"
    torch.save(TORCH[name](torch), path)
    refusal(reader, path)


def archive(path, program, others=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", program)
        file.writestr("x/version", b"3\n")
        file.writestr("x/byteorder", b"little")
        for name, content in others:
            file.writestr(name, content)
    return path


def hash_bomb():
    """A key that takes 2^60 steps to hash: pairs of pairs of one pair."""
    program = b"\x80\x02}(K\x01q\x00"
    for number in range(60):
        program += b"h" + bytes([number]) + b"\x86q" + bytes([number + 1])
        if number == 0:
            program = program.replace(b"h\x00\x86", b"h\x00h\x00\x86")
        else:
            program = program[: -len(b"\x86q") - 1] + b"h" + bytes([number]) + b"\x86q"
            program += bytes([number + 1])
    return program + b"K\x01u."


PROGRAMS = {
    "byte array of 10 GB": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R.",
    "storage of 10 GB": b"\x80\x02ctorch\nFloatStorage\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R.",
    "untyped storage": b"\x80\x02ctorch.storage\nUntypedStorage\n\x8a\x05\0\xe4\x0b\x54\2\x85R.",
    "tensor of 10 GB": b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R.",
    "memo of 4 GB": b"\x80\x02}r\xff\xff\xff\x7f.",
    "hash bomb": hash_bomb(),
    "long text": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "long frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
    "no stop": b"\x80\x02}",
    "nothing on the stack": b"\x80\x02R.",
    "empty": b"",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a module": b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
    "an instance": b"\x80\x02(ios\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_checkpoints(reader, tmp_path, name):
    refusal(reader, archive(tmp_path / "x.pth", PROGRAMS[name]))


def test_archives(reader, tmp_path):
    path = archive(tmp_path / "two.pth", b"\x80\x02}.", [("y/data.pkl", b"\x80\x02}.")])
    refusal(reader, path, "no data.pkl")
    path = archive(tmp_path / "many.pth", b"\x80\x02}.", [(str(n), b"") for n in range(10_001)])
    refusal(reader, path, "members")
    path = archive(tmp_path / "names.pth", b"\x80\x02}.", [("../" * 50 + "a\nb\x1b[31m", b"")])
    refusal(reader, path)
    content = bytearray(archive(tmp_path / "x.pth", b"\x80\x02}.").read_bytes())
    content[-10:-6] = struct.pack("<I", 1 << 30)
    path.write_bytes(content)
    refusal(reader, path)


def small_checkpoint(path):
    import torch

    torch.save({"encoder.dense.weight": torch.ones(4, 3), "b": torch.ones(2).half()}, path)
    return path.read_bytes()


@pytest.mark.parametrize("cases", [40, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["keras", "npy", "torch"])
def test_damaged_files(reader, tmp_path, keras, kind, cases):
    """Where a value alone is damaged, formats without a hash cannot tell; nothing else may pass."""
    reader.counts.clear()
    rng = np.random.default_rng(seed_of("weights", kind))
    if kind == "npy":
        folder = write_random(KINDS["npy"], tmp_path / "assigner")
        files = {path: path.read_bytes() for path in sorted(folder.iterdir())}
        asked = folder
    else:
        asked = tmp_path / "x"
        files = {asked: keras if kind == "keras" else small_checkpoint(asked)}
    faults = []
    for case in range(cases):
        path = list(files)[int(rng.integers(len(files)))]
        path.write_bytes(mutate(files[path], rng, files[next(iter(files))]))
        answer = reader.ask(asked)
        path.write_bytes(files[path])
        if not is_fine(answer):
            faults.append(f"case {case}: {answer}")
    print(f"{cases} damaged {kind} files: {dict(reader.counts)}")
    assert not faults
    assert sum(reader.counts.values()) == cases
    assert reader.counts["refused"] > 0.3 * cases
    if kind != "torch":
        sound = flatten(import_file(asked).variables)
        assert reader.ask(asked) == f"ok {arrays_sha256(sound)}"
