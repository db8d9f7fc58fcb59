"""The notebooks: whole, small, without traces of a machine; and they run."""

import ast
import json
import subprocess
import sys

import pytest
from places import ROOT

from docs_site.notebooks import notebook_page, save

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    book = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in book["cells"] if cell["cell_type"] == kind]


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["separate_and_listen", "training_step"]


@each_notebook
def test_it_was_run_and_kept_by_our_own_program(path, tmp_path):
    """What is kept is what `save` writes: no counts, no times, no sounds."""
    book = json.loads(path.read_text(encoding="utf-8"))
    assert any(cell["outputs"] for cell in cells(path, "code"))
    save(tmp_path / path.name, book)
    assert (tmp_path / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    assert "/home/" not in path.read_text(encoding="utf-8")


@each_notebook
def test_its_code_can_be_read_and_asserts_what_it_claims(path):
    source = "\n".join("".join(cell["source"]) for cell in cells(path, "code"))
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))


@each_notebook
def test_its_page_has_all_of_it(path):
    page = notebook_page(path)
    assert page.startswith("# ")
    for cell in cells(path, "code"):
        assert f"```python\n{''.join(cell['source'])}\n```" in page
        for output in cell["outputs"]:
            for line in output.get("text", ()):
                assert line.rstrip("\n") in page
    assert page.count("```python") == len(cells(path, "code"))


def test_what_is_kept_of_outputs(tmp_path):
    def output(**data):
        return {"output_type": "display_data", "data": data, "metadata": {"width": 3}}

    stream = {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}
    outputs = [
        stream,
        stream | {"name": "stderr"},
        stream | {"text": ["c\n"]},
        output(**{"text/plain": "<Figure>", "image/png": "AAAA"}),
        output(**{"text/plain": "<Audio>", "text/html": "<audio>"}),
        output(**{"text/plain": "3"}) | {"output_type": "execute_result", "execution_count": 5},
    ]
    cell = {"cell_type": "code", "source": "f()", "execution_count": 7, "outputs": outputs}
    title = {"cell_type": "markdown", "source": ["# T"]}
    save(tmp_path / "n.ipynb", {"cells": [title, cell]})
    (kept,) = cells(tmp_path / "n.ipynb", "code")
    assert kept["execution_count"] is None
    assert [one.get("data", one.get("text")) for one in kept["outputs"]] == [
        ["a\n", "b\n", "c\n"],
        {"image/png": "AAAA"},
        {"text/plain": "3"},
    ]
    assert notebook_page(tmp_path / "n.ipynb") == (
        "# T\n\n*A notebook: [download it](n.ipynb) and run it.*\n\n```python\nf()\n```\n\n"
        "```text\na\nb\nc\n```\n\n![](data:image/png;base64,AAAA)\n\n```text\n3\n```\n"
    )


@pytest.mark.slow
@each_notebook
def test_it_runs(path, tmp_path):
    """In a kernel of its own; its assertions hold."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = f"import pathlib; from docs_site.notebooks import run; run(pathlib.Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
