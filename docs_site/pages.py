"""Every page of the site: written in ``docs/``, made from the code, or brought from elsewhere."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from docs_site.commands import commands_page
from docs_site.configuration import configuration_page
from docs_site.notebooks import notebook_page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MADE: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/configuration.md": configuration_page,
}
"""Pages that are made from the code, by their place in the site."""
BROUGHT = {
    "model-card.md": "umss_jax/starter/MODEL_CARD.md",
    "experiments.md": "experiments/README.md",
    "benchmarks.md": "experiments/benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
"""Files of the repository that are pages too."""
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^)\s]+)\)")


def extra_pages() -> dict[str, str]:
    """All pages that are no file in ``docs/``, by their place in the site, as Markdown."""
    pages = {place: make() for place, make in MADE.items()}
    for notebook in sorted(DOCS.glob("notebooks/*.ipynb")):
        place = notebook.relative_to(DOCS).with_suffix(".md").as_posix()
        pages[place] = notebook_page(notebook)
    for place, source in BROUGHT.items():
        pages[place] = (ROOT / source).read_text(encoding="utf-8")
    return pages


def all_pages() -> dict[str, str]:
    """Every page by its place in the site, as the site shows it."""
    written = {
        path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(DOCS.rglob("*.md"))
    }
    pages = written | extra_pages()
    return {place: with_links(text, place, set(pages)) for place, text in pages.items()}


def with_links(text: str, place: str, places: set[str]) -> str:
    """The text of a page with links that hold within the site.

    A link to a file of the repository leads to its page where it has one; else its text stays,
    without a link, since the site has not that file.
    """
    source = BROUGHT.get(place, f"docs/{place}")
    pages = {f"docs/{one}": one for one in places} | {file: one for one, file in BROUGHT.items()}

    def led(found: re.Match[str]) -> str:
        words, target = found.groups()
        path, mark, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if file in pages:
            there = posixpath.relpath(pages[file], posixpath.dirname(place) or ".")
            return f"[{words}]({there}{mark}{anchor})"
        if file.startswith("docs/"):
            return found[0]
        return words

    return _LINK.sub(led, text)
