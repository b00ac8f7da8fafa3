"""The notebooks run from start to end, and are kept with their outputs."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    """The first words of what a cell prints."""
    texts = [output.text for output in cell.outputs if output.output_type == "stream"]
    return "".join(texts).split(" ")[:2]


@pytest.mark.parametrize("name", NAMES)
def test_the_outputs_are_kept(name):
    cells = code(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("image/png" in str(cell.outputs) for cell in cells) >= 1
    assert not any("stderr" in str(cell.outputs) for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_runs(name):
    kept, notebook = read(name), read(name)
    for cell in code(notebook):
        cell.outputs = []
    resources = {"metadata": {"path": FOLDER}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    pairs = zip(code(kept), code(notebook), strict=True)
    assert all(printed(before) == printed(after) for before, after in pairs)
