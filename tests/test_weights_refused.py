"""Corrupted, truncated, mis-shaped, foreign and malicious files: refused, listed, nothing run.

Every file is made here from a good one by one change. Each must be refused by the command with a
message that tells what is wrong, must leave the store empty and must not make the folder that the
malicious ones would make.
"""

import io
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner
from weight_files import write_random

from umss_jax.cli.weights import app
from umss_jax.errors import UmssError, WeightsError
from weights_convert import import_file

MADE = "made-by-the-file"


class Touch:
    """Makes a folder in the working folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (MADE,)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(path, *messages, kind=None):
    """The command refuses the file with these messages, and nothing has happened."""
    arguments = ["import", str(path), "-o", "x"] + (["--kind", kind] if kind else [])
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UmssError), result.exception
    assert isinstance(result.exception, WeightsError)
    text = str(result.exception)
    assert "\n" not in text
    for message in messages:
        assert message in text, text
    assert str(path) in text
    assert not Path("home").exists()
    assert not Path(MADE).exists()


# Keras ------------------------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_in_the_header(path):
    content = bytearray(path.read_bytes())
    content[8:40] = bytes(32)
    path.write_bytes(content)


def edit(change):
    def apply(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def relist(file, old, new):
    names = [name.decode() for name in file.attrs["layer_names"]]
    names = [new if name == old else name for name in names if new or name != old]
    file.attrs["layer_names"] = np.array([name.encode() for name in names])


def replace(name, array, **options):
    """Replace ``layer/weight`` by another array."""

    def change(file):
        layer, weight = name.split("/")
        del file[f"{layer}/{layer}/{weight}:0"]
        file[layer][layer].create_dataset(f"{weight}:0", data=array, **options)

    return edit(change)


def extra_layer(file):
    file.copy("conv1", "conv9")


def extra_layer_listed(file):
    file.copy("conv1", "conv9")
    names = [*file.attrs["layer_names"], b"conv9"]
    file.attrs["layer_names"] = np.array(names)


def missing_layer(file):
    del file["conv2"]
    relist(file, "conv2", None)


def renamed_layer(file):
    file.move("conv_tenor", "conv_baritone")
    relist(file, "conv_tenor", "conv_baritone")


def unlisted_weight(file):
    file["conv1"]["conv1"].create_dataset("extra:0", data=np.zeros(3, np.float32))


def missing_weight(file):
    del file["conv1/conv1/bias:0"]


def link_elsewhere(link):
    def change(file):
        del file["conv1/conv1/bias:0"]
        file["conv1/conv1"]["bias:0"] = link

    return edit(change)


def external_storage(file):
    del file["conv1/conv1/bias:0"]
    Path("outside.bin").write_bytes(bytes(128))
    file["conv1/conv1"].create_dataset(
        "bias:0", (32,), np.float32, external=[("outside.bin", 0, 128)]
    )


def virtual(file):
    del file["conv1/conv1/bias:0"]
    layout = h5py.VirtualLayout((32,), np.float32)
    layout[:] = h5py.VirtualSource("outside.h5", "x", (32,))
    file["conv1/conv1"].create_virtual_dataset("bias:0", layout)


def promised(file):
    """A header that promises 4 TB without holding them."""
    del file["conv1/conv1/bias:0"]
    file["conv1/conv1"].create_dataset("bias:0", (10**12,), np.float32)


def bomb(file):
    """Ten million zeros in a few kilobytes."""
    del file["conv1/conv1/bias:0"]
    file["conv1/conv1"].create_dataset(
        "bias:0", data=np.zeros(10**7, np.float32), compression="gzip", chunks=True
    )


def no_layer_names(file):
    del file.attrs["layer_names"]


def names_are_numbers(file):
    file.attrs["layer_names"] = np.arange(3)


def listed_twice(file):
    file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], b"conv1"])


def one_norm_less(file):
    del file["batch_normalization_8"]
    relist(file, "batch_normalization_8", None)


BIAS = np.zeros(32, np.float32)
KERAS = {
    "truncated": (truncate, ["cut short or garbled"]),
    "garbled header": (flip_in_the_header, ["cut short or garbled"]),
    "extra layer": (edit(extra_layer), ["extra layer conv9 (not listed)"]),
    "extra layer, listed": (
        edit(extra_layer_listed),
        ["extra conv9/kernel [3, 3, 1, 32]", "extra conv9/bias [32]", "(2 wrong"],
    ),
    "missing layer": (
        edit(missing_layer),
        ["missing conv2/kernel [3, 3, 32, 32]", "missing conv2/bias [32]", "(2 wrong"],
    ),
    "renamed layer": (
        edit(renamed_layer),
        ["missing conv_tenor/kernel", "extra conv_baritone/kernel", "(4 wrong"],
    ),
    "one normalisation less": (edit(one_norm_less), ["missing norm 8/gamma [16]", "(4 wrong"]),
    "unlisted weight": (edit(unlisted_weight), ["extra weight conv1/conv1/extra:0 (not listed)"]),
    "missing weight": (edit(missing_weight), ["conv1/bias: missing"]),
    "mis-shaped": (
        replace("conv_harm_1/kernel", np.zeros((3, 70, 32, 16), np.float32)),
        ["conv_harm_1/kernel is [3, 70, 32, 16] instead of [70, 3, 32, 16]"],
    ),
    "doubles": (replace("conv1/bias", BIAS.astype(np.float64)), ["float64 instead of float32"]),
    "texts": (
        replace("conv1/bias", np.array([b"x"] * 32, object), dtype=h5py.string_dtype()),
        ["conv1/bias: it holds object"],
    ),
    "not a number": (
        replace("conv1/bias", BIAS + np.nan),
        ["params/assignment/block_1/conv/bias holds numbers that are not finite"],
    ),
    "negative variance": (
        replace("batch_normalization_1/moving_variance", BIAS - 1),
        ["batch_stats/assignment/block_1/norm/var is a variance"],
    ),
    "external link": (
        link_elsewhere(h5py.ExternalLink("/etc/passwd", "x")),
        ["conv1/bias: it points elsewhere"],
    ),
    "soft link": (
        link_elsewhere(h5py.SoftLink("/conv2/conv2/bias:0")),
        ["conv1/bias: it points elsewhere"],
    ),
    "external storage": (edit(external_storage), ["conv1/bias: shape [32] is promised"]),
    "virtual": (edit(virtual), ["conv1/bias: it is stored in pieces"]),
    "promised numbers": (edit(promised), ["conv1/bias: shape [1000000000000] is promised"]),
    "compressed": (edit(bomb), ["conv1/bias: it is stored in pieces or through a filter"]),
    "no layer names": (edit(no_layer_names), ["neither layer_names nor model_weights"]),
    "names are numbers": (edit(names_are_numbers), ["layer_names holds something else"]),
    "listed twice": (edit(listed_twice), ["layer conv1 is listed twice"]),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras(name, workplace):
    change, messages = KERAS[name]
    path = write_random("keras-voas-cnn", workplace / "x.h5")
    change(path)
    refused(path, *messages)


def test_foreign_hdf5(workplace):
    path = workplace / "x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("dense")
        group.attrs["weight_names"] = np.array([b"kernel:0"])
        group.create_dataset("kernel:0", data=np.zeros((3, 3), np.float32))
        file.attrs["layer_names"] = np.array([b"dense"])
    refused(path, "is of no known kind (it holds dense/kernel")


# npy folders ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", NPY)
def test_npy(name, workplace):
    change, messages = NPY[name]
    folder = write_random("npy-voas-cnn", workplace / "assigner")
    change(folder)
    refused(folder, *messages)


def test_npy_folder_of_two_networks(workplace):
    folder = write_random("npy-voas-cnn", workplace / "assigner")
    for path in write_random("npy-late-deep", workplace / "estimator").iterdir():
        path.rename(folder / path.name)
    refused(folder, "extra voas_cnn_branch1[0][0]")


# PyTorch ----------------------------------------------------------------------------------------


def state(change):
    """Change the state dict and save it anew."""

    def apply(path):
        import torch

        content = torch.load(path, weights_only=True)
        torch.save(change(content, torch), path)

    return apply


def renamed_key(content, _):
    content["encoder.gru9.weight_ih_l0"] = content.pop("encoder.gru2.weight_ih_l0")
    return content


def with_key(key, make):
    return lambda content, torch: {**content, key: make(torch)}


def without(key):
    return lambda content, torch: {k: v for k, v in content.items() if k != key}


def repack(path, compression=zipfile.ZIP_STORED, leave=lambda name: True):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if leave(name)}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def zip_bomb(path):
    """A compressed member that would unpack to far more than the file holds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))


def flip_in_a_tensor(path):
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 4096] ^= 0xFF
    path.write_bytes(content)


def malicious_checkpoint(path):
    import torch

    torch.save({"encoder.dense.weight": Touch()}, path)


TORCH = {
    "renamed key": (
        state(renamed_key),
        [
            "missing encoder.gru2.weight_ih_l0 [768, 256]",
            "extra encoder.gru9.weight_ih_l0 [768, 256]",
            "(2 wrong",
        ],
    ),
    "missing key": (
        state(without("decoder.mlp.2.1.bias")),
        ["missing decoder.mlp.2.1.bias [512]", "(1 wrong"],
    ),
    "extra key": (state(with_key("thresholds", lambda t: t.zeros(4))), ["extra thresholds [4]"]),
    "transposed": (
        state(with_key("encoder.dense.weight", lambda t: t.zeros(256, 128))),
        ["encoder.dense.weight is [256, 128] instead of [128, 256]"],
    ),
    "half precision": (
        state(with_key("encoder.dense.bias", lambda t: t.zeros(128, dtype=t.float16))),
        ["encoder.dense.bias holds float16 instead of float32"],
    ),
    "bfloat16": (
        state(with_key("encoder.dense.bias", lambda t: t.zeros(128, dtype=t.bfloat16))),
        ["encoder.dense.bias holds bfloat16"],
    ),
    "not finite": (
        state(with_key("encoder.dense.bias", lambda t: t.full((128,), float("inf")))),
        ["params/encoder/dense/bias holds numbers that are not finite"],
    ),
    "no tensor": (state(with_key("encoder.dense.bias", lambda t: "text")), ["is a str, no tensor"]),
    "sparse": (
        state(with_key("encoder.dense.bias", lambda t: t.zeros(128).to_sparse())),
        ["encoder.dense.bias is sparse or quantised"],
    ),
    "more numbers than it has": (
        state(with_key("encoder.dense.bias", lambda t: t.zeros(1).expand(10**12))),
        ["encoder.dense.bias claims more numbers than it has"],
    ),
    "list": (state(lambda content, _: list(content)), ["it holds a list, no state dict"]),
    "runs a command": (malicious_checkpoint, ["PyTorch refuses it"]),
    "truncated": (truncate, ["cut short or garbled"]),
    "one byte flipped": (flip_in_a_tensor, ["is damaged"]),
    "compressed": (lambda path: repack(path, zipfile.ZIP_DEFLATED), ["is compressed"]),
    "zip bomb": (zip_bomb, ["is compressed", "its members are larger than itself"]),
    "other archive": (
        lambda path: repack(path, leave=lambda name: not name.endswith("data.pkl")),
        ["it has no data.pkl"],
    ),
    "lost tensors": (
        lambda path: repack(path, leave=lambda name: not name.endswith("/data/3")),
        ["PyTorch refuses it"],
    ),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    path = tmp_path_factory.mktemp("checkpoint") / "x.pth"
    return write_random("torch-umss-2023", path).read_bytes()


@pytest.mark.parametrize("name", TORCH)
def test_torch(name, workplace, checkpoint):
    change, messages = TORCH[name]
    path = workplace / "x.pth"
    path.write_bytes(checkpoint)
    change(path)
    refused(path, *messages)


def test_unet_of_another_rate(workplace):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    path = write_random("torch-unet-exact", workplace / "x.pth")
    state(with_key("sample_rate", lambda torch: torch.tensor(44_100)))(path)
    refused(path, "sample_rate is 44100 instead of 16000")
    state(without("conv1.1.num_batches_tracked"))(path)
    refused(path, "missing conv1.1.num_batches_tracked", "(2 wrong")


def test_without_pytorch_the_message_says_so(workplace, checkpoint, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (workplace / "x.pth").write_bytes(checkpoint)
    result = CliRunner().invoke(app, ["import", "x.pth", "-o", "x"])
    assert "pip install 'umss-jax[torch]'" in str(result.exception)


# Anything else ----------------------------------------------------------------------------------

OTHER = {
    "empty file": (b"", "is no weight file"),
    "text": (b"weights, honestly", "is no weight file"),
    "bare pickle": (pickle.dumps(Touch(), 4), "is a bare pickle"),
    "old checkpoint": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is a bare pickle"),
    "one npy": (npy_bytes(OBJECTS), "give the whole folder"),
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
