"""Numbers with their nouns and names in messages; no message of the package says "1 pieces"."""

import os
import re

import pytest
from places import ROOT

from umss_jax.words import counted, readable, some_of


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (0, ("piece",), "0 pieces"),
        (1, ("piece",), "1 piece"),
        (2, ("piece",), "2 pieces"),
        (1, ("link leads", "links lead"), "1 link leads"),
        (3, ("link leads", "links lead"), "3 links lead"),
    ],
)
def test_numbers_have_their_noun(number, nouns, text):
    assert counted(number, *nouns) == text


def test_some_names():
    assert some_of(["a"]) == "a"
    assert some_of(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"Ch\xc3\xb6re.wav", "Chöre.wav"),
        (b"Cho\xcc\x88re.wav", "Chöre.wav"),
        (b"Ch\xf6re.wav", "Chöre.wav"),
        (b"a\nb\x1b[31m.wav", "a b\N{REPLACEMENT CHARACTER}[31m.wav"),
    ],
)
def test_names_can_be_written_anywhere(name, text):
    assert readable(os.fsdecode(name)) == text
    text.encode()


COUNTED = re.compile(
    r"\{(?:len\([^{}]*\)|[^{}]*count[^{}]*|[^{}]*excerpts[^{}]*)\} (?:\w+ )?"
    r"(?:pieces|excerpts|recordings|starts|rows|arrays|parameters|steps|phases|numbers)\b"
)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "umss_jax").rglob("*.py")), ids=lambda path: path.stem
)
def test_no_message_counts_without_a_noun_that_fits(path):
    assert COUNTED.findall(path.read_text(encoding="utf-8")) == []
