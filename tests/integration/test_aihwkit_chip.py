"""The example of a driver on physics that nobody here wrote: aihwkit's cells and converters."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ltl_core.calibration.loop import Calibration
from ltl_core.chip import ChipBackend, Observable, Stimulus
from ltl_core.errors import SettingError
from ltl_core.settings import Budget, CalibrationSettings, Data
from ltl_core.student.evaluate import chip_quality
from service.bench.stored import Stored
from tests.blobs import World, load_world

pytest.importorskip(
    "aihwkit", reason="aihwkit is not installed: pip install 'tandemcal[benchmark]'"
)
PROJECT = Path(__file__).parents[2] / "examples" / "drivers" / "aihwkit_chip"
DAY, STEPS = 86_400.0, 16
QUIET = {"output_noise": 0, "programming_noise": 0, "read_noise": 0, "drift": 0}


def aihwkit_chip(**settings: Any) -> Any:
    if str(PROJECT) not in sys.path:
        sys.path.append(str(PROJECT))
    from aihwkit_chip.driver import make_chip

    return make_chip("bench-1", settings)


@pytest.fixture(scope="module")
def blobs() -> World:
    return load_world()


def written(chip: Any, world: World) -> Any:
    """Write the golden student."""
    chip.place(world.student.placement())
    for name, codes in world.student.codes.items():
        chip.program(name, codes.weight)
        chip.trim(name, codes.threshold, codes.bias)
    return chip


def sums(chip: ChipBackend, world: World) -> Tensor:
    """The sums of the readout after the last step."""
    stimulus = Stimulus(world.test.samples.inputs[:16], STEPS)
    name = world.student.network.stages[-1].name
    shown = chip.run(stimulus, {name: Observable.MEMBRANE}).layers[name].membrane
    assert shown is not None
    return shown[-1]


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    options = ("-n", "0", "-p", "no:cacheprovider", "--pyargs", "tandemcal.testing")
    paths = os.pathsep.join(map(str, (PROJECT, PROJECT.parents[2])))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--chip", "aihwkit_chip.driver:make_chip"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout


def test_without_noise_it_is_the_golden_student_and_a_day_of_drift_costs(blobs: World) -> None:
    golden = chip_quality(written(aihwkit_chip(**QUIET), blobs), blobs.student, blobs.test)
    chip = written(aihwkit_chip(), blobs)
    chip.settle(DAY)
    aged = chip_quality(chip, blobs.student, blobs.test)
    assert golden.accuracy > 0.97
    assert golden.loss < 0.9 * aged.loss


def test_devices_drift_by_the_exponents_of_the_noise_model() -> None:
    chip = aihwkit_chip(**QUIET | {"drift": 1})
    from aihwkit_chip.cells import Memory

    memory = Memory(chip.settings, 63)
    cells, pulses = memory.write(memory.fresh(64, 64), torch.full((64, 64), 63), now=5.0)
    assert pulses == 64 * 64
    assert torch.equal(memory.weights(memory.read(cells, now=5.0)), torch.ones(64, 64))
    # At the largest conductance the mean exponent of the model is 0.049.
    expected = (1 + DAY / 20) ** -0.049
    aged = memory.weights(memory.read(cells, now=5.0 + DAY))
    assert float(aged.mean()) == pytest.approx(expected, rel=0.01)


def test_only_devices_whose_target_changed_are_written(blobs: World) -> None:
    chip = aihwkit_chip()
    chip.place(blobs.student.placement())
    stage = blobs.student.network.stages[-1]
    codes = torch.full((stage.columns, stage.rows), 20)
    assert chip.program(stage.name, codes).pulses == codes.numel()
    chip.settle(DAY)
    codes[0, 0], codes[0, 1] = 21, -20  # one device; both devices
    before = chip.state()
    report = chip.program(stage.name, codes)
    assert (report.cells, report.pulses) == (2, 3)
    for what in ("programmed", "nu", "written"):
        name = f"layer/{stage.name}/{what}"
        assert int((before[name] != chip.state()[name]).sum()) == 3


def test_a_chip_goes_on_from_its_saved_state(blobs: World) -> None:
    chip = written(aihwkit_chip(seed=1), blobs)
    chip.settle(DAY)
    kept = chip.state()
    expected = sums(chip, blobs)
    again = aihwkit_chip(seed=1)
    assert isinstance(aihwkit_chip(), Stored)
    again.restore(kept)
    assert again.now() < chip.now()
    assert torch.equal(sums(again, blobs), expected)
    assert not torch.equal(sums(written(aihwkit_chip(seed=2), blobs), blobs), expected)


def test_it_leaves_the_random_numbers_of_others_alone(blobs: World) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    sums(written(aihwkit_chip(), blobs), blobs)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("wrong", [{"bits": 8}, {"adc_bits": 1}, {"drift": -1}, {"seed": "1"}])
def test_a_setting_that_does_not_fit_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        aihwkit_chip(**wrong)


def test_it_is_calibrated_with_cells(blobs: World) -> None:
    settings = CalibrationSettings(
        budget=Budget(samples=384),
        target_points=None,
        data=Data.LAB,
        settle_s=0.0,
        test_samples=100,
        verification_samples=96,
    )
    chip = aihwkit_chip(seed=1, programming_noise=6)
    calibration = Calibration(chip, blobs.student, blobs.targets, blobs.test, settings)
    for _ in calibration.steps():
        pass
    result = calibration.result
    assert result.spent.pulses >= result.spent.cells > 0
    assert result.improved
    assert result.after.verification.loss < 0.9 * result.before.verification.loss
