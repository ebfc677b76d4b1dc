"""Registers that make circuits alike: what they do, where they belong; code zero does nothing."""

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.converter import AdcBank
from chip_sim.errors import ForeignStateError
from chip_sim.identity import layer_identity
from chip_sim.presets import preset
from chip_sim.spec import (
    ChipSpec,
    ConverterSpec,
    DeviceSpec,
    FactorSpec,
    NeuronSpec,
    RegisterSpec,
    TuningSpec,
)
from chip_sim.tiling import tile_stage
from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus, Tuning
from ltl_core.errors import CodeRangeError, LayerShapeError, SettingError
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

ROWS, COLUMNS, TILE = 40, 20, 16
QUIET = TuningSpec(reference_noise_lsb=0.0, current_noise=0.0)
UNLIKE = ChipSpec(
    tile_rows=TILE,
    tile_columns=TILE,
    converter=ConverterSpec(adc_bits=8, gain_sd=0.05, offset_sd_lsb=2.0),
    neuron=NeuronSpec(threshold_mismatch=0.1, leak_mismatch=0.1),
    tuning=QUIET,
)


def network(hidden: int = COLUMNS) -> NetworkSpec:
    layers = (
        Linear(name="hidden", in_features=ROWS, out_features=hidden),
        Linear(name="readout", in_features=hidden, out_features=3),
    )
    return NetworkSpec(input_shape=(ROWS,), layers=layers)


def placed(spec: ChipSpec = UNLIKE, hidden: int = COLUMNS) -> SimulatedChip:
    chip = make_chip("c", spec, 4)
    chip.place(placement(hidden))
    return chip


def placement(hidden: int = COLUMNS) -> Placement:
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=240.0)
    return Placement(network(hidden), {"hidden": settings, "readout": settings}, 1.0)


def zeros() -> Tuning:
    banks = torch.zeros(3, COLUMNS, dtype=torch.int32)
    neurons = torch.zeros(COLUMNS, dtype=torch.int32)
    return Tuning(banks, banks, neurons, neurons, ranges(0, 0, 0))


def ranges(*codes: int) -> Tensor:
    return torch.tensor(codes, dtype=torch.int32)


def some(low: int = -5, high: int = 6) -> Tuning:
    rng = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=rng, dtype=torch.int32)

    banks = drawn(3, COLUMNS), drawn(3, COLUMNS)
    return Tuning(*banks, drawn(COLUMNS), drawn(COLUMNS), ranges(-2, 1, 0), 7)


def answers(chip: SimulatedChip, samples: int = 9) -> Tensor:
    shown = torch.rand(samples, ROWS, generator=torch.Generator().manual_seed(2))
    layer = chip.run(Stimulus(shown, 8), {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    return layer.membrane


def written(spec: ChipSpec = UNLIKE) -> SimulatedChip:
    chip = placed(spec)
    rng = torch.Generator().manual_seed(3)
    chip.program("hidden", torch.randint(-20, 22, (COLUMNS, ROWS), generator=rng))
    return chip


@pytest.mark.parametrize("spec", [UNLIKE, preset("harsh")])
def test_registers_at_zero_change_no_bit(spec: ChipSpec) -> None:
    touched, untouched = written(spec), written(spec)
    touched.tune("hidden", touched.tuning("hidden"))
    assert torch.equal(answers(touched), answers(untouched))


def test_a_register_that_is_set_changes_the_answers() -> None:
    tuned = written()
    tuned.tune("hidden", zeros()._replace(adc_gain=zeros().adc_gain + 1))
    assert not torch.equal(answers(tuned), answers(written()))


@pytest.mark.parametrize("level", [-0.5, 0.0, 0.5])
def test_converters_answer_by_gain_and_offset(level: float) -> None:
    chip, tuning = placed(), some()
    chip.tune("hidden", tuning)
    adcs = layer_identity(UNLIKE, 4, tile_stage(network().stages[0], UNLIKE, 0)).adcs
    codes = chip.convert("hidden", level, 3)
    assert codes.shape == (3, 3, COLUMNS)
    for row, bank in enumerate(map(AdcBank, *adcs)):
        gain = bank.gain * (1 + tuning.adc_gain[row] / 128)
        expected = 127 * level * gain + bank.offset_lsb + 0.5 * tuning.adc_offset[row]
        assert float((codes[0, row] - expected).abs().max()) <= 0.5 + 1e-3
        wrong = 127 * level * 1.05 * gain + bank.offset_lsb + 0.5 * tuning.adc_offset[row] + 1
        assert float((codes[0, row] - wrong).abs().max()) > 0.5 + 1e-3


def test_the_reference_brings_its_own_noise() -> None:
    spec = UNLIKE.model_copy(update={"tuning": TuningSpec(reference_noise_lsb=2.0)})
    codes = placed(spec).convert("hidden", 0.0, 4000).float()
    spread = float(codes.std(0).mean())
    expected = (2.0**2 + 1 / 12) ** 0.5  # and of rounding
    assert spread == pytest.approx(expected, rel=0.01)
    assert spread != pytest.approx(1.05 * expected, rel=0.01)


def test_a_neuron_fires_above_its_threshold_as_tuned() -> None:
    chip, tuning = placed(), some(-30, 31)
    chip.tune("hidden", tuning)
    neuron = layer_identity(UNLIKE, 4, tile_stage(network().stages[0], UNLIKE, 0)).neuron
    threshold = 1 + neuron.threshold + 0.005 * tuning.threshold
    for above, count in ((1, 1), (-1, 0)):
        current = (threshold + above * 2 / 512)[None]
        assert torch.equal(chip.excite("hidden", current, 2), torch.full((2, COLUMNS), count).int())


def test_the_leak_register_lengthens_the_time_constant() -> None:
    chip, tuning = placed(), some(-10, 11)
    chip.tune("hidden", tuning)
    neuron = layer_identity(UNLIKE, 4, tile_stage(network().stages[0], UNLIKE, 0)).neuron
    decay = 0.9 ** (1 / ((1 + neuron.leak) * (1 + 0.01 * tuning.leak)))
    threshold, gap = 1 + neuron.threshold + 0.005 * tuning.threshold, 8
    for above, count in ((1, 1), (-1, 0)):
        current = torch.zeros(gap + 1, COLUMNS)
        current[0] = 0.5
        current[gap] = threshold - 0.5 * decay**gap + above * 2 / 512
        assert torch.equal(
            chip.excite("hidden", current, 1)[0], torch.full((COLUMNS,), count).int()
        )


def test_a_range_code_scales_the_full_scale() -> None:
    """Half the range has half the LSB, and clips what is beyond it."""
    spec = UNLIKE.model_copy(update={"converter": ConverterSpec(adc_bits=8)})
    chip = placed(spec)
    chip.program("hidden", torch.full((COLUMNS, ROWS), 9))
    ones = Stimulus(torch.ones(1, ROWS), 1)  # 144 in each full row of tiles, 72 in the last
    assert not chip.clipped(ones)["hidden"].any()
    chip.tune("hidden", zeros()._replace(adc_range=ranges(-4, -4, -4)))
    assert chip.clipped(ones)["hidden"].tolist() == [1.0, 1.0, 0.0]
    layer = chip.run(ones, {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    lsb = 120 / 127
    expected = torch.full((COLUMNS,), (127 + 127 + round(72 / lsb)) * lsb)
    torch.testing.assert_close(layer.membrane[0, 0], expected)


def sums_with(codes: Tensor, weight: Tensor, spikes: Tensor) -> Tensor:
    """Column sums of ideal converters of 8 bits with these ranges."""
    chip = placed(UNLIKE.model_copy(update={"converter": ConverterSpec(adc_bits=8)}))
    chip.program("hidden", weight)
    chip.tune("hidden", zeros()._replace(adc_range=codes))
    stimulus = Stimulus(spikes[None], 1, "hidden")
    layer = chip.run(stimulus, {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    return layer.membrane[0]


def test_each_row_of_tiles_is_converted_in_its_own_range() -> None:
    rng = torch.Generator().manual_seed(3)
    weight = torch.randint(-20, 22, (COLUMNS, ROWS), generator=rng)
    spikes = (torch.rand(50, ROWS, generator=rng) < 0.5).float()
    lsb = [240 / 127 * 2 ** (code / 4) for code in (-9, 3, -11)]

    def summed(steps: list[float]) -> Tensor:
        total = torch.zeros(50, COLUMNS, dtype=torch.float64)
        for row, step in enumerate(steps):
            rows = slice(row * TILE, (row + 1) * TILE)
            sums = spikes[:, rows].double() @ weight[:, rows].T.double()
            total += (sums / step).round().clamp(-127, 127) * step
        return total

    found = sums_with(ranges(-9, 3, -11), weight, spikes).double()
    torch.testing.assert_close(found, summed(lsb), rtol=1e-6, atol=1e-5)
    assert not torch.allclose(found, summed(lsb[::-1]), rtol=1e-6, atol=1e-5)


def test_equal_ranges_give_whole_codes_of_one_step() -> None:
    """To the bit: codes are added as integers before they meet their step."""
    rng = torch.Generator().manual_seed(3)
    weight = torch.randint(-20, 22, (COLUMNS, ROWS), generator=rng)
    spikes = (torch.rand(50, ROWS, generator=rng) < 0.5).float()
    step = 240 * 2 ** (-3 / 4) / 127
    found = sums_with(ranges(-3, -3, -3), weight, spikes)
    assert torch.equal(found, (found / step).round() * step)
    unequal = sums_with(ranges(-3, -3, -4), weight, spikes)
    assert not torch.equal(unequal, (unequal / step).round() * step)


def test_threads_do_not_change_sums_in_several_ranges() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = tuned_answers()
        torch.set_num_threads(2)
        assert torch.equal(one, tuned_answers())
    finally:
        torch.set_num_threads(threads)


def tuned_answers() -> Tensor:
    chip = written()
    chip.tune("hidden", some())
    return answers(chip, samples=3000)  # enough for two threads to share them


def test_registers_belong_to_the_tile_and_ranges_to_the_network() -> None:
    chip, tuning = placed(), some()
    chip.tune("hidden", tuning)
    chip.place(placement(hidden=12))  # on three tiles; the first two were the first row before
    narrow = chip.tuning("hidden")
    assert torch.equal(narrow.adc_offset[0], tuning.adc_offset[0, :12])
    assert torch.equal(narrow.adc_offset[1, :4], tuning.adc_offset[0, 16:])
    assert torch.equal(narrow.threshold, tuning.threshold[:12])
    assert not narrow.adc_range.any()
    chip.place(placement())
    again = chip.tuning("hidden")
    assert all(map(torch.equal, again[:4], tuning[:4]))
    assert again.readout_gain == 0
    assert not again.adc_range.any()


def test_registers_are_saved_and_restored() -> None:
    chip, tuning = written(), some()
    chip.tune("hidden", tuning)
    other = make_chip("c", UNLIKE, 4)
    chip.tune("readout", chip.tuning("readout")._replace(readout_gain=30))
    other.restore(chip.state())
    found = other.tuning("hidden")
    assert all(map(torch.equal, found.tensors.values(), tuning.tensors.values()))
    assert found.readout_gain == tuning.readout_gain
    assert other.tuning("readout").readout_gain == 30
    assert torch.equal(answers(other), answers(chip))


def test_a_state_from_before_there_were_registers_is_untuned() -> None:
    chip = written()
    new = ("adc_range", "readout_gain")
    old = {name: t for name, t in chip.state().items() if not name.endswith(new)}
    other = make_chip("c", UNLIKE, 4)
    other.restore(old)
    assert torch.equal(answers(other), answers(chip))


def test_a_state_with_one_range_for_the_layer_gives_it_to_all_rows_of_tiles() -> None:
    chip = written()
    chip.tune("hidden", zeros()._replace(adc_range=ranges(-2, -2, -2)))
    state = chip.state()
    other = make_chip("c", UNLIKE, 4)
    other.restore(state | {"layer/hidden/adc_range": torch.tensor(-2)})
    assert other.tuning("hidden").adc_range.tolist() == [-2, -2, -2]
    assert torch.equal(answers(other), answers(chip))


@pytest.mark.parametrize(
    ("bits", "lsb", "goes_on"), [(4, 0.25, True), (4, 0.5, False), (6, 0.25, False)]
)
def test_a_state_goes_on_if_the_register_of_ranges_became_wider(
    bits: int, lsb: float, goes_on: bool
) -> None:
    register = RegisterSpec(bits=bits, lsb=lsb)
    tuning = QUIET.model_copy(update={"adc_range": register})
    state = written(UNLIKE.model_copy(update={"tuning": tuning})).state()
    other = make_chip("c", UNLIKE, 4)
    if goes_on:
        other.restore(state)
        assert torch.equal(answers(other), answers(written()))
    else:
        with pytest.raises(ForeignStateError):
            other.restore(state)


def test_the_full_scale_reaches_a_fifth_of_nominal() -> None:
    register = ChipSpec().tuning.adc_range.codes
    assert 2 ** (register.code_min * register.lsb) < 0.2
    assert 2 ** (-8 * register.lsb) > 0.2  # the register had 4 bits once


def test_what_registers_cannot_hold_is_refused_before_anything_is_set() -> None:
    chip = placed()
    before = chip.tuning("hidden")
    beyond = zeros()._replace(leak=zeros().leak + 64)
    with pytest.raises(CodeRangeError, match="leak"):
        chip.tune("hidden", beyond._replace(threshold=zeros().threshold + 1))
    with pytest.raises(CodeRangeError, match="adc_range"):
        chip.tune("hidden", zeros()._replace(adc_range=ranges(0, 0, 16)))
    with pytest.raises(CodeRangeError, match="readout_gain"):
        chip.tune("hidden", zeros()._replace(readout_gain=128))
    for wrong in (
        zeros()._replace(adc_gain=zeros().adc_gain[0]),
        zeros()._replace(adc_range=ranges(0)),
    ):
        with pytest.raises(LayerShapeError):
            chip.tune("hidden", wrong)
    assert torch.equal(chip.tuning("hidden").threshold, before.threshold)


def test_what_cannot_be_tested_is_refused() -> None:
    chip = placed()
    with pytest.raises(SettingError, match="reference"):
        chip.convert("hidden", 1.5, 1)
    with pytest.raises(SettingError, match="thresholds"):
        chip.excite("hidden", torch.full((1, COLUMNS), 2.5), 1)
    with pytest.raises(SettingError, match="readout"):
        chip.excite("readout", torch.ones(1, 3), 1)
    with pytest.raises(LayerShapeError):
        chip.excite("hidden", torch.ones(1, COLUMNS + 1), 1)
    with pytest.raises(SettingError, match="repeat"):
        chip.convert("hidden", 0.0, 0)


def test_a_chip_can_have_registers_of_its_own() -> None:
    spec = ChipSpec(tuning=TuningSpec(threshold=RegisterSpec(bits=4, lsb=0.02)))
    tuning = make_chip("c", spec, 1).info.tuning
    assert tuning is not None
    assert tuning.threshold == (-8, 7, 0.02)


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
