"""Settings that nobody should write: each is valid by its range or refused on one line."""

import dataclasses
import importlib
import math
import os
import pkgutil
import random
import tomllib
import typing

import pytest

import umss_jax
from umss_jax import ranges
from umss_jax.cli import run
from umss_jax.config import ModelConfig
from umss_jax.config_tree import build, plain
from umss_jax.documents import NoDocumentError, parsed_json, parsed_toml, read_json
from umss_jax.errors import UsageError, WeightsError
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.reference_settings import read_reference
from umss_jax.train.settings import build_pretraining, build_run, read_tree
from umss_jax.weights.configuration import restore


def config_classes():
    """Every dataclass of settings in the package."""
    names = [one.name for one in pkgutil.walk_packages(umss_jax.__path__, "umss_jax.")]
    found = {
        one
        for name in names
        if name.endswith(".config")
        for one in vars(importlib.import_module(name)).values()
        if dataclasses.is_dataclass(one) and isinstance(one, type)
    }
    return sorted(found, key=lambda one: one.__name__)


CLASSES = config_classes()
FIELDS = [(kind, field.name) for kind in CLASSES for field in dataclasses.fields(kind)]


def numbers_of(hint):
    """The kinds of number in a type: int, float or none."""
    inner = typing.get_args(hint)
    return {hint} & {int, float} if not inner else set().union(*map(numbers_of, inner))


def test_all_settings_are_swept():
    assert len(CLASSES) >= 25
    assert len(FIELDS) >= 190
    assert {TrainConfig, PretrainConfig, ModelConfig} <= set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_number_has_a_range_that_its_default_is_in(kind):
    default = kind()
    for name, hint in typing.get_type_hints(kind).items():
        if numbers_of(hint):
            assert ranges.of_field(kind.__name__, name), name
    assert build(kind, plain(default)) == default


def test_no_range_is_of_nothing():
    fields = {name for _, name in FIELDS} | {f"{kind.__name__}.{name}" for kind, name in FIELDS}
    assert ranges.RANGES.keys() <= fields
    assert ranges.LENGTHS.keys() <= fields


WRONG = {
    "nan": math.nan,
    "inf": math.inf,
    "minus inf": -math.inf,
    "1e308": 1e308,
    "-1e308": -1e308,
    "tiny": 5e-324,
    "-0": -0.0,
    "0": 0,
    "-1": -1,
    "-1.5": -1.5,
    "huge": 10**400,
    "more digits than Python shows": 10**5000,
    "2**63": 2**63,
    "true": True,
    "text": "many",
    "long text": "x" * 1_000_000,
    "escape": "\x1b[31mred",
    "NUL": "a\0b",
    "two lines": "a\nb",
    "table": {"a": 1},
    "date": tomllib.loads("a = 2024-05-01")["a"],
    "time": tomllib.loads("a = 12:00:00")["a"],
    "empty list": [],
    "list of NaN": [math.nan, math.nan],
    "list of lists": [[[1]]],
    "list of tables": [{}],
    "descending": [2, 1],
    "too many": [1] * 20_000,
    "None": None,
}


def check_line(message, name=""):
    """A message is short, can be printed, and names the setting (or the option it stands for)."""
    assert len(message) < 600
    assert message.isprintable()
    assert name in message or "--" in message


def values_in(value):
    return (
        [one for part in value for one in values_in(part)] if isinstance(value, tuple) else [value]
    )


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda one: getattr(one, "__name__", one))
def test_every_setting_is_in_its_range_or_refused_on_one_line(kind, name):
    default = getattr(kind(), name)
    for wrong in WRONG.values():
        for value in (wrong, [wrong] * 2, [wrong] * 4, [[wrong] * 2] * 4):
            try:
                built = getattr(build(kind, {name: value}), name)
            except UsageError as error:
                check_line(str(error), name)
                continue
            assert type(built) is type(default)
            allowed = ranges.of_field(kind.__name__, name)
            for one in values_in(built):
                if type(one) in (int, float):
                    assert math.isfinite(one)
                    assert allowed.low <= one <= allowed.high
                else:
                    assert isinstance(one, bool | str)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.learning_rate=nan", "learning_rate is nan: give a number from 0 to 100"),
        ("optimiser.learning_rate=1e308", "from 0 to 100"),
        ("optimiser.learning_rate=-inf", "from 0 to 100"),
        ("optimiser.learning_rate=true", "learning_rate is True: give a number"),
        ("optimiser=3", "optimiser is 3: set what is in it"),
        ("seed={a=1}", r"seed is \{'a': 1\}: give a whole number"),
        ("name={a=1}", "give a text, such as name=run"),
        ("batch=1_000_000_000_000", "from 1 to 4096"),
        ("batch=2024-05-01", "batch is '2024-05-01': give a whole number"),
        ("model.f0.thresholds=[]", "has 0 values: give 4"),
        ("model.f0.thresholds=[0.1, 0.2, 0.3, nan]", "is nan: give a number from 0 to 1"),
        ("model.audio.hop_samples=0", "from 1 to 16384"),
        ("model.audio.example_samples=64001", "give a multiple of audio.hop_samples"),
        ("model.mask.fft_size=64", "give at least mask.hop_samples"),
        ("model.hcqt.bins_per_octave=12", "octaves above 32.7 Hz"),
        ("model.decoder.f0_low_hz=9000", "give less than decoder.f0_high_hz"),
        ("loss.voice_bands_bins=[[1,2],[1,2],[1,2],[1,360]]", "stay below the 360 bins"),
        ("loss.voice_bands_bins=[[2,1],[1,2],[1,2],[1,3]]", "give the lower number first"),
        ("data.train.singers=[0]", "from 1 to 1000"),
        ("optimiser.learning_rat=1", "did you mean optimiser.learning_rate"),
        ("a" * 10_000 + "=1", "no setting is called aaa"),
        (".".join("a" * 10_000) + "=1", "no setting is called"),
        ("data..x=1", "no setting is called data."),
        (f"batch={'[' * 20_000}", r"batch is '\[\["),
        (f"batch={'9' * 5000}", "batch is '999"),
        (f"batch={'9' * 400}", "from 1 to 4096"),
        (f"weights={'x' * 100_000}", "at most 4096 characters"),
        ("batch=1\nseed=2", "batch is"),
        ("name=" + "x" * 201, "is no name of a run"),
        ("name=\x1b[31m", r"name is '\\x1b"),
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
def test_what_is_refused_says_name_value_and_range(override, message):
    with pytest.raises(UsageError, match=message) as caught:
        build_run({}, [override])
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_a_date_is_a_name_on_the_command_line():
    assert build_run({}, ["name=2024-05-01"]).name == "2024-05-01"
    assert build_run({}, ["name=12:30:00"]).name == "12:30:00"
    assert build_run({"name": "2024-05-01"}).name == "2024-05-01"


def test_whole_numbers_are_numbers_and_the_last_of_a_key_counts():
    config = build_run({}, ["loss.l1_weight=5", "seed=1", "seed=2"])
    assert (config.loss.l1_weight, config.seed) == (5.0, 2)


DEEP = "[" * 20_000
FILES = {
    "nested lists": (f"batch = {DEEP}{']' * 20_000}".encode(), "nested more than 32 levels"),
    "nested, not ended": (f"batch = {DEEP}".encode(), "nested more than 32 levels"),
    "nested tables": (("a = " + "{a = " * 10_000).encode(), "nested more than 32 levels"),
    "long header": (("[" + "a." * 20_000 + "a]").encode(), "more than 32 parts"),
    "long key": (("a." * 20_000 + "a = 1").encode(), "more than 32 parts"),
    "long quoted key": (('"a" . ' * 10_000 + "a = 1").encode(), "more than 32 parts"),
    "date as a name": (b"name = 2024-05-01", r"name is 2024-05-01: give a text"),
    "date as a number": (b"batch = 2024-05-01T10:00:00Z", "give a whole number"),
    "date as a key": (b"2024-05-01 = 3", "no setting is called 2024-05-01"),
    "duplicate key": (b"batch = 1\nbatch = 2", "is no valid TOML"),
    "duplicate table": (b"[data]\npool = 1\n[data]\npool = 2", "is no valid TOML"),
    "not a date": (b"name = 2024-13-41", "is no valid TOML"),
    "digits": (b"batch = " + b"9" * 5000, "a number or a date is none"),
    "huge": (b"batch = 1" + b"0" * 400, "batch is 1000"),
    "UTF-16, cut": ("batch = 3".encode("utf-16")[:-1], "is not text in UTF-8"),
    "Latin-1": ("name = 'ä'".encode("latin-1"), "is not text in UTF-8"),
    "NUL": (b"name = 'a'\0", "holds NUL"),
    "binary": (bytes(range(256)) * 10, "is no file of settings"),
    "ELF": (b"\x7fELF\2\1\1" + bytes(100), "holds NUL"),
    "10 MB": (b"name = '" + b"x" * 10_000_000 + b"'", "larger than 64 kB"),
    "text of 60 kB": (b"weights = '" + b"x" * 60_000 + b"'", "at most 4096 characters"),
    "table for a value": (b"[batch]\na = 1", r"batch is \{'a': 1\}"),
    "tables for a value": (b"[[batch]]\na = 1", "batch is"),
    "value for a table": (b"optimiser = 'adam'", "set what is in it"),
    "list for a table": (b"optimiser = [1]", "set what is in it"),
    "unknown": (b"optimizer = 1", r"no setting is called optimizer: did you mean optimiser\?"),
    "empty key": (b"'' = 1", "no setting is called"),
    "escape in a key": (b'"\\u001b[31m" = 1', r"no setting is called \\x1b"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES.keys())
def test_files_of_settings_are_refused_by_name(tmp_path, capsys, content, message):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        build_run(read_tree(path))
    for command in ("train", "pretrain"):
        assert run([command, str(path), "--show"]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert len(told.err) < 1000
        assert told.err[:-1].isprintable()


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfbatch = 3\r\n# [[[[ {{{{\r\n")
    assert read_tree(tmp_path / "a.toml") == {"batch": 3}


def test_brackets_and_dots_in_texts_and_remarks_are_no_levels():
    text = (
        "a = '''" + DEEP + "'''\n# " + DEEP + '\nb = "\\"' + "x." * 40 + '"\nc = [' + "0.5, " * 500
    )
    assert parsed_toml(text + "]")["b"] == '"' + "x." * 40
    assert parsed_json('["\\"' + DEEP + '"]') == ['"' + DEEP]


def places(folder):
    """What a path may lead to that is no file of settings."""
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    with open(folder / "sparse", "wb") as file:
        file.truncate(1 << 30)
    return ["pipe", "zero", "folder", "loop", "sparse", "a\0b", "none", "x" * 300]


def test_places_that_are_no_files_are_refused_at_once(tmp_path):
    for name in places(tmp_path):
        path = tmp_path / name
        with pytest.raises((OSError, NoDocumentError)):
            read_json(path)
        for read in (read_tree, read_reference):
            with pytest.raises(UsageError):
                read(path)


@pytest.mark.parametrize(
    "text",
    [DEEP, "{" * 100_000, f"a = {DEEP}", "lr = nan", "lr = 1e400", "batch-size = {}", "tag = []"],
)
def test_hostile_settings_of_the_reference(tmp_path, text):
    path = tmp_path / "config.txt"
    path.write_text(f"dataset = CSD\nF0-models = True\n{text}\n")
    try:
        build_run(read_reference(path))
    except UsageError as error:
        check_line(str(error))
    else:
        assert text == "tag = []"


@pytest.mark.parametrize(
    "tree",
    [
        [],
        None,
        {"audio": 3},
        {"audio": {"sample_rate_hz": math.nan}},
        {"audio": {"hop_samples": 0}},
        {"encoder": {"hidden": 10**400}},
        {"f0": {"thresholds": [math.inf] * 4}},
        {"f0": {"thresholds": []}},
        {"\x1b": 1},
        {"unet": {"channels": [1] * 100_000}},
    ],
)
def test_configurations_of_weights_are_refused_by_name(tree):
    with pytest.raises(WeightsError, match=r"a\.safetensors") as caught:
        restore(tree, "a.safetensors")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def mutated(generator, text):
    """A file of settings with a few characters changed, doubled or gone."""
    pieces = [
        "[",
        "1",
        "",
        "]",
        "{",
        "}",
        "=",
        ".",
        "nan",
        "inf",
        "-",
        "1e308",
        "'",
        '"',
        "\n",
        "\x1b",
        "2024-01-01",
    ]
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(text) + 1)
        end = min(len(text), place + generator.randint(0, 8))
        text = (
            text[:place] + generator.choice(pieces) * generator.choice((1, 1, 1, 50)) + text[end:]
        )
    return text


@pytest.mark.parametrize(
    ("count", "least"), [(300, 200), pytest.param(20_000, 15_000, marks=pytest.mark.slow)]
)
def test_mutated_settings_are_valid_or_refused(count, least):
    text = (
        "name = 'a'\nbatch = 4\nseed = 3\nepochs = [1, 2, 3]\n[optimiser]\nlearning_rate = 1e-3\n"
        "[data.train]\nfolders = ['a', 'b']\n[loss]\nfft_sizes = [512, 64]\n[model.f0]\n"
        "thresholds = [0.1, 0.2, 0.3, 0.4]\n"
    )
    assert build_run(parsed_toml(text)).batch == 4
    generator = random.Random(13)
    refused = 0
    for _ in range(count):
        try:
            config = build_run(parsed_toml(mutated(generator, text)))
        except (UsageError, NoDocumentError) as error:
            refused += 1
            check_line(str(error))
        else:
            assert math.isfinite(config.optimiser.learning_rate)
    assert least <= refused < count


def test_pretraining_has_two_of_each():
    for setting in (
        "steps=[1]",
        "batch=[]",
        "crop_s=[1.0, 2.0, 3.0]",
        "batch=[0, 1]",
        "crop_s=[nan, 1.0]",
    ):
        with pytest.raises(UsageError, match=setting.split("=")[0]):
            build_pretraining({}, [setting])
