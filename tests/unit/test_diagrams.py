"""The diagrams of the architecture page are those that their script draws."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def load_script() -> ModuleType:
    """Import the script, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("draw", IMAGES / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["processes.svg", "packages.svg", "job.svg"])
def test_a_diagram_is_drawn_anew_when_its_source_changes(name: str) -> None:
    drawn = load_script().DIAGRAMS[name]()
    message = "draw it again: python docs/images/draw_architecture.py"
    assert (IMAGES / name).read_text(encoding="utf-8") == drawn, message


def test_every_layer_of_a_contract_is_drawn(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    contracts = "".join(
        f'[[tool.importlinter.contracts]]\ncontainers = ["{name}"]\nlayers = {layers}\n'
        for name, layers in (
            ("service", ["top", "low"]),
            ("ltl_core", ["a | b", "c"]),
            ("chip_sim", ["x"]),
        )
    )
    pyproject.write_text(contracts)
    drawn = load_script().packages(pyproject)
    assert all(f">{layer}<" in drawn for layer in ("top", "low", "a · b", "c", "x"))
