"""The script of the fleet sends no job twice, and calibrates as many chips as it is told to."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDENT = SimpleNamespace(id="student")


class FakeLab:
    """A service with chips, and jobs that succeed as soon as they are followed."""

    def __init__(self, chips: int) -> None:
        self.sent: list[str] = []
        self.found: list[Any] = []
        self._chips = [
            SimpleNamespace(id=f"id-{n}", name=f"chip-{n}", health="unknown", state="idle")
            for n in range(chips)
        ]
        self.chips = SimpleNamespace(list=self._by_age)
        self.jobs = SimpleNamespace(list=self._list, calibrate=self._calibrate)

    def job(self, chip_id: str, status: str, student_id: str = "student") -> Any:
        terminal = status not in ("queued", "running")
        made = SimpleNamespace(
            id=f"job-{len(self.found)}",
            chip_id=chip_id,
            student_id=student_id,
            status=status,
            terminal=terminal,
        )
        self.found.insert(0, made)
        return made

    def _by_age(self, sort: str) -> Iterator[Any]:
        assert sort == "created_at"
        return iter(self._chips)

    def _list(self, kind: str, chip_id: str) -> Iterator[Any]:
        assert kind == "calibrate"
        return (job for job in self.found if job.chip_id == chip_id)

    def _calibrate(self, chip_id: str, student_id: str) -> Any:
        self.sent.append(chip_id)
        return self.job(chip_id, "queued", student_id)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    module = importlib.import_module("fleet_script")

    def follow(_jobs: Any, jobs: dict[str, Any], _console: Console) -> list[Any]:
        for job in jobs.values():
            job.status, job.terminal = "succeeded", True
        return list(jobs.values())

    monkeypatch.setattr(module, "follow_all", follow)
    monkeypatch.setenv("TANDEMCAL_DEMO_CHIPS", "3")
    return module


def run(script: ModuleType, lab: FakeLab) -> None:
    chips = script.chips_to_do(lab, ())
    script.calibrate(lab, STUDENT, chips, Console(quiet=True))


def test_as_many_chips_as_are_wanted_are_calibrated(script: ModuleType) -> None:
    lab = FakeLab(chips=8)
    run(script, lab)
    assert lab.sent == ["id-0", "id-1", "id-2"]


def test_a_second_run_sends_nothing(script: ModuleType) -> None:
    lab = FakeLab(chips=3)
    run(script, lab)
    run(script, lab)
    assert lab.sent == ["id-0", "id-1", "id-2"]


def test_jobs_that_wait_or_have_succeeded_are_not_sent_again(script: ModuleType) -> None:
    lab = FakeLab(chips=3)
    lab.job("id-0", "queued")
    lab.job("id-1", "succeeded")
    lab.job("id-2", "failed")  # the controls: this one, and one of another student
    lab.job("id-2", "succeeded", student_id="another")
    run(script, lab)
    assert lab.sent == ["id-2"]


def test_a_chip_that_is_done_or_offline_is_left_out(script: ModuleType) -> None:
    lab = FakeLab(chips=3)
    list(lab.chips.list("created_at"))[1].state = "offline"
    assert [chip.id for chip in script.chips_to_do(lab, {"id-0"})] == ["id-2"]
