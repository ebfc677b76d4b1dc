"""Runs the notebooks of the examples in a kernel, as Jupyter does."""

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.e2e.lab import Running

EXAMPLES = Path(__file__).parents[2] / "examples"
CELL_WITHIN = 300  # s; other work may share the machine


def executed(notebook: Any, service: Running, folder: Path) -> Any:
    """Run all cells against a service, with `folder` as the home of the kernel.

    Raises CellExecutionError with the traceback of the first cell that fails.
    """
    homes = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    environment = os.environ | {name: str(folder / name.lower()) for name in homes}
    environment |= {"TANDEMCAL_URL": service.url, "TANDEMCAL_KEY": service.key}
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=CELL_WITHIN, kernel_name="python3", resources=resources
    )
    return client.execute(env=environment)


def read(name: str) -> Any:
    """Read a notebook of the examples. Raises ValidationError if it is not a valid one."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell: Any) -> list[str]:
    """Return the PNG pictures that a cell shows, in base64."""
    shown = (output.get("data", {}) for output in cell.outputs)
    return [data["image/png"] for data in shown if "image/png" in data]


def printed(cell: Any) -> str:
    """Return what a cell prints."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")
