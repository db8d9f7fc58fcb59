"""Is a built site whole? ``python -m docs_site.check SITE`` names what is not, and leaves with 1.

Every link and every file that a page loads must be there, down to the anchor; nothing may be loaded
from elsewhere; of an equation no command of LaTeX may be left.
"""

from __future__ import annotations

import posixpath
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

_LOADED = {"script": "src", "img": "src", "audio": "src", "source": "src", "iframe": "src"}
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)")


class _Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.left: list[str] = []
        self._in_equation = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "math":
            self._in_equation = True
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and "canonical" not in found.get("rel", ""):
            self.loaded.append(found.get("href", ""))
        elif tag in _LOADED and _LOADED[tag] in found:
            self.loaded.append(found[_LOADED[tag]])

    def handle_endtag(self, tag: str) -> None:
        if tag == "math":
            self._in_equation = False

    def handle_data(self, data: str) -> None:
        if self._in_equation and "\\" in data:
            self.left.append(data.strip())


def problems(site: Path) -> list[str]:
    """What is not whole, a line each; of no page that as well."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = pages[path.relative_to(site).as_posix()] = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    found = [] if pages else [f"{site} holds no page"]
    for place, page in pages.items():
        if place == "404.html":  # it stands for pages anywhere, so its links are absolute
            continue
        found += [f"{place}: {text} is left of an equation" for text in page.left]
        for address in page.loaded:
            if _ELSEWHERE.match(address) and not address.startswith("data:"):
                found.append(f"{place} loads {address} from elsewhere")
            elif not _ELSEWHERE.match(address) and not _file(site, place, address).is_file():
                found.append(f"{place} loads {address}, which is not there")
        found += [
            f"{place} links to {link}, which is not there"
            for link in page.links
            if not _ELSEWHERE.match(link) and not _leads(site, pages, place, link)
        ]
    return found


def _file(site: Path, place: str, address: str) -> Path:
    path = unquote(address.partition("#")[0].partition("?")[0])
    return site / posixpath.normpath(posixpath.join(posixpath.dirname(place), path))


def _leads(site: Path, pages: dict[str, _Page], place: str, link: str) -> bool:
    """Whether a link leads to a file, and to an anchor where it names one."""
    path, _, anchor = link.partition("#")
    if path in (".", "./"):  # the start, as the theme writes it
        path = "index.html"
    file = _file(site, place, path) if path else site / place
    if file.is_dir():
        file = file / "index.html"
    if not file.is_file():
        return False
    target = pages.get(file.relative_to(site).as_posix())
    return not anchor or target is None or unquote(anchor) in target.anchors


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    print(*lines, sep="\n" if lines else "")
    sys.exit(1 if lines else 0)
