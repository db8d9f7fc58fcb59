"""The pages are whole without being built: navigation, links, anchors, equations, sizes."""

import posixpath
import re

import pytest
from places import ROOT

from docs_site.check import problems
from docs_site.pages import BROUGHT, DOCS, all_pages, extra_pages, with_links

yaml = pytest.importorskip("yaml")
toc = pytest.importorskip("markdown.extensions.toc")

SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = all_pages()
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)


def prose(text):
    return re.sub(r"`[^`\n]*`", "code", FENCED.sub("", text))


def places(entries):
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else places(value)


def anchors(text):
    """Of the headings, as Markdown numbers those that are the same."""
    used, found = set(), set()
    for line in re.findall(r"^#{1,6} +(.*)$", FENCED.sub("", text), re.MULTILINE):
        named = re.search(r"\{ *#([\w-]+) *\}", line)
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", re.sub(r"\{[^}]*\}", "", line))
        found.add(named[1] if named else toc.unique(toc.slugify(plain.strip(), "-"), used))
    return found


def test_every_page_is_in_the_navigation_once():
    listed = list(places(SETTINGS["nav"]))
    assert sorted(listed) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_files_and_headings(page):
    for link in LINK.findall(prose(PAGES[page])):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "data:image/")), link
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        assert target in PAGES or (DOCS / target).is_file(), link
        if anchor:
            assert anchor in anchors(PAGES[target]), link


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_one_title(page):
    assert len(re.findall(r"^# ", FENCED.sub("", PAGES[page]), re.MULTILINE)) == 1


def test_links_to_the_repository_lead_within_the_site():
    there = {"CONTRIBUTING.md", *BROUGHT}
    text = "[a](../CONTRIBUTING.md#x) [`b`](../tests/b.py) [c](how.md) [d](https://d) ![e](../e)"
    assert with_links(text, "page.md", {*there, "how.md"}) == (
        "[a](contributing.md#x) `b` [c](how.md) [d](https://d) ![e](../e)"
    )


def test_clips_and_picture_stay_small():
    kept = [*(DOCS / "example").iterdir(), *(DOCS / "images").iterdir()]
    assert sum(path.stat().st_size for path in kept) < 300_000
    notebooks = sum(path.stat().st_size for path in DOCS.glob("notebooks/*.ipynb"))
    assert notebooks < 200_000


def test_equations_are_drawn_without_a_script():
    convert = pytest.importorskip("latex2mathml.converter").convert
    text = PAGES["how-it-works.md"]
    found = re.findall(r"\\\((.*?)\\\)|\\\[(.*?)\\\]", text, re.DOTALL)
    assert len(found) > 30
    for equation in map("".join, found):
        assert "\\" not in convert(equation), equation


def test_nothing_is_fetched_from_elsewhere():
    assert SETTINGS["theme"]["font"] is False
    assert "extra_javascript" not in SETTINGS
    assert not [page for page, text in PAGES.items() if re.search(r'src="(?:https?:)?//', text)]


def test_pages_that_are_made_are_no_files_too():
    assert not [place for place in extra_pages() if (DOCS / place).exists()]


WHOLE = '<a href="b.html#x">b</a><script src="s.js"></script><math><mi>x</mi></math>'


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        (WHOLE, []),
        ('<a href="c.html">c</a>', ["a.html links to c.html, which is not there"]),
        ('<a href="b.html#y">c</a>', ["a.html links to b.html#y, which is not there"]),
        ('<a href="#y">c</a>', ["a.html links to #y, which is not there"]),
        ('<img src="i.png">', ["a.html loads i.png, which is not there"]),
        ('<script src="//x/y.js"></script>', ["a.html loads //x/y.js from elsewhere"]),
        ('<link href="https://x/y.css">', ["a.html loads https://x/y.css from elsewhere"]),
        ("<math><mi>\\arg</mi></math>", ["a.html: \\arg is left of an equation"]),
    ],
)
def test_what_is_broken_in_a_built_site_is_named(tmp_path, page, wrong):
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (tmp_path / "b.html").write_text('<p id="x">', encoding="utf-8")
    (tmp_path / "s.js").touch()
    assert problems(tmp_path) == wrong


def test_an_empty_site_is_broken(tmp_path):
    assert problems(tmp_path) == [f"{tmp_path} holds no page"]
