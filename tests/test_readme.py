"""The README is short, and what it says is so.

Its commands and its Python are tried in tests/docs/test_blocks.py.
"""

import posixpath
import re
import tomllib

import pytest
from page_blocks import inline
from places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_takes_two_minutes_to_read():
    assert README.count("\n") <= 120
    assert len(README.split()) <= 1200


def test_links_and_the_picture_lead_somewhere():
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    assert len(links) > 20
    for link in links:
        is_there = (ROOT / posixpath.normpath(link)).is_file()
        assert is_there or link.startswith("https://"), link


def test_the_test_command_is_what_continuous_integration_calls():
    called = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert called == "exec make test"
    assert "make test" in inline(README)


def test_python_and_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in README
    assert any(one.startswith("numpy>=2") for one in project["dependencies"])


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ("| `starter` |", "umss_jax/starter/MODEL_CARD.md"),
        ("| `starter`, as `separate` does", "experiments/README.md"),
        ("| UMSS, 480 steps |", "experiments/README.md"),
        ("| W_UP, 660 steps |", "experiments/README.md"),
    ],
)
def test_figures_are_those_that_were_measured(row, source):
    """To the digits, of the mean and the median, where they are reported with their commands."""
    (line,) = [line for line in README.splitlines() if line.startswith(row)]
    figures = re.findall(r"\d+\.\d\d(?= dB)", line)[:2]
    assert len(figures) == 2
    measured = (ROOT / source).read_text(encoding="utf-8")
    assert all(figure in measured for figure in figures), figures


def test_figures_for_scale_are_those_that_were_measured():
    measured = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    speed = (ROOT / "experiments" / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for figure in ("−5.64", "3.62", "10.56"):
        assert figure in README
        assert figure in measured
    (row,) = [line for line in README.splitlines() if line.startswith("| speed |")]
    figures = re.findall(r"\b\d+\.\d+ (?:of real time|GB)", row)
    assert len(figures) >= 2
    assert all(figure in speed for figure in figures), figures
