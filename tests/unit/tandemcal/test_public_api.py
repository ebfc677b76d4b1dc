"""The public names of `tandemcal`: none changes unnoticed."""

import difflib
import tomllib
from pathlib import Path

import tandemcal
from tests.unit.tandemcal.public_api import LISTING, MODULES, listing, names_of

COMMAND = "python -m tests.unit.tandemcal.public_api"


def test_no_public_name_or_signature_changes_unnoticed() -> None:
    kept, found = LISTING.read_text(), listing()
    difference = difflib.unified_diff(kept.splitlines(), found.splitlines(), n=1, lineterm="")
    assert found == kept, (
        "The public interface is not the listed one. Users' code depends on it: deprecate what is "
        "removed or renamed (see `tandemcal/__init__.py`), say it in CHANGELOG.md, then update the "
        f"listing with `{COMMAND}`.\n" + "\n".join(difference)
    )


def test_a_changed_signature_would_be_seen() -> None:
    assert "def calibrate(self, chip_id: str," in listing()
    assert "samples: int | None = " in listing()


def test_the_lazy_names_are_those_that_a_type_checker_sees() -> None:
    assert sorted({*tandemcal.__all__} - {"__version__"}) == names_of("tandemcal")
    for name in names_of("tandemcal"):
        assert getattr(tandemcal, name).__name__ == name


def test_every_module_is_listed() -> None:
    text = LISTING.read_text()
    assert all(f"# {module}\n" in text for module in MODULES)


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert tandemcal.__version__ == project["version"]
