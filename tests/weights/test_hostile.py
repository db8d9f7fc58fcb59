"""Files of weights that are damaged or made to take the machine: read as stored, or one line."""

import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import soundfile
from hostile_worker import Reader, is_fine, seed_of
from mutations import mutate
from safetensors.numpy import load_file, save
from weight_files import as_earlier_version, assert_same, change_json, change_metadata

from umss_jax.cli import run
from umss_jax.config import EncoderConfig, ModelConfig
from umss_jax.config_tree import leaves, nested, plain
from umss_jax.errors import UmssError, WeightsError
from umss_jax.files import arrays_sha256, file_sha256
from umss_jax.model import init_variables
from umss_jax.trees import flatten
from umss_jax.weights import store
from umss_jax.weights.combine import load_weights, stored_configuration
from umss_jax.weights.stored_file import content_of

CONFIG = ModelConfig(encoder=EncoderConfig(fft_size=4, hidden=2, latent=3))
VARIABLES = jax.tree.map(
    np.asarray, {"params": init_variables(jax.random.key(0), CONFIG, ("encoder",))["params"]}
)
FLAT = flatten(VARIABLES)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def path(tmp_path):
    return store.save(tmp_path / "x.safetensors", VARIABLES, CONFIG, {"origin": "é"})


@pytest.fixture(scope="module")
def reader():
    with Reader("stored") as started:
        yield started


def refused(path, *words):
    with pytest.raises(WeightsError) as caught:
        store.load(path)
    line = str(caught.value)
    assert str(path.with_suffix("")) in line
    assert "\n" not in line
    assert len(line) < 2000
    for word in words:
        assert word in line, line
    return line


def test_one_file_holds_everything(path):
    assert list(load_file(path)) == list(FLAT)
    found = store.load(path)
    assert_same(found.variables, VARIABLES)
    assert found.config == CONFIG
    assert found.metadata["origin"] == "é"
    again = store.save(path.with_name("y.safetensors"), VARIABLES, CONFIG, {"origin": "é"})
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_noticed_and_named(path, step):
    content = path.read_bytes()
    for at in range(0, len(content), step):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        refused(path, "stored")
    path.write_bytes(content)
    store.load(path)


def test_every_flipped_bit_of_the_tensors_of_earlier_versions_is_noticed(path):
    as_earlier_version(path)
    content = path.read_bytes()
    for at in range(0, len(content), 13):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        refused(path, "is not what was stored")


def test_files_of_earlier_versions_are_read_and_replaced(path):
    beside = as_earlier_version(path)
    assert_same(store.load(path).variables, VARIABLES)
    store.copy(path, path.with_name("y.safetensors"))
    assert_same(store.load(path.with_name("y.safetensors")).variables, VARIABLES)
    other = jax.tree.map(lambda leaf: leaf + 1, VARIABLES)
    # As after a kill between the two: what the tensors' own file says goes first.
    store.save(path, other, CONFIG)
    assert not beside.exists()
    beside.write_text('{"tensors_sha256": "0", "parts": [], "format": 2}')
    assert_same(store.load(path).variables, other)
    store.copy(path, path.with_name("y.safetensors"))
    assert_same(store.load(path.with_name("y.safetensors")).variables, other)


def test_other_json_beside_is_left_alone(path):
    beside = path.with_suffix(".json")
    for text in ('{"mine": 1}', "[]", "no json", "[" * 100_000):
        beside.write_text(text)
        store.save(path, VARIABLES, CONFIG)
        assert beside.read_text() == text
        store.load(path)


KILLED = """
import sys, numpy as np
from umss_jax.config import ModelConfig
from umss_jax.weights import store
loaded = store.load(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    tree = {"params": {"encoder": {}}}
    def fill(tree):
        return {k: fill(v) if isinstance(v, dict) else np.full_like(v, number)
                for k, v in tree.items()}
    store.save(sys.argv[1], fill(loaded.variables), loaded.config)
"""


@pytest.mark.slow
def test_killed_while_it_is_written_again_and_again(path):
    """Whenever the end comes, one whole version is there."""
    rng = np.random.default_rng(0)
    command = [sys.executable, "-c", KILLED, str(path)]
    for _ in range(3):
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.05 + 0.2 * rng.random())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        values = {float(leaf.flat[0]) for leaf in flatten(store.load(path).variables).values()}
        assert len(values) == 1 or values == {float(leaf.flat[0]) for leaf in FLAT.values()}


def is_read_or_refused(look, path):
    try:
        look(str(path))
    except UmssError as error:
        line = str(error)
        return len(line) < 2000 and "\n" not in line
    return True


def mostly_slow(values, kept):
    """All values; those between every ``kept``-th one are left to the large suite."""
    return [
        value if number % kept == 0 else pytest.param(value, marks=pytest.mark.slow)
        for number, value in enumerate(values)
    ]


ANY_JSON = [["a"], True, False, 0, -1, 10**400, None, "", "a\nb", [], {}, [[]], 1.5, {"a": []}]


@pytest.mark.parametrize("key", ["architecture", "format", "parts", "parameters", "configuration"])
@pytest.mark.parametrize("value", mostly_slow(ANY_JSON, 5), ids=lambda value: repr(value)[:12])
def test_metadata_of_any_type(path, key, value, capsys):
    """Read, or refused in one line, by everything that reads metadata."""

    def looked_at():
        for look in (store.read_metadata, store.load, stored_configuration, load_weights):
            assert is_read_or_refused(look, path)
        for command in ("show", "verify"):
            assert run(["weights", command, str(path)]) in (0, 1)
            assert capsys.readouterr().err.count("\n") <= 1

    change_metadata(path, **{key: value})
    looked_at()
    change_metadata(path, **{key: None})
    beside = as_earlier_version(path)
    change_json(beside, **{key: value})
    looked_at()


@pytest.mark.parametrize("key", ["architecture", "kind", "licence", "origin"])
@pytest.mark.parametrize("value", [[], ["late-deep"], {}, 3, True])
def test_texts_that_are_none_are_named(path, key, value):
    change_metadata(path, **{key: value})
    refused(path, f"metadata of a wrong type ({key})")


@pytest.mark.parametrize("name", mostly_slow(leaves(ModelConfig()), 10))
def test_configurations_with_any_numbers(path, name):
    """No number in a configuration takes time, memory or a traceback."""
    for value in (0, -1, 10**9, 10**400, 1e308, float("nan"), "x", [1] * 1000, [], None, {}):
        values = {**leaves(CONFIG), name: value}
        change_metadata(path, configuration=nested(values))
        assert is_read_or_refused(store.load, path)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def raw(entries, data=bytes(8), length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    count = len(text) if length is None else length
    return count.to_bytes(8, "little") + text + data


A = "params/encoder/a"
HEADERS = {
    "length of 2^40": raw({A: entry()}, length=1 << 40),
    "length of 2^63": raw({A: entry()}, length=(1 << 64) - 1),
    "no json": raw(b"{"),
    "a list": raw([]),
    "deep": raw(b'{"a":' + b"[" * 200_000),
    "long number": raw(b'{"a":' + b"1" * 10_000 + b"}"),
    "twice": raw(f'{{"{A}":{json.dumps(entry())},"{A}":{json.dumps(entry())}}}'.encode()),
    "beyond the end": raw({A: entry(shape=(4,), offsets=(0, 16))}),
    "before the beginning": raw({A: entry(offsets=(-8, 0))}),
    "backwards": raw({A: entry(offsets=(8, 0))}),
    "overlapping": raw({A: entry(), A + "b": entry()}),
    "a gap": raw({A: entry(offsets=(8, 16))}, bytes(16)),
    "more data": raw({A: entry()}, bytes(16)),
    "fewer data": raw({A: entry()}, bytes(4)),
    "product overflows": raw({A: entry(shape=(2**32, 2**32), offsets=(0, 0))}),
    "product overflows to the size": raw({A: entry(shape=(2**62 + 2,))}),
    "negative": raw({A: entry(shape=(-2,))}),
    "negative twice": raw({A: entry(shape=(-2, -1))}),
    "many dimensions": raw({A: entry(shape=(1,) * 999 + (2,))}),
    "shape of texts": raw({A: entry(shape=("2",))}),
    "shape of fractions": raw({A: entry(shape=(2.0,))}),
    "true": raw({A: entry(shape=(True, 2))}),
    "no entry": raw({A: None}),
    "a list for an entry": raw({A: []}),
    "unknown type": raw({A: entry("F128")}),
    "type of a list": raw({A: entry([])}),
    "one offset": raw({A: {"dtype": "F32", "shape": [2], "data_offsets": [0]}}),
    "name that leads up": raw({"params/../a": entry()}),
    "empty name": raw({"": entry()}),
    "empty folder": raw({"params//a": entry()}),
    "NUL in a name": raw({A + "\0": entry()}),
    "line in a name": raw({A + "\n": entry()}),
    "escape in a name": raw({A + "\x1b[31m": entry()}),
    "long name": raw({A + "x" * 10_000: entry()}),
    "array and folder": raw(
        {A: entry(), A + "/b": entry(offsets=(8, 16)), A + "-": entry(offsets=(16, 24))}, bytes(24)
    ),
    "many arrays": raw({f"{A}{n}": entry(shape=(0,), offsets=(0, 0)) for n in range(10_001)}, b""),
    "metadata of a list": raw({"__metadata__": [], A: entry()}),
    "own metadata of a list": raw({"__metadata__": {"umss_jax": []}, A: entry()}),
    "own metadata without a hash": raw({"__metadata__": {"umss_jax": "{}"}, A: entry()}),
    "empty": b"",
    "short": b"\x00" * 7,
    "zeros": bytes(64),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("is_told", [True, False])
def test_headers_that_lie(tmp_path, name, is_told):
    """Whether or not metadata beside it agree with its hash."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[name])
    if is_told:
        about = {"format": 2, "parts": ["encoder"], "configuration": plain(CONFIG)}
        about["tensors_sha256"] = file_sha256(path)
        path.with_suffix(".json").write_text(json.dumps(about))
    refused(path)


@pytest.mark.parametrize(
    "dtype", ["F64", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "BOOL", "C64"]
)
def test_other_types_are_named(tmp_path, dtype):
    bits = {"F64": 64, "I64": 64, "C64": 64, "F16": 16, "BF16": 16}.get(dtype, 8)
    data = bytes(2 * bits // 8)
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw({A: entry(dtype, offsets=(0, len(data)))}, data))
    about = {"format": 1, "parts": ["encoder"], "tensors_sha256": file_sha256(path)}
    path.with_suffix(".json").write_text(json.dumps(about))
    refused(path, f"{A} holds ", "instead of float32")


def test_arrays_outside_of_any_part_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    for names in (["a"], ["params"], ["params/a"], ["state/encoder/a"]):
        flat = {name: np.zeros(2, np.float32) for name in names}
        path.write_bytes(content_of(flat, {"format": 1, "parts": []}))
        refused(path, "lies in no part")


def test_plain_safetensors_say_what_is_missing(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({A: np.zeros(2, np.float32)}))
    refused(path, "x.json cannot be read")


def test_what_is_no_regular_file_is_refused(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("pipe", "zero", "folder"):
        answer = reader.ask(tmp_path / f"{name}.safetensors")
        assert "not a regular file" in answer
        assert is_fine(answer)
    good = store.save(tmp_path / "x.safetensors", VARIABLES, CONFIG)
    beside = as_earlier_version(good)
    for target in ("/dev/zero", "pipe.safetensors"):
        beside.unlink()
        beside.symlink_to(target)
        answer = reader.ask(good)
        assert "not a regular file" in answer
        assert is_fine(answer)


def test_sparse_files_are_refused(path, reader):
    for size in (200 << 20, 6 << 30):
        os.truncate(path, size)
        answer = reader.ask(path)
        assert answer.startswith("refused ")
        assert is_fine(answer)


@pytest.mark.parametrize("name", ["no json", "array and folder", "length of 2^40", "deep"])
def test_commands_refuse_in_one_line(tmp_path, capsys, name):
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[name])
    sound = tmp_path / "a.wav"
    soundfile.write(sound, 0.1 * np.sin(np.arange(16_000) / 10), 16_000)
    for arguments in (
        ["weights", "import", str(path), "-o", "mine"],
        ["weights", "show", str(path)],
        ["weights", "verify", str(path)],
        ["weights", "export", str(path), str(tmp_path / "out"), "--to", "npy"],
        ["separate", str(sound), "-n", str(path), "-o", str(tmp_path / "out")],
    ):
        assert run(arguments) == 1
        said = capsys.readouterr()
        assert not said.out
        assert len([line for line in said.err.splitlines() if "x.safetensors" in line]) == 1
        assert "Traceback" not in said.err


def test_weights_that_a_training_begins_with_are_checked(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS["array and folder"])
    for look in (load_weights, stored_configuration):
        with pytest.raises(WeightsError, match="no safetensors file"):
            look(str(path))


def test_starter_is_verified_by_its_own_configuration(capsys):
    assert run(["weights", "verify", "starter"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("starter: ok, 182 arrays, hash, finite values")
    assert "configuration" in out


@pytest.mark.parametrize("cases", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_as_stored_or_refused(path, cases, reader):
    one = path.read_bytes()
    as_earlier_version(path)
    two = path.read_bytes()
    expected = f"ok {arrays_sha256(FLAT)}"
    faults = []
    reader.counts.clear()
    for case in range(cases):
        rng = np.random.default_rng(seed_of("stored", case))
        content, other = (one, two) if case % 2 else (two, one)
        path.write_bytes(mutate(content, rng, other))
        answer = reader.ask(path)
        if not is_fine(answer) or (answer.startswith("ok ") and answer != expected):
            faults.append(f"case {case}: {answer}")
    print(f"{cases} damaged files of stored weights: {dict(reader.counts)}")
    assert not faults
    assert sum(reader.counts.values()) == cases
    assert reader.counts["refused"] > 0.5 * cases
