"""Every notebook runs from a clean kernel, in order, and says and draws what it is there for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# A loaded machine takes ten times as long as a quiet one; a cell that hangs is ended by it all the same.
CELL_SECONDS_MAX = 900


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy beside an empty build folder: what one notebook has computed, the next one finds."""
    folder = tmp_path_factory.mktemp("analyst") / "notebooks"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    return folder


def run(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS_MAX,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    executed: nbformat.NotebookNode = client.execute()
    return executed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_a_clean_kernel_without_a_warning(path: Path, workplace: Path) -> None:
    outputs = [output for cell in run(workplace / path.name).cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    html = "\n".join(output.get("data", {}).get("text/html", "") for output in outputs)
    assert "<table" in html
    assert "<svg" in html
    assert not re.search(r">\s*(nan|None)\s*<", html)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_how_to_take_other_data(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    assert "**Your own file**" in text
    assert "**The running stack**" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin(path: Path) -> None:
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert "def " not in "\n".join(code)
    assert max(len(source.splitlines()) for source in code) <= 20


def test_links_between_notebooks_lead_somewhere() -> None:
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        for target in re.findall(r"\]\(([^)#]+)\)", "\n".join(cell.source for cell in cells)):
            assert (FOLDER / target).exists(), f"{path.name}: {target}"
