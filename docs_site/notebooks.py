"""Notebooks as pages, and run: ``python -m docs_site.notebooks FILE.ipynb…`` runs and saves them.

Saved are texts and small pictures of their output; sounds are left out, which would be megabytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_KEPT = ("text/plain", "image/png")
_SECONDS = 600


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its texts, its code, and what that printed and drew."""
    book = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_shown(output) for output in cell["outputs"]]
    title, *rest = [part for part in parts if part]
    note = f"*A notebook: [download it]({path.name}) and run it.*"
    return "\n\n".join([title, note, *rest]) + "\n"


def run(path: Path) -> dict[str, Any]:
    """Runs a notebook from above, in a process and a folder of its own; returns it with outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    import tempfile

    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(book, timeout=_SECONDS, resources={"metadata": {"path": folder}})
        client.execute()
    return book


def save(path: Path, book: dict[str, Any]) -> None:
    """Writes a notebook with what of its outputs is kept; the same outputs give the same bytes."""
    cells = [_without_rest(number, cell) for number, cell in enumerate(book["cells"])]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _without_rest(number: int, cell: Any) -> dict[str, Any]:
    source = "".join(cell["source"]).splitlines(keepends=True)
    kept = {"cell_type": cell["cell_type"], "id": f"cell-{number}", "metadata": {}}
    if cell["cell_type"] == "markdown":
        return kept | {"source": source}
    outputs: list[dict[str, Any]] = []
    for output in filter(None, map(_kept, cell.get("outputs", ()))):
        if "text" in output and outputs and "text" in outputs[-1]:
            outputs[-1]["text"] += output["text"]  # printed in several pieces
        else:
            outputs.append(output)
    return kept | {"execution_count": None, "source": source, "outputs": outputs}


def _kept(output: Any) -> dict[str, Any] | None:
    """A printed text, a value or a picture; None for progress and sounds."""
    if output["output_type"] == "stream":
        is_printed = output["name"] == "stdout"
        text = "".join(output["text"]).splitlines(keepends=True)
        return {"output_type": "stream", "name": "stdout", "text": text} if is_printed else None
    data = {kind: output["data"][kind] for kind in _KEPT if kind in output.get("data", {})}
    if "text/html" in output.get("data", {}) or not data:
        return None
    if "image/png" in data:
        data.pop("text/plain", None)
    return {"output_type": "display_data", "data": data, "metadata": {}}


def _shown(output: Any) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![](data:image/png;base64,{''.join(data['image/png']).strip()})"
    text = "".join(output["text"] if output["output_type"] == "stream" else data["text/plain"])
    return f"```text\n{text.rstrip()}\n```"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        save(Path(name), run(Path(name)))
