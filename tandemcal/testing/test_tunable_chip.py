"""What every chip promises whose circuits can be made alike; one without registers is skipped."""

import pytest
import torch

from ltl_core.chip_info import info_from_json, info_to_json
from ltl_core.optional_verbs import tunable
from tandemcal.backend import (
    ChipBackend,
    CodeRangeError,
    LayerShapeError,
    NotTunableError,
    Observable,
    Placement,
    Stimulus,
    TunableChip,
    Tuning,
    TuningInfo,
)

HIDDEN = 8


@pytest.fixture
def tuning_info(chip: ChipBackend) -> TuningInfo:
    if chip.info.tuning is None:
        with pytest.raises(NotTunableError):
            tunable(chip)
        pytest.skip("the chip has no registers to tune")
    return chip.info.tuning


@pytest.fixture
def bench(chip: ChipBackend, tuning_info: TuningInfo, placement: Placement) -> TunableChip:
    assert tuning_info.adc_code_max > 0
    chip.place(placement)
    return tunable(chip)


def mean_codes(bench: TunableChip, level: float, repeats: int = 64) -> torch.Tensor:
    return bench.convert("hidden", level, repeats).float().mean(0)


def rates(bench: TunableChip, amplitude: float, repeats: int = 64) -> torch.Tensor:
    return (bench.excite("hidden", torch.full((1, HIDDEN), amplitude), repeats) > 0).float().mean(0)


def same(one: Tuning, other: Tuning) -> bool:
    tensors = zip(one.tensors.values(), other.tensors.values(), strict=True)
    return one.readout_gain == other.readout_gain and all(torch.equal(*pair) for pair in tensors)


def test_what_a_chip_says_of_itself_survives_json(chip: ChipBackend) -> None:
    assert info_from_json(info_to_json(chip.info)) == chip.info


def test_registers_start_at_zero_and_hold_what_they_are_given(
    bench: TunableChip, tuning_info: TuningInfo
) -> None:
    found = bench.tuning("hidden")
    assert not any(codes.any() for codes in found.tensors.values())
    assert found.readout_gain == 0
    assert found.adc_range.shape == found.adc_offset.shape[:1]
    given = Tuning(
        found.adc_offset + tuning_info.adc_offset.code_max,
        found.adc_gain + tuning_info.adc_gain.code_min,
        found.threshold + tuning_info.threshold.code_min,
        found.leak + tuning_info.leak.code_max,
        found.adc_range + tuning_info.adc_range.code_max,
    )
    bench.tune("hidden", given)
    assert same(bench.tuning("hidden"), given)


def test_registers_stay_when_the_same_network_is_placed(
    chip: ChipBackend, bench: TunableChip, placement: Placement
) -> None:
    given = bench.tuning("hidden")
    given = given._replace(threshold=given.threshold + 1, adc_range=given.adc_range + 1)
    bench.tune("hidden", given)
    chip.place(placement)
    assert torch.equal(bench.tuning("hidden").threshold, given.threshold)
    assert torch.equal(bench.tuning("hidden").adc_range, given.adc_range)


def test_a_code_out_of_range_sets_nothing(bench: TunableChip, tuning_info: TuningInfo) -> None:
    found = bench.tuning("hidden")
    beyond = found._replace(
        adc_offset=found.adc_offset + 1, leak=found.leak + tuning_info.leak.code_max + 1
    )
    with pytest.raises(CodeRangeError):
        bench.tune("hidden", beyond)
    assert not bench.tuning("hidden").adc_offset.any()
    with pytest.raises(LayerShapeError):
        bench.tune("hidden", found._replace(threshold=found.threshold[:-1]))


def test_converters_follow_the_reference_and_their_registers(
    bench: TunableChip, tuning_info: TuningInfo
) -> None:
    found = bench.tuning("hidden")
    low, high = (mean_codes(bench, level) for level in (-0.5, 0.5))
    assert low.shape == found.adc_offset.shape
    assert float(low.max()) < 0 < float(high.min())
    shift = 4
    bench.tune("hidden", found._replace(adc_offset=found.adc_offset + shift))
    moved = (mean_codes(bench, 0.5) - high).mean()
    assert float(moved) == pytest.approx(shift * tuning_info.adc_offset.lsb, abs=0.5)
    bench.tune("hidden", found._replace(adc_gain=found.adc_gain + tuning_info.adc_gain.code_min))
    assert float(mean_codes(bench, 0.5).mean()) < 0.75 * float(high.mean())


def test_neurons_follow_the_test_current_and_their_registers(
    bench: TunableChip, tuning_info: TuningInfo
) -> None:
    found = bench.tuning("hidden")
    top = tuning_info.current_max
    assert float(rates(bench, 0.0).max()) < 0.5
    alive = rates(bench, top) > 0.5
    assert alive.any()
    lower = found.threshold + tuning_info.threshold.code_min
    higher = found.threshold + tuning_info.threshold.code_max
    fired = []
    for threshold in (lower, found.threshold, higher):
        bench.tune("hidden", found._replace(threshold=threshold))
        fired.append(sum(rates(bench, top * step / 20)[alive].mean() for step in range(21)))
    assert fired[0] > fired[1] > fired[2]


def test_a_longer_time_constant_remembers_more(bench: TunableChip, tuning_info: TuningInfo) -> None:
    found = bench.tuning("hidden")
    kept = []
    for leak in (tuning_info.leak.code_min, 0, tuning_info.leak.code_max):
        bench.tune("hidden", found._replace(leak=found.leak + leak))
        current = torch.zeros(6, HIDDEN)
        current[0] = 0.5
        counts = []
        for step in range(21):
            current[5] = step / 10
            counts.append((bench.excite("hidden", current, 16) > 0).float().mean())
        kept.append(sum(counts))
    assert kept[0] < kept[1] < kept[2]


def test_a_wider_range_clips_less(
    chip: ChipBackend, bench: TunableChip, tuning_info: TuningInfo
) -> None:
    chip.program("hidden", torch.full((HIDDEN, 16), chip.info.weight_code_max // 3))
    spikes = Stimulus(torch.ones(6, 3, 4, 4, 4), 6, "hidden")
    clipped, found = [], bench.tuning("hidden")
    for code in (tuning_info.adc_range.code_min, tuning_info.adc_range.code_max):
        bench.tune("hidden", found._replace(adc_range=torch.full_like(found.adc_range, code)))
        clipped.append(bench.clipped(spikes))
    assert set(clipped[0]) == {"hidden", "readout"}
    ranges = len(found.adc_range) if tuning_info.range_by_tile else 1
    assert clipped[0]["hidden"].shape == clipped[1]["hidden"].shape == (ranges,)
    assert clipped[0]["hidden"].max() > clipped[1]["hidden"].max()


def test_a_gain_multiplies_the_sums_of_the_readout_alone(
    chip: ChipBackend, bench: TunableChip, tuning_info: TuningInfo
) -> None:
    found, register = bench.tuning("readout"), tuning_info.readout_gain
    if register is None:
        with pytest.raises(CodeRangeError):
            bench.tune("readout", found._replace(readout_gain=1))
        pytest.skip("the chip has no gain of the readout")
    if Observable.MEMBRANE not in chip.info.observables:
        pytest.skip("the chip does not show the sums of its readout")
    chip.program("readout", torch.full((3, HIDDEN), chip.info.weight_code_max // 2))
    sums = []
    for code in (0, register.code_max):
        bench.tune("readout", found._replace(readout_gain=code))
        assert bench.tuning("readout").readout_gain == code
        spikes = Stimulus(torch.ones(20, 5, HIDDEN), 20, "readout")
        shown = chip.run(spikes, {"readout": Observable.MEMBRANE}).layers["readout"].membrane
        assert shown is not None
        sums.append(float(shown[-1].mean()))
    factor = 1 + register.code_max * register.lsb
    assert sums[1] / sums[0] == pytest.approx(factor, rel=0.05)
    with pytest.raises(CodeRangeError):
        bench.tune("readout", found._replace(readout_gain=register.code_max + 1))


def test_tests_take_time_on_the_chips_clock(chip: ChipBackend, bench: TunableChip) -> None:
    times = [chip.now()]
    bench.convert("hidden", 0.0, 10)
    times.append(chip.now())
    bench.excite("hidden", torch.zeros(3, HIDDEN), 10)
    times.append(chip.now())
    assert times[0] < times[1] < times[2]
