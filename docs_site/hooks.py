"""What MkDocs calls while it builds: pages that are no files, links, equations, roles.

Nothing of the site is fetched from elsewhere: equations become MathML here, which browsers draw by
themselves.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from latex2mathml.converter import convert

from docs_site.pages import extra_pages, with_links

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_ROLE = re.compile(r":(?:func|class|mod|data|meth):<code>~?(.*?)</code>")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made from the code or brought from elsewhere."""
    from mkdocs.structure.files import File

    for place, text in extra_pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Links to files of the repository lead to their pages, where they have one."""
    places = {file.src_uri for file in files.documentation_pages()}
    return with_links(markdown, page.file.src_uri, places)


def on_page_content(content: str, **_: Any) -> str:
    """Equations as MathML, and names of the code in place of the roles of docstrings."""
    return _ROLE.sub(_named, _EQUATION.sub(_drawn, content))


def _drawn(found: re.Match[str]) -> str:
    display = "inline" if found[2] == "(" else "block"
    mathml = convert(html.unescape(found[3]), display=display)
    return mathml if display == "inline" else f"<div>{mathml}</div>"


def _named(found: re.Match[str]) -> str:
    return f"<code>{found[1].rpartition('.')[2]}</code>"
