"""Registers that make circuits alike: what they do, where they belong; code zero does nothing."""

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.identity import layer_identity
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, ConverterSpec, NeuronSpec, RegisterSpec, TuningSpec
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
    return Tuning(banks, banks, neurons, neurons, 0)


def some(low: int = -5, high: int = 6) -> Tuning:
    rng = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=rng, dtype=torch.int32)

    return Tuning(drawn(3, COLUMNS), drawn(3, COLUMNS), drawn(COLUMNS), drawn(COLUMNS), -2)


def answers(chip: SimulatedChip) -> Tensor:
    shown = torch.rand(9, ROWS, generator=torch.Generator().manual_seed(2))
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
    for row, bank in enumerate(adcs):
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
    assert chip.clipped(ones)["hidden"] == 0.0
    chip.tune("hidden", chip.tuning("hidden")._replace(adc_range=-4))
    assert chip.clipped(ones)["hidden"] == pytest.approx(2 / 3)
    layer = chip.run(ones, {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    lsb = 120 / 127
    expected = torch.full((COLUMNS,), (127 + 127 + round(72 / lsb)) * lsb)
    torch.testing.assert_close(layer.membrane[0, 0], expected)


def test_registers_belong_to_the_tile_and_ranges_to_the_network() -> None:
    chip, tuning = placed(), some()
    chip.tune("hidden", tuning)
    chip.place(placement(hidden=12))  # on three tiles; the first two were the first row before
    narrow = chip.tuning("hidden")
    assert torch.equal(narrow.adc_offset[0], tuning.adc_offset[0, :12])
    assert torch.equal(narrow.adc_offset[1, :4], tuning.adc_offset[0, 16:])
    assert torch.equal(narrow.threshold, tuning.threshold[:12])
    assert narrow.adc_range == 0
    chip.place(placement())
    again = chip.tuning("hidden")
    assert all(map(torch.equal, again[:4], tuning[:4]))
    assert again.adc_range == 0


def test_registers_are_saved_and_restored() -> None:
    chip, tuning = written(), some()
    chip.tune("hidden", tuning)
    other = make_chip("c", UNLIKE, 4)
    other.restore(chip.state())
    assert all(
        map(torch.equal, map(torch.as_tensor, other.tuning("hidden")), map(torch.as_tensor, tuning))
    )
    assert torch.equal(answers(other), answers(chip))


def test_a_state_from_before_there_were_registers_is_untuned() -> None:
    chip = written()
    old = {name: t for name, t in chip.state().items() if "adc_range" not in name}
    other = make_chip("c", UNLIKE, 4)
    other.restore(old)
    assert torch.equal(answers(other), answers(chip))


def test_what_registers_cannot_hold_is_refused_before_anything_is_set() -> None:
    chip = placed()
    before = chip.tuning("hidden")
    beyond = zeros()._replace(leak=zeros().leak + 64)
    with pytest.raises(CodeRangeError, match="leak"):
        chip.tune("hidden", beyond._replace(threshold=zeros().threshold + 1))
    with pytest.raises(CodeRangeError, match="adc_range"):
        chip.tune("hidden", zeros()._replace(adc_range=8))
    with pytest.raises(LayerShapeError):
        chip.tune("hidden", zeros()._replace(adc_gain=zeros().adc_gain[0]))
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
