"""Registers that make circuits alike: what they do, where they belong; code zero does nothing."""

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.converter import AdcBank
from chip_sim.identity import layer_identity
from chip_sim.presets import preset
from chip_sim.spec import (
    ChipSpec,
    RegisterSpec,
    TuningSpec,
)
from chip_sim.tiling import tile_stage
from ltl_core.errors import CodeRangeError, LayerShapeError, SettingError
from tests.unit.chip_sim.tuned_chip import (
    COLUMNS,
    UNLIKE,
    answers,
    network,
    placed,
    placement,
    ranges,
    some,
    written,
    zeros,
)


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
