"""Names that would steer a terminal, in what the commands list."""

import json

import pytest

from umss_jax.cli import run
from umss_jax.errors import brief

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202e"


def test_the_list_of_runs(tmp_path, capsys):
    folder = tmp_path / EVIL
    (folder / EVIL).mkdir(parents=True)
    state = {"state": EVIL, "phase": EVIL, "updated": EVIL}
    (folder / EVIL / "state.json").write_text(json.dumps(state))
    (tmp_path / f"{EVIL}none").mkdir()
    assert run(["runs", str(folder)]) == 0
    listed = capsys.readouterr()
    assert run(["runs", str(tmp_path / f"{EVIL}none")]) == 0
    none = capsys.readouterr()
    for text in (listed.out, listed.err, none.err):
        assert all(line.isprintable() for line in text.split("\n"))
    assert r"\x1b[31mred" in listed.out
    assert r"\x1b[31mred" in none.err


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_value_of_undefined_frames_that_is_none(tmp_path, capsys, number):
    assert run(["evaluate", "--baselines", "--data", str(tmp_path), "--undefined-as", number]) == 2
    assert "--undefined-as is" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, b"x" * 10**6, 10**5000, [["a" * 10**5] * 10**4] * 10, {"a": {}}, EVIL, {EVIL: 1}],
    ids=lambda one: type(one).__name__,
)
def test_values_in_messages_are_short_and_on_one_line(value):
    assert len(brief(value)) < 200
    assert brief(value).isprintable()


def test_values_in_messages_are_as_python_writes_them():
    assert [brief(one) for one in (3, 1.5, True, "a", [1, 2])] == [
        "3",
        "1.5",
        "True",
        "'a'",
        "[1, 2]",
    ]
