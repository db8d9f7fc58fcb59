"""The pages made from the code leave nothing out."""

import dataclasses
import re

import pytest
from places import ROOT

import umss_jax
from docs_site.commands import commands, commands_page, root
from docs_site.configuration import (
    PACKAGE,
    config_files,
    config_modules,
    configuration_page,
    settings,
    settings_classes,
)
from umss_jax.config_tree import leaves
from umss_jax.ranges import LENGTHS, RANGES
from umss_jax.train.config import LossConfig, PretrainConfig, TrainConfig

COMMANDS = {
    " ".join(words): command
    for words, command in commands(root())
    if not hasattr(command, "commands")
}
PARTS = dict(re.findall(r"^## ([a-z0-9 ]+) \{.*?\}$(.*?)(?=^## |\Z)", commands_page(), re.M | re.S))
CLASSES = {
    one.__name__: one for module in config_modules().values() for one in settings_classes(module)
}


def test_every_command_has_its_part():
    assert list(PARTS) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_row(name):
    rows = [line for line in PARTS[name].splitlines() if line.startswith("| `")]
    shown = [one for one in COMMANDS[name].params if not getattr(one, "hidden", False)]
    assert len(rows) == len(shown) > 0 or name == "weights list"
    for parameter, row in zip(shown, rows, strict=True):
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        assert all(one.replace("|", "\\|") in row for one in names)
        assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_rows_say_defaults_and_limits():
    page = commands_page()
    assert "| `-o, --out` | Stems go to OUT/&lt;model&gt;/&lt;track&gt;/. | `separated` |" in page
    assert "| `--adapt STEPS` | First train on each recording itself. (at least 0) | `0` |" in page
    assert re.search(r"\| `FILE\.\.\.` \| .* \| required \|", page)
    assert "<str>" not in page


def test_every_module_of_settings_is_on_the_page():
    rooms = {path.parent.name if path.parent != PACKAGE else "" for path in config_files()}
    assert set(config_modules()) == rooms
    assert {"TrainConfig", "ModelConfig", "SeparationConfig", "AlignmentConfig"} <= set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_has_its_row(name):
    page = configuration_page()
    part = page.split(f"### {name} {{")[1].split("\n### ")[0].split("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
    assert found == [field.name for field in dataclasses.fields(CLASSES[name])]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {6}


def test_rows_of_settings_say_kind_default_range_and_meaning():
    rows = {one.name: one for one in settings(LossConfig)}
    assert rows["fft_sizes"].kind == "list of whole numbers"
    assert rows["fft_sizes"].default == "[2048, 1024, 512, 256, 128, 64]"
    assert rows["fft_sizes"].allowed == f"{RANGES['fft_sizes']}, 1 to 32 values"
    assert LENGTHS["fft_sizes"].high == 32
    assert rows["voice_bands_bins"].kind == "list of pairs of whole numbers"
    assert rows["voice_bands_bins"].meaning.startswith("First and last bin")  # of a comment
    assert rows["mistaken_f0"].meaning.startswith("Probability that half a second")  # of a text
    run = {one.name: one for one in settings(TrainConfig)}
    assert run["parallel"].allowed == "`pmap`, `shard_map`"
    assert run["cosine"].default == "false"


@pytest.mark.parametrize("kind", [TrainConfig, PretrainConfig])
def test_every_key_of_a_run_can_be_found(kind):
    """By following the links from class to class."""
    found, pending = set(), [(kind, "")]
    while pending:
        one, above = pending.pop()
        for row in settings(one):
            if row.kind in CLASSES:
                pending.append((CLASSES[row.kind], f"{above}{row.name}."))
            else:
                found.add(f"{above}{row.name}")
    assert found == set(leaves(kind()))


def test_the_reference_of_python_has_what_the_package_offers():
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE))
    assert {f"{home}.{name}" for name, home in umss_jax._HOMES.items()} <= shown


def test_extras_are_all_spoken_of():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.split("[project.optional-dependencies]")[1]
    extras = re.findall(r"^([a-z-]+) = \[", listed, re.MULTILINE)
    users = set(extras[: extras.index("test")])
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    spoken = {one for found in re.findall(r"\[([a-z,]+)\]\"", text) for one in found.split(",")}
    spoken |= set(re.findall(r"extra `([a-z]+)`", text))
    assert users <= spoken | {"plot", "midi"}
