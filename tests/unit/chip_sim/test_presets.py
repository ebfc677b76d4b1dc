"""The named chips, figure by figure."""

import pytest

from chip_sim.errors import UnknownPresetError
from chip_sim.presets import NAMES, PAPER, is_preset, preset
from chip_sim.spec import ChipSpec, PaperSpec, info_of, tiles_needed
from ltl_core.network.layers import Conv2d, Linear
from ltl_core.network.spec import NetworkSpec

TABLE = {
    # model, variation, stuck, ADC bits, gain, offset, threshold, leak, dead, thermal, read noise
    "ideal": ("none", 0, 0, 12, 0, 0, 0, 0, 0, 0, 0),
    "pcm": ("pcm", 0.05, 0.001, 8, 0.03, 2, 0.10, 0.05, 0.005, 0.01, 0.005),
    "hermes": ("hermes", 0.05, 0.001, 8, 0.03, 2, 0.10, 0.05, 0.005, 0.01, 0.005),
    "reram": ("reram", 0.10, 0.005, 8, 0.03, 2, 0.10, 0.05, 0.005, 0.01, 0.01),
    "harsh": ("pcm", 0.30, 0.01, 6, 0.08, 2, 0.20, 0.10, 0.02, 0.03, 0.01),
}


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_table(name: str) -> None:
    spec = preset(name)
    device, converter, neuron = spec.device, spec.converter, spec.neuron
    assert TABLE[name] == (
        device.model,
        device.variation,
        device.stuck,
        converter.adc_bits,
        converter.gain_sd,
        converter.offset_sd_lsb,
        neuron.threshold_mismatch,
        neuron.leak_mismatch,
        neuron.dead,
        neuron.thermal_noise,
        device.read_noise,
    )


@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("paper-mismatch", PaperSpec(mismatch=0.2)),
        ("paper-mismatch-0.05", PaperSpec(mismatch=0.05)),
        ("paper-thermal-0.3", PaperSpec(thermal_noise=0.3)),
        ("paper-silencing-0.1", PaperSpec(silencing=0.1)),
        ("paper-quantisation", PaperSpec(weight_bits=4)),
        ("paper-quantisation-2", PaperSpec(weight_bits=2)),
    ],
)
def test_a_chip_of_the_paper_has_one_non_ideality_and_no_other(name: str, only: PaperSpec) -> None:
    spec, ideal = preset(name), preset("ideal")
    assert spec.paper == only
    same = {"paper": ideal.paper, "converter": ideal.converter, "model": "ideal"}
    assert spec.model_copy(update=same) == ideal
    assert (spec.converter.gain_sd, spec.converter.offset_sd_lsb) == (0, 0)
    assert spec.converter.adc_bits > ideal.converter.adc_bits


@pytest.mark.parametrize("name", ["silencing-1.5", "mismatch-x", "thermal--1", "quantisation-4.5"])
def test_a_strength_that_no_chip_has_is_no_preset(name: str) -> None:
    assert is_preset(f"paper-{name.split('-')[0]}")
    assert not is_preset(f"paper-{name}")


@pytest.mark.parametrize("name", [*NAMES, *PAPER])
def test_all_share_codes_trims_and_tiles(name: str) -> None:
    info = info_of(preset(name), "x")
    assert (info.weight_code_max, info.trim_code_min, info.trim_code_max) == (63, -128, 127)
    assert info.trim_lsb == 1 / 256
    assert (info.tile_rows, info.tile_columns) == (256, 256)


def test_writing_is_as_in_the_table() -> None:
    writes = {name: preset(name).write for name in NAMES}
    assert (writes["pcm"].tolerance_sigma, writes["pcm"].pulses_max) == (1.0, 8)
    assert writes["hermes"] == writes["pcm"]
    assert (writes["reram"].tolerance_siemens, writes["reram"].pulses_max) == (1e-6, 30)
    assert not writes["harsh"].verifies
    assert preset("harsh").device.programming_scale == 2.0


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPresetError, match="ideal, pcm, hermes, reram, harsh, ideal-side"):
        preset("perfect")
    with pytest.raises(UnknownPresetError):
        preset("pcm-side-side")


def test_tiles_are_counted_in_both_directions() -> None:
    network = NetworkSpec(
        input_shape=(64, 4, 4),
        layers=(
            Conv2d(name="conv", in_channels=64, out_channels=300, kernel=(3, 3), padding=(1, 1)),
            Linear(name="readout", in_features=4800, out_features=10),
        ),
    )
    assert tiles_needed(network, ChipSpec()) == 3 * 2 + 19
