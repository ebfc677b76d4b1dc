"""The example of a lab's driver: its line fails, its chip reboots, and nothing is done twice."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ltl_core.calibration.loop import Calibration
from ltl_core.chip import ChipBackend, Observable, Stimulus
from ltl_core.errors import ChipError, ChipUnavailableError, SettingError
from ltl_core.settings import Budget, CalibrationSettings, Data
from ltl_core.student.codes import fit_lsb, format_of
from ltl_core.student.student import Student
from service.bench.drivers import Driver
from service.bench.opening_child import open_and_close
from service.request_errors import DriverFailedError
from tests.agents import serve_agent
from tests.blobs import World, load_world
from tests.serial_chips import PROJECT, SERIAL, firmware, serial_chip

SHORT = CalibrationSettings(
    budget=Budget(samples=384),
    batch=32,
    target_points=None,
    data=Data.LAB,
    settle_s=0.0,
    test_samples=100,
    verification_samples=96,
)


class Answered(NamedTuple):
    """What a chip answered to the same calls."""

    cells: int
    failed: int
    counts: Tensor


@pytest.fixture(scope="module")
def blobs() -> World:
    return load_world()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A chip whose line never fails."""
    with firmware() as port:
        yield port


def in_codes_of(chip: ChipBackend, student: Student) -> Student:
    """The student in the codes of a chip, each layer with the step that fits its weights best."""
    form, weights = format_of(chip.info), student.weights()
    lsb = {name: fit_lsb(weights[f"{name}.weight"], form) for name in student.lsb}
    scale = {
        name: full * student.lsb[name] / lsb[name] for name, full in student.full_scale.items()
    }
    return student._replace(format=form, lsb=lsb, full_scale=scale).with_weights(weights)


def answered(chip: ChipBackend, world: World) -> Answered:
    """Write the student and present some samples."""
    student = in_codes_of(chip, world.student)
    chip.place(student.placement())
    reports = []
    for name, codes in student.codes.items():
        reports.append(chip.program(name, codes.weight))
        chip.trim(name, codes.threshold, codes.bias)
    stimulus = Stimulus(world.test.samples.inputs[:8], student.neuron.steps)
    first = student.network.stages[0].name
    shown = chip.run(stimulus, {first: Observable.COUNTS}).layers[first].counts
    assert shown is not None
    cells = sum(report.cells for report in reports)
    return Answered(cells, sum(int(report.failed.sum()) for report in reports), shown)


FAULTS = {
    "a line that is cut": ("--cut-every", "3"),
    "a line that garbles": ("--garble-every", "3"),
    "a chip that reboots in a write": ("--reboot-at-write", "2"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_failing_line_changes_no_answer(blobs: World, fault: tuple[str, str]) -> None:
    with firmware() as port, serial_chip(port) as chip:
        good = answered(chip, blobs)
    with firmware(*fault) as port, serial_chip(port, pause_s=0.001) as chip:
        bad = answered(chip, blobs)
    assert (bad.cells, bad.failed) == (good.cells, good.failed) == (good.cells, 0)
    assert torch.equal(bad.counts, good.counts)
    with (  # the control: without retries the same faults are seen
        firmware(*fault) as port,
        serial_chip(port, tries=1) as chip,
        pytest.raises(ChipUnavailableError, match="after 1 tries"),
    ):
        answered(chip, blobs)


@pytest.mark.parametrize("cut_every", ["3", "4", "0"])  # while waiting, while asking, never
def test_a_chip_waits_once_where_the_answer_is_lost(cut_every: str) -> None:
    with firmware("--cut-every", cut_every) as port, serial_chip(port, pause_s=0.001) as chip:
        chip.settle(1.0)
        assert chip.now() == 1.0


def test_a_chip_refuses_a_host_without_a_name(port: int) -> None:
    with serial_chip(port):  # makes the module importable
        from serial_chip.line import Line, LineSettings
        from serial_chip.protocol import Command
    line = Line("bench-1", LineSettings(port, SERIAL), lambda _ask: None)
    assert line.hello().serial == SERIAL
    with pytest.raises(ChipError, match="refused HELLO: HELLO takes 8 bytes"):
        line.ask(Command.HELLO)
    line.close()


def test_all_tries_of_a_request_end_at_one_time() -> None:
    with firmware("--slow-s", "1") as port:
        settings = {"answer_s": 0.05, "pause_s": 0.05, "tries": 1000}
        began = time.monotonic()
        with (
            pytest.raises(ChipUnavailableError, match=r"after \d tries"),
            serial_chip(port, request_s=0.3, **settings),
        ):
            pass
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("settings", [{"tries": 0}, {"answer_s": 0.0}, {"request_s": -1.0}])
def test_a_line_without_tries_or_time_is_refused(settings: dict[str, float], port: int) -> None:
    with pytest.raises(SettingError, match="tries"), serial_chip(port, **settings):
        pass


def test_a_chip_that_is_too_slow_is_named_with_the_line_of_the_driver() -> None:
    with firmware("--slow-s", "0.2") as port:
        settings = {"port": port, "serial": SERIAL, "answer_s": 0.05, "tries": 2}
        driver = Driver("serial", "serial_chip.driver", "make_chip")
        with serial_chip(port, answer_s=5.0):  # the control: it answers one that waits
            pass
        with pytest.raises(DriverFailedError) as caught:
            open_and_close(driver, "c-1", settings)
    assert "after 2 tries (not answered within 0.05 s)" in caught.value.reason
    assert caught.value.file == str(PROJECT / "serial_chip" / "line.py")
    assert caught.value.function == "Line.ask"


def test_another_chip_at_the_port_is_refused(port: int) -> None:
    with serial_chip(port) as chip:
        assert chip.info.weight_code_max == 7
    sentence = rf"is chip '{SERIAL}', not 'SN-0008'"
    with (
        pytest.raises(ChipUnavailableError, match=sentence),
        serial_chip(port, serial="SN-0008"),
    ):
        pass


def test_a_chip_behind_a_line_and_an_agent_is_calibrated(blobs: World, tmp_path: Path) -> None:
    with (
        firmware("--cut-every", "40") as port,
        serial_chip(port, pause_s=0.001) as own,
        serve_agent(tmp_path, own) as agent,
        agent.drive() as chip,
    ):
        student = in_codes_of(chip, blobs.student)
        calibration = Calibration(chip, student, blobs.targets, blobs.test, SHORT)
        for _ in calibration.steps():
            pass
    result = calibration.result
    assert result.spent.samples == 384
    assert result.improved
    assert result.after.verification.loss < 0.9 * result.before.verification.loss


def test_a_chip_that_is_gone_is_named_behind_its_agent(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with firmware() as port:
            own = stack.enter_context(serial_chip(port, pause_s=0.001, tries=2))
        agent = stack.enter_context(serve_agent(tmp_path, own))
        chip = stack.enter_context(agent.drive())
        with pytest.raises(ChipUnavailableError) as caught:
            chip.now()
    said, file = str(caught.value), PROJECT / "serial_chip" / "line.py"
    assert f"no answer to COUNTERS from 127.0.0.1:{port} after 2 tries" in said
    assert f"(driver serial_chip: Line.ask, {file}, line " in said
