import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


PICTURES = {"image/png", "image/jpeg"}


def pictures(notebook: Any) -> int:
    """How many pictures its outputs hold."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum(bool(PICTURES & set(output.get("data", {}))) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_what_it_did(path: Path) -> None:
    """Its outputs are stored, by scripts/store_notebooks.py: small, without errors and without places of a machine."""
    notebook = nbformat.read(path, as_version=4)
    text = path.read_text()
    assert pictures(notebook)
    assert len(text) < 1_000_000
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))
    assert not re.search(r"/(tmp|home|root|Users|work)/", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    assert pictures(notebook), "a notebook shows at least one picture"
