"""The notebook of the examples runs as it is written, and shows its plots."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from nbclient.exceptions import CellExecutionError

from tests.e2e.lab import Running, running
from tests.e2e.notebooks import code_cells, executed, pictures, printed, read

NAME = "calibrate_chips.ipynb"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("data")) as service:
        yield service


@pytest.fixture(scope="module")
def ran(service: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Its code cells after they have run, by their ids."""
    notebook = executed(read(NAME), service, tmp_path_factory.mktemp("kernel"))
    return {cell.id: cell for cell in code_cells(notebook)}


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in code_cells(read(NAME)):
        assert (cell.outputs, cell.execution_count) == ([], None), cell.id


def test_every_chip_is_calibrated(ran: dict[str, Any]) -> None:
    lines = printed(ran["calibrate"]).splitlines()
    found = {line.split()[0]: line for line in lines if "->" in line}
    assert set(found) == {"notebook-pcm", "notebook-reram", "notebook-harsh"}
    before, after = (float(word) for word in found["notebook-harsh"].split()[1::3])
    assert after > before + 20
    assert "notebook-harsh [" in printed(ran["versions"])


def test_plots_are_shown(ran: dict[str, Any]) -> None:
    assert {name for name, cell in ran.items() if pictures(cell)} == {
        *("samples", "before-after", "plot"),
    }


@pytest.mark.usefixtures("ran")  # which trains a student
def test_a_job_is_drawn_where_pyplot_was_never_imported(service: Running, tmp_path: Path) -> None:
    """The figure shows itself: a plain one of matplotlib would be a line of text."""
    notebook = read(NAME)
    (cell, control, *_) = code_cells(notebook)
    cell.source = "import os\nfrom tandemcal import Tandemcal\n"
    cell.source += "lab = Tandemcal(os.environ['TANDEMCAL_URL'], os.environ['TANDEMCAL_KEY'])\n"
    cell.source += "next(lab.jobs.list(kind='train')).plot()"
    control.source = "from matplotlib.figure import Figure\nFigure()"
    notebook.cells = [cell, control]
    executed(notebook, service, tmp_path)
    assert (len(pictures(cell)), len(pictures(control))) == (1, 0)


def test_a_cell_that_fails_would_be_seen(service: Running, tmp_path: Path) -> None:
    notebook = deepcopy(read(NAME))
    notebook.cells = code_cells(notebook)[:1]
    notebook.cells[0].source += "\nlab.chips.register('x', preset='misspelt', seed=1)"
    with pytest.raises(CellExecutionError, match="misspelt"):
        executed(notebook, service, tmp_path)
