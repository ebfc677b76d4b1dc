"""A grouped convolution on a chip: one block for each group, on tiles of its own."""

import torch
import torch.nn.functional as F

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, tiles_needed
from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus
from ltl_core.network.layers import Conv2d, Linear
from ltl_core.network.spec import NetworkSpec

CHANNELS, GROUPS = 8, 4
NETWORK = NetworkSpec(
    input_shape=(CHANNELS, 5, 5),
    layers=(
        Conv2d(
            name="conv",
            in_channels=CHANNELS,
            out_channels=2 * CHANNELS,
            kernel=(3, 3),
            groups=GROUPS,
        ),
        Linear(name="readout", in_features=2 * CHANNELS * 9, out_features=3),
    ),
)


def placed(spec: ChipSpec) -> SimulatedChip:
    settings = LayerSettings(threshold=500.0, decay=0.9, window=20.0, full_scale=2047.0)
    chip = make_chip("c", spec, 2)
    chip.place(Placement(NETWORK, {"conv": settings, "readout": settings}, 127.0))
    return chip


def codes() -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(-20, 21, (2 * CHANNELS, CHANNELS // GROUPS * 9), generator=rng)


def membrane(chip: SimulatedChip) -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    spikes = torch.randint(0, 2, (1, 6, CHANNELS, 5, 5), generator=rng).float()
    recording = chip.run(Stimulus(spikes, 1, "conv"), {"conv": Observable.MEMBRANE})
    shown = recording.layers["conv"].membrane
    assert shown is not None
    expected = F.conv2d(spikes[0], codes().float().view(2 * CHANNELS, 2, 3, 3), groups=GROUPS)
    return shown[0] - expected


def test_an_ideal_chip_gives_the_grouped_convolution() -> None:
    chip = placed(preset("ideal"))
    chip.program("conv", codes())
    assert float(membrane(chip).abs().max()) < 1e-3


def test_each_group_stands_on_a_tile_of_its_own() -> None:
    assert tiles_needed(NETWORK, preset("ideal")) == GROUPS + 1


def test_groups_age_wear_and_are_saved_like_any_layer() -> None:
    chip = placed(preset("pcm"))
    report = chip.program("conv", codes())
    assert report.failed.shape == codes().shape
    assert int(chip.wear("conv").sum()) >= report.pulses
    other = make_chip("c", preset("pcm"), 2)
    other.restore(chip.state())
    assert torch.equal(membrane(other), membrane(chip))
    assert float(membrane(chip).abs().max()) > 1
