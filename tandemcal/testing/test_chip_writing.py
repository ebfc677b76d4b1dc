"""What every chip promises about codes and trims that are written to it."""

import pytest
import torch

from ltl_core.calibration.abilities import has_trims
from ltl_core.optional_verbs import write_layers
from tandemcal.backend import ChipBackend, CodeRangeError, LayerCodes, LayerShapeError, Placement
from tandemcal.testing.small_network import mean_counts, program_all, some_codes


def test_codes_start_at_zero(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    for stage in placement.network.stages:
        nothing = torch.zeros(stage.columns, stage.rows, dtype=torch.int64)
        report = chip.program(stage.name, nothing)
        assert (report.cells, report.pulses) == (0, 0)


def test_placing_the_same_network_again_changes_nothing(
    chip: ChipBackend, placement: Placement
) -> None:
    chip.place(placement)
    codes = program_all(chip, placement)
    chip.place(placement)
    assert chip.program("conv", codes["conv"]).cells == 0


def test_only_changed_cells_are_written(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    codes = program_all(chip, placement)["hidden"]
    codes[0, :3] -= 1
    report = chip.program("hidden", codes)
    assert report.cells == 3
    assert report.pulses >= 3
    assert report.failed.shape == codes.shape
    assert not report.failed[1:].any()
    assert chip.program("hidden", codes).cells == 0


@pytest.mark.parametrize("beyond", [1, -1])
def test_a_code_out_of_range_writes_nothing(
    chip: ChipBackend, placement: Placement, beyond: int
) -> None:
    chip.place(placement)
    wrong = torch.ones(8, 16, dtype=torch.int64)
    wrong[7, 15] = beyond * (chip.info.weight_code_max + 1)
    before = chip.now()
    with pytest.raises(CodeRangeError):
        chip.program("hidden", wrong)
    assert chip.now() == before
    assert chip.program("hidden", torch.zeros_like(wrong)).cells == 0


def test_codes_of_another_shape_are_refused(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    with pytest.raises(LayerShapeError):
        chip.program("hidden", torch.ones(16, 8, dtype=torch.int64))


def test_a_trim_out_of_range_is_refused(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    nothing = torch.zeros(8, dtype=torch.int64)
    for wrong in (chip.info.trim_code_max + 1, chip.info.trim_code_min - 1):
        with pytest.raises(CodeRangeError):
            chip.trim("hidden", nothing + wrong, nothing)
        with pytest.raises(CodeRangeError):
            chip.trim("hidden", nothing, nothing + wrong)


def test_layers_are_written_together_as_one_by_one(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    codes = {
        layer: LayerCodes(weight, *some_trims(chip, len(weight)))
        for layer, weight in some_codes(placement, chip.info.weight_code_max).items()
    }
    reports = write_layers(chip, codes)
    for layer, code in codes.items():
        assert reports[layer].cells == int((code.weight != 0).sum())
        assert reports[layer].failed.shape == code.weight.shape
        assert chip.program(layer, code.weight).cells == 0
    assert all(report.cells == 0 for report in write_layers(chip, codes).values())


def test_a_layer_out_of_range_is_refused_among_others(
    chip: ChipBackend, placement: Placement
) -> None:
    chip.place(placement)
    layers = some_codes(placement, chip.info.weight_code_max)
    nothing = {
        layer: torch.zeros(len(weight), dtype=torch.int64) for layer, weight in layers.items()
    }
    layers["hidden"] = torch.full_like(layers["hidden"], chip.info.weight_code_max + 1)
    codes = {layer: LayerCodes(w, nothing[layer], nothing[layer]) for layer, w in layers.items()}
    with pytest.raises(CodeRangeError):
        write_layers(chip, codes)
    assert chip.program("hidden", torch.zeros_like(layers["hidden"])).cells == 0


def test_a_higher_threshold_silences_a_layer(chip: ChipBackend, placement: Placement) -> None:
    if not (has_trims(chip.info) and chip.info.threshold_trims):
        pytest.skip("the chip has no trims of thresholds")
    chip.place(placement)
    program_all(chip, placement)
    nothing = torch.zeros(8, dtype=torch.int64)
    neutral = mean_counts(chip).sum()
    chip.trim("hidden", nothing + chip.info.trim_code_max, nothing)
    assert mean_counts(chip).sum() < neutral


def test_a_higher_bias_wakes_a_layer(chip: ChipBackend, placement: Placement) -> None:
    if not has_trims(chip.info):
        pytest.skip("the chip has no trims")
    chip.place(placement)
    program_all(chip, placement)
    nothing = torch.zeros(8, dtype=torch.int64)
    neutral = mean_counts(chip).sum()
    chip.trim("hidden", nothing, nothing + chip.info.trim_code_max)
    assert mean_counts(chip).sum() > neutral


def test_a_chip_without_trims_of_thresholds_refuses_them(
    chip: ChipBackend, placement: Placement
) -> None:
    if chip.info.threshold_trims or not has_trims(chip.info):
        pytest.skip("the chip has trims of thresholds, or none at all")
    chip.place(placement)
    nothing = torch.zeros(8, dtype=torch.int64)
    with pytest.raises(CodeRangeError):
        chip.trim("hidden", nothing + chip.info.trim_code_max, nothing)


def some_trims(chip: ChipBackend, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Trims of biases and thresholds other than zero, where the chip has them."""
    bias = torch.full((columns,), min(1, chip.info.trim_code_max))
    return bias, bias if chip.info.threshold_trims else torch.zeros_like(bias)
