"""The effect of temperature on a chip: drift, leak, and what is saved."""

import pytest
import torch
from safetensors.torch import load, save

from chip_sim.chip import make_chip
from chip_sim.errors import ImpossibleTemperatureError
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, DeviceSpec
from ltl_core.chip import Observable, Stimulus
from tests.unit.chip_sim.conftest import Build
from tests.unit.chip_sim.stimuli import membrane

YEAR = 365 * 86400.0


def test_a_warm_chip_drifts_faster_by_arrhenius(build: Build) -> None:
    device = DeviceSpec(model="pcm", drift_activation_ev=0.2)
    spec = ChipSpec(device=device)
    cool, warm, hot = (build(spec) for _ in range(3))
    warm.warm(330.0)
    hot.warm(330.0 * 1.05)
    fresh = cool.weights("third")
    for chip in (cool, warm, hot):
        chip.settle(YEAR)
    lost = [
        float((chip.weights("third").abs().sum() / fresh.abs().sum()).log())
        for chip in (cool, warm, hot)
    ]
    expected = torch.tensor(0.2 / 8.617333e-5 * (1 / 300 - 1 / 330)).exp()
    assert lost[1] / lost[0] == pytest.approx(float(expected), rel=0.1)
    assert lost[2] / lost[0] != pytest.approx(float(expected), rel=0.1)


def test_a_warm_neuron_forgets_sooner(build: Build) -> None:
    chip = build(preset("ideal"))
    shape = (1, 1, 5, 2, 2)
    silent = Stimulus(torch.cat((torch.ones(shape), torch.zeros(shape))), 2, "third")

    def kept() -> float:
        u = membrane(chip.run(silent, {"third": Observable.MEMBRANE}), "third")[:, 0]
        below = u[0].abs() < 60
        return float((u[1] / u[0])[below][0])

    chip.program("third", torch.ones(7, 20, dtype=torch.int32))
    assert kept() == pytest.approx(0.9, rel=1e-4)
    chip.warm(330.0)
    speed = float(torch.tensor(0.2 / 8.617333e-5 * (1 / 300 - 1 / 330)).exp())
    assert kept() == pytest.approx(0.9**speed, rel=1e-3)
    assert kept() != pytest.approx(0.9 ** (speed * 1.05), rel=1e-3)


def test_temperatures_are_saved_and_impossible_ones_refused(build: Build) -> None:
    chip = build(preset("pcm"))
    chip.settle(10.0)
    chip.warm(340.0)
    chip.settle(1000.0)
    twin = make_chip("bench-1", preset("pcm"), 5)
    twin.restore(load(save(chip.state())))
    assert twin.temperature() == 340.0
    assert torch.equal(twin.weights("second"), chip.weights("second"))
    with pytest.raises(ImpossibleTemperatureError):
        chip.warm(-1.0)


def test_a_state_from_before_temperatures_can_be_restored(build: Build) -> None:
    chip = build(preset("pcm"))
    state = chip.state()
    del state["temperatures"]
    twin = make_chip("bench-1", preset("pcm"), 5)
    twin.restore(state)
    assert twin.temperature() == 300.0
