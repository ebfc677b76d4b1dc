"""Ranges from the golden student: each row of tiles gets that of its own sums, unmeasured."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, ConverterSpec
from ltl_core.chip import Observable, Stimulus
from ltl_core.errors import NotTunableError
from ltl_core.network.layers import Conv2d, Linear, Weighted
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.student.codes import CodeFormat
from ltl_core.student.student import Student
from ltl_core.tuning.ranges import ranges_of

ROWS, COLUMNS, SAMPLES = 1000, 40, 400  # on four rows of tiles
SPEC = ChipSpec(converter=ConverterSpec(adc_bits=8))
LSB = 0.25  # octaves, of one code


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def student(shape: tuple[int, ...], layer: Weighted, *layers: Weighted) -> Student:
    """A student with random codes, and full scales of one."""
    network = NetworkSpec(input_shape=shape, layers=(layer, *layers))
    names = [matrix.name for matrix in network.matrices]
    lsb, ones = dict.fromkeys(names, 0.01), dict.fromkeys(names, 1.0)
    made = Student(network, NeuronSettings(), CodeFormat(), {}, lsb, ones, 1.0)
    weights = {}
    for matrix in network.matrices:
        drawn = torch.randint(-40, 41, matrix.weight_shape, generator=rng())
        weights[f"{matrix.name}.weight"] = 0.01 * drawn
        weights[f"{matrix.name}.bias"] = torch.zeros(matrix.weight_shape[0])
    return made.with_weights(weights)


def wide_layer() -> tuple[Student, Tensor]:
    """One layer of 1,000 rows, and spikes; its full scale holds the sums of whole columns."""
    made = student((ROWS,), Linear(name="readout", in_features=ROWS, out_features=COLUMNS))
    spikes = (torch.rand(SAMPLES, ROWS, generator=rng()) < 0.3).float()
    sums = spikes @ made.codes["readout"].weight.float().T
    return made._replace(full_scale={"readout": percentile(sums)}), spikes


def percentile(sums: Tensor) -> float:
    values = sums.abs().flatten().sort().values
    return float(values[round(0.999 * len(values)) - 1])


def error(chip: SimulatedChip, made: Student, spikes: Tensor) -> float:
    """Root mean square of what the converters add to the column sums, code units."""
    chip.program("readout", made.codes["readout"].weight)
    shown = chip.run(Stimulus(spikes[None], 1, "readout"), {"readout": Observable.MEMBRANE})
    found = shown.layers["readout"].membrane
    assert found is not None
    exact = spikes @ made.codes["readout"].weight.float().T
    return float((found[0] - exact).square().mean().sqrt())


def rounding(full_scale: float, codes: Tensor) -> float:
    """The error that rounding alone makes: LSB^2 / 12 for each row of tiles."""
    lsb = full_scale / 127 * 2 ** (LSB * codes)
    return float((lsb.square().sum() / 12).sqrt())


def test_finer_ranges_of_partial_sums_make_the_error_smaller() -> None:
    made, spikes = wide_layer()
    chip = make_chip("c", SPEC, 1)
    chip.place(made.placement())
    full_scale, nominal = made.full_scale["readout"], chip.tuning("readout")
    whole = error(chip, made, spikes)
    assert whole == pytest.approx(rounding(full_scale, nominal.adc_range), rel=0.03)
    codes = ranges_of(made, spikes, chip.info)["readout"]
    assert codes.shape == (4,)
    # A quarter of the rows: half of the sum, less the margin, rounded up to the next code.
    assert all(-1 <= LSB * code <= -0.5 for code in codes.tolist())
    chip.tune("readout", nominal._replace(adc_range=codes))
    finer = error(chip, made, spikes)
    assert finer == pytest.approx(rounding(full_scale, codes), rel=0.03)
    assert finer < 0.7 * whole
    chip.tune("readout", nominal._replace(adc_range=codes + 1))
    assert error(chip, made, spikes) != pytest.approx(rounding(full_scale, codes), rel=0.03)


def test_the_margin_keeps_a_chip_that_is_not_ideal_from_clipping() -> None:
    made, spikes = wide_layer()
    chip = make_chip("c", preset("harsh"), 1)
    chip.place(made.placement())
    chip.program("readout", made.codes["readout"].weight)
    clipped = []
    for margin in (1.0, 1.15):
        codes = ranges_of(made, spikes, chip.info, margin)["readout"]
        chip.tune("readout", chip.tuning("readout")._replace(adc_range=codes))
        clipped.append(float(chip.clipped(Stimulus(spikes[None], 1, "readout"))["readout"].max()))
    assert clipped[1] < 1e-3 < clipped[0]


def test_a_layer_of_one_tile_keeps_the_range_of_its_whole_sums() -> None:
    made, spikes = wide_layer()
    info = make_chip("c", ChipSpec(tile_rows=1024), 1).info
    assert ranges_of(made, spikes, info, margin=1.0)["readout"].tolist() == [0]
    assert ranges_of(made, spikes, info, margin=2.0)["readout"].tolist() == [4]


@pytest.mark.parametrize("groups", [1, 2])
def test_rows_of_a_convolution_are_cut_as_a_chip_numbers_them(groups: int) -> None:
    shape = {"in_channels": 4, "out_channels": 6, "kernel": (3, 2), "groups": groups}
    conv = Conv2d(name="conv", **shape)
    made = student((4, 7, 6), conv, Linear(name="readout", in_features=150, out_features=2))
    made = made._replace(full_scale={"conv": 64.0, "readout": 64.0})
    images = torch.rand(20, 4, 7, 6, generator=rng())
    info = make_chip("c", ChipSpec(tile_rows=7), 1).info
    codes = ranges_of(made, images, info, margin=1.0)["conv"]
    rows = torch.arange(24 // groups)
    weight = made.codes["conv"].weight.float()
    expected = []
    for first in range(0, len(rows), 7):
        here = (rows >= first) & (rows < first + 7)
        sums = F.conv2d(images, (weight * here).view(conv.weight_shape), groups=groups)
        expected.append(percentile(sums))
    steps = ((torch.tensor(expected) / 64).log2() / LSB).ceil().clamp(-16, 15)
    assert codes.tolist() == steps.tolist()
    assert len(set(steps.tolist())) > 1
    assert -16 < int(steps.min()) <= int(steps.max()) < 15


def test_a_chip_with_one_range_for_a_layer_gets_the_widest() -> None:
    made, spikes = wide_layer()
    info = make_chip("c", ChipSpec(tile_rows=900), 1).info
    by_tile = ranges_of(made, spikes, info)["readout"].tolist()
    assert by_tile[1] < by_tile[0]
    assert info.tuning is not None
    one = info._replace(tuning=info.tuning._replace(range_by_tile=False))
    assert ranges_of(made, spikes, one)["readout"].tolist() == [by_tile[0]] * 2
    with pytest.raises(NotTunableError):
        ranges_of(made, spikes, info._replace(tuning=None))
