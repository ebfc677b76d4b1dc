"""The Python reference describes every public name."""

from pathlib import Path

import pytest

import tandemcal

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(set(tandemcal.__all__) - {"__version__"}))
def test_every_public_name_is_in_the_reference(name: str) -> None:
    pages = "".join(path.read_text() for path in REFERENCE.glob("[dp]*.md")).splitlines()
    documented = {line.rpartition(".")[2] for line in pages if line.startswith(".. auto")}
    assert name in documented
