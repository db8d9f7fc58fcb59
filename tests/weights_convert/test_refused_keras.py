"""Refused weight files: Keras HDF5.

Each file is made from a good one by one change; `refused_weights.refused` says what must happen.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
from refused_weights import enter, refused, refused_after, truncate
from weight_files import write_random


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    return enter(tmp_path, monkeypatch)


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


def path_for_a_name(file):
    file.create_group("folder").copy(file["conv1"], "conv1")
    file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], b"folder/conv1"])


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
    "path for a name": (edit(path_for_a_name), ["layer folder/conv1 has a path for a name"]),
    "listed twice": (edit(listed_twice), ["layer conv1 is listed twice"]),
}


@pytest.mark.parametrize(("change", "messages"), KERAS.values(), ids=KERAS)
def test_keras(change, messages, workplace):
    refused_after(change, write_random("keras-voas-cnn", workplace / "x.h5"), messages)


def test_foreign_hdf5(workplace):
    path = workplace / "x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("dense")
        group.attrs["weight_names"] = np.array([b"kernel:0"])
        group.create_dataset("kernel:0", data=np.zeros((3, 3), np.float32))
        file.attrs["layer_names"] = np.array([b"dense"])
    refused(path, "is of no known kind (it holds dense/kernel")
