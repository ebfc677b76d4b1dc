"""The reference in the documentation describes every public name of `tandemcal`."""

import re
from pathlib import Path

import pytest

from tests.unit.tandemcal.public_api import LISTING

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGES = ("python.md", "drivers.md")


def public_names() -> list[str]:
    """Return the classes and functions of the listing of the public interface."""
    return sorted(set(re.findall(r"^(?:class|def) (\w+)", LISTING.read_text(), re.MULTILINE)))


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_in_the_reference(name: str) -> None:
    lines = "".join((REFERENCE / page).read_text() for page in PAGES).splitlines()
    documented = {line.rpartition(".")[2] for line in lines if line.startswith(".. auto")}
    assert name in documented


def test_the_listing_names_the_client_and_the_port() -> None:
    assert {"Tandemcal", "from_torch", "ChipBackend"} <= set(public_names())
