"""What every chip promises that has digital side weights; one without them is skipped."""

import pytest
import torch
from torch import Tensor

from ltl_core.optional_verbs import side_weighted
from tandemcal.backend import (
    ChipBackend,
    CodeRangeError,
    LayerShapeError,
    NoSideWeightsError,
    Observable,
    Placement,
    SettingError,
    SideWeightedChip,
    SideWeights,
    Stimulus,
)
from tandemcal.testing.networks import other_network

STEPS, BATCH = 20, 10
COLUMNS, ROWS = 3, 8  # of the readout
LARGE = 1500.0  # code units, in one step: far above what an array of zeros can answer


@pytest.fixture
def bench(chip: ChipBackend, placement: Placement) -> SideWeightedChip:
    """The chip, if it has side weights; a network stands on it, with zeros in its cells."""
    if not chip.info.side_rank:
        with pytest.raises(NoSideWeightsError):
            side_weighted(chip)
        pytest.skip("the chip has no digital side weights")
    chip.place(placement)
    return side_weighted(chip)


def some_weights(rank: int = 1) -> SideWeights:
    """Draw side weights of the readout."""
    rng = torch.Generator().manual_seed(4)
    down = torch.randint(1, 100, (rank, ROWS), generator=rng)
    up = torch.tensor([[100], [-50], [25]]).expand(COLUMNS, rank)
    return SideWeights(down, up, 0.5, LARGE / 100 / float(0.5 * down.sum()))


def step_sums(chip: ChipBackend) -> Tensor:
    """Mean sum of each column of the readout in one step, when all its rows are played."""
    spikes = Stimulus(torch.ones(STEPS, BATCH, ROWS), STEPS, "readout")
    shown = chip.run(spikes, {"readout": Observable.MEMBRANE}).layers["readout"].membrane
    if shown is None:
        pytest.skip("the chip does not show the sums of its readout")
    return shown[-1].mean(0) / STEPS


def test_side_weights_add_their_product_to_the_column_sums(
    chip: ChipBackend, bench: SideWeightedChip
) -> None:
    without = step_sums(chip)
    bench.set_side("readout", some_weights())
    added = step_sums(chip) - without
    torch.testing.assert_close(added / LARGE, torch.tensor([1.0, -0.5, 0.25]), rtol=0.02, atol=0.01)
    bench.set_side("readout", None)
    torch.testing.assert_close(step_sums(chip) / LARGE, without / LARGE, rtol=0, atol=0.01)


def test_side_weights_drive_the_neurons_of_a_hidden_layer(
    chip: ChipBackend, bench: SideWeightedChip
) -> None:
    spikes = Stimulus(torch.ones(STEPS, BATCH, 4, 4, 4), STEPS, "hidden")
    counts = []
    for sign in (-1, 1):
        up = torch.full((ROWS, 1), 100 * sign)
        bench.set_side("hidden", SideWeights(torch.full((1, 16), 100), up, 0.01, 0.1))
        shown = chip.run(spikes, {"hidden": Observable.COUNTS}).layers["hidden"].counts
        assert shown is not None
        counts.append(int(shown.sum()))
    assert counts[0] < counts[1] / 2


def test_side_weights_stay_until_another_network_is_placed(
    chip: ChipBackend, bench: SideWeightedChip, placement: Placement
) -> None:
    bench.set_side("readout", some_weights())
    chip.place(placement)
    assert float(step_sums(chip)[0]) > LARGE / 2
    chip.place(other_network())
    chip.place(placement)
    assert float(step_sums(chip)[0]) < LARGE / 2


def test_side_weights_that_do_not_fit_are_refused_and_change_nothing(
    chip: ChipBackend, bench: SideWeightedChip
) -> None:
    bench.set_side("readout", some_weights(chip.info.side_rank))
    good = some_weights()
    wrong = {
        LayerShapeError: (
            good._replace(down=good.down[:, 1:]),
            good._replace(up=torch.cat((good.up, good.up))),
            good._replace(up=good.up.float()),
        ),
        CodeRangeError: (
            good._replace(up=good.up + 28),
            good._replace(down=-128 * torch.ones_like(good.down)),
        ),
        SettingError: (
            some_weights(chip.info.side_rank + 1),
            good._replace(up_scale=float("nan")),
            good._replace(down=good.down[:0], up=good.up[:, :0]),
        ),
    }
    for error, weights in ((error, one) for error, some in wrong.items() for one in some):
        with pytest.raises(error):
            bench.set_side("readout", weights)
    assert float(step_sums(chip)[0]) > LARGE / 2
