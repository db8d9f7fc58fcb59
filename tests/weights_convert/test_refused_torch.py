"""Refused weight files: PyTorch checkpoints.

Each file is made from a good one by one change; `refused_weights.refused` says what must happen.
"""

import zipfile

import pytest
from refused_weights import Touch, enter, refused, refused_after, truncate
from typer.testing import CliRunner
from weight_files import write_random

from umss_jax.cli.weights import app


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    return enter(tmp_path, monkeypatch)


def changed(change):
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
        changed(renamed_key),
        [
            "missing encoder.gru2.weight_ih_l0 [768, 256]",
            "extra encoder.gru9.weight_ih_l0 [768, 256]",
            "(2 wrong",
        ],
    ),
    "missing key": (
        changed(without("decoder.mlp.2.1.bias")),
        ["missing decoder.mlp.2.1.bias [512]", "(1 wrong"],
    ),
    "extra key": (changed(with_key("thresholds", lambda t: t.zeros(4))), ["extra thresholds [4]"]),
    "transposed": (
        changed(with_key("encoder.dense.weight", lambda t: t.zeros(256, 128))),
        ["encoder.dense.weight is [256, 128] instead of [128, 256]"],
    ),
    "half precision": (
        changed(with_key("encoder.dense.bias", lambda t: t.zeros(128, dtype=t.float16))),
        ["encoder.dense.bias holds float16 instead of float32"],
    ),
    "bfloat16": (
        changed(with_key("encoder.dense.bias", lambda t: t.zeros(128, dtype=t.bfloat16))),
        ["encoder.dense.bias holds bfloat16"],
    ),
    "not finite": (
        changed(with_key("encoder.dense.bias", lambda t: t.full((128,), float("inf")))),
        ["params/encoder/dense/bias holds numbers that are not finite"],
    ),
    "no tensor": (
        changed(with_key("encoder.dense.bias", lambda t: "text")),
        ["is a str, no tensor"],
    ),
    "sparse": (
        changed(with_key("encoder.dense.bias", lambda t: t.zeros(128).to_sparse())),
        ["encoder.dense.bias is sparse or quantised"],
    ),
    "more numbers than it has": (
        changed(with_key("encoder.dense.bias", lambda t: t.zeros(1).expand(10**12))),
        ["encoder.dense.bias claims more numbers than it has"],
    ),
    "list": (changed(lambda content, _: list(content)), ["it holds a list, no state dict"]),
    "runs a command": (malicious_checkpoint, ["it asks for", "mkdir"]),
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


@pytest.mark.parametrize(("change", "messages"), TORCH.values(), ids=TORCH)
def test_torch(change, messages, workplace, checkpoint):
    path = workplace / "x.pth"
    path.write_bytes(checkpoint)
    refused_after(change, path, messages)


def test_unet_of_another_rate(workplace):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    path = write_random("torch-unet-exact", workplace / "x.pth")
    changed(with_key("sample_rate", lambda torch: torch.tensor(44_100)))(path)
    refused(path, "sample_rate is 44100 instead of 16000")
    changed(without("conv1.1.num_batches_tracked"))(path)
    refused(path, "missing conv1.1.num_batches_tracked", "(2 wrong")


def test_without_pytorch_the_message_says_so(workplace, checkpoint, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (workplace / "x.pth").write_bytes(checkpoint)
    result = CliRunner().invoke(app, ["import", "x.pth", "-o", "x"])
    assert "pip install 'umss-jax[torch]'" in str(result.exception)
