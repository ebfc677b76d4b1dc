"""The digital gain of the readout: it multiplies the sums of the chip, and nothing else."""

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from chip_sim.spec import (
    DeviceSpec,
    FactorSpec,
    TuningSpec,
)
from ltl_core.chip import Observable, Stimulus
from ltl_core.errors import CodeRangeError
from tests.unit.chip_sim.tuned_chip import (
    COLUMNS,
    ROWS,
    UNLIKE,
    answers,
    placed,
    placement,
    written,
)


def readout_sums(chip: SimulatedChip) -> Tensor:
    shown = torch.rand(9, ROWS, generator=torch.Generator().manual_seed(2))
    membrane = chip.run(Stimulus(shown, 8), {"readout": Observable.MEMBRANE}).layers["readout"][3]
    assert isinstance(membrane, Tensor)
    return membrane


def test_the_gain_multiplies_a_readouts_sums_and_not_its_biases() -> None:
    chip = written()
    chip.program("readout", torch.arange(3 * COLUMNS).view(3, COLUMNS) - 30)
    plain = readout_sums(chip)
    bias = torch.full((3,), 40)
    chip.trim("readout", torch.zeros_like(bias), bias)
    biased = readout_sums(chip) - plain
    chip.tune("readout", chip.tuning("readout")._replace(readout_gain=-32))
    torch.testing.assert_close(readout_sums(chip), 0.5 * plain + biased)
    assert not torch.allclose(readout_sums(chip), 0.5 * (plain + biased))
    before = answers(chip)
    chip.tune("hidden", chip.tuning("hidden")._replace(readout_gain=-32))
    assert torch.equal(answers(chip), before)  # no readout: it has none


def test_a_chip_can_lack_the_gain_of_the_readout() -> None:
    chip = placed(UNLIKE.model_copy(update={"tuning": TuningSpec(readout_gain=None)}))
    tuning = chip.info.tuning
    assert tuning is not None
    assert tuning.readout_gain is None
    chip.tune("readout", chip.tuning("readout"))
    with pytest.raises(CodeRangeError, match="readout_gain"):
        chip.tune("readout", chip.tuning("readout")._replace(readout_gain=1))


def test_no_code_of_a_gain_is_zero_times_or_less() -> None:
    assert TuningSpec().readout_gain == FactorSpec(bits=8, lsb=1 / 64)
    assert FactorSpec(bits=8, lsb=1 / 64).codes == (-63, 127, 1 / 64)
    assert FactorSpec(bits=8, lsb=1 / 200).codes == (-128, 127, 1 / 200)


def test_the_gain_makes_up_for_what_all_devices_lost_by_drift() -> None:
    """PCM loses half of its conductance in a year, each device by its own exponent."""
    spec = preset("pcm").model_copy(update={"device": DeviceSpec(model="pcm", after_data="hold")})
    chip = make_chip("c", spec, 4)
    chip.place(placement())
    chip.program("readout", torch.full((3, COLUMNS), 9))
    spikes = Stimulus(torch.ones(8, 20, COLUMNS), 8, "readout")

    def mean_sum() -> float:
        shown = chip.run(spikes, {"readout": Observable.MEMBRANE}).layers["readout"].membrane
        assert shown is not None
        return float(shown[-1].mean())

    fresh = mean_sum()
    chip.advance(365 * 86400.0)
    left = mean_sum() / fresh
    assert left < 0.7
    code = round((1 / left - 1) * 64)
    chip.tune("readout", chip.tuning("readout")._replace(readout_gain=code))
    assert mean_sum() == pytest.approx(fresh, rel=0.02)
