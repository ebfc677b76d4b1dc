"""The chip of a job: opened as it was saved, by the driver that its backend names."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import ChipBackend
from service.artifacts import ArtifactStore
from service.bench.chip_ref import ChipRef
from service.bench.leased import LeasedBackend
from service.bench.registry import find_factory, open_chip, save_chip
from service.request_errors import UnknownChipBackendError


def make_lab_chip(chip_id: str, settings: Mapping[str, Any]) -> ChipBackend:
    return make_chip(chip_id, preset(settings["kind"]), 5)


def ref(**changed: Any) -> ChipRef:
    usual = {
        "chip_id": "c-1",
        "backend": "simulated",
        "settings": {"preset": "pcm", "seed": 3},
        "state_sha256": None,
        "idle_s": 0.0,
        "token": 1,
    }
    return ChipRef.model_validate(usual | changed)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_a_chip_is_opened_as_it_was_saved_and_older_by_the_time_since(store: ArtifactStore) -> None:
    first = open_chip(ref(), {}, store)
    first.settle(100.0)
    sha256 = save_chip(first, store)
    again = open_chip(ref(state_sha256=sha256, idle_s=50.0), {}, store)
    assert again.now() == 150.0
    assert open_chip(ref(), {}, store).now() == 0.0


def test_a_chip_that_keeps_itself_is_not_saved(store: ArtifactStore) -> None:
    silicon = LeasedBackend(open_chip(ref(), {}, store), 1, lambda: True)
    assert save_chip(silicon, store) is None
    assert list(store.every()) == []


def test_a_driver_is_found_by_module_and_factory(store: ArtifactStore) -> None:
    backends = {"lab": f"{__name__}:make_lab_chip"}
    chip = open_chip(ref(backend="lab", settings={"kind": "harsh"}), backends, store)
    assert chip.info.model == "harsh"


@pytest.fixture
def installed_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A distribution with a driver under the entry-point group of Tandemcal."""
    (tmp_path / "lab_driver.py").write_text("def make(chip_id, settings):\n    return chip_id\n")
    about = tmp_path / "lab_driver-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-driver\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tandemcal.chip_backends]\nlab = lab_driver:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "lab"
    sys.modules.pop("lab_driver", None)


def test_an_installed_driver_is_found_by_its_entry_point(
    installed_driver: str, store: ArtifactStore
) -> None:
    factory: Any = find_factory(installed_driver, {})
    assert factory("c-1", {}) == "c-1"
    opened: Any = open_chip(ref(backend=installed_driver, idle_s=50.0), {}, store)
    assert opened == "c-1"  # a chip that is not in software has aged by itself
    with pytest.raises(UnknownChipBackendError, match="lab"):
        find_factory("another", {})
