"""Side weights learn by the gradients of a layer's whole matrix, in steps of one size."""

import pytest
import torch
from torch import Tensor

from ltl_core.spiking.gradient import Gradient
from ltl_core.student.side_codes import side_matrix
from ltl_core.training.latent_side_weights import LatentSideWeights
from tests.blobs import World

LAYERS = ("layer0", "layer3", "layer5")
STEPS = 150


def targets(world: World, rank: int) -> dict[str, Tensor]:
    """What each layer has to add: a matrix of this rank, entries of about three codes."""
    rng = torch.Generator().manual_seed(5)
    shapes = {name: codes.weight.shape for name, codes in world.student.codes.items()}
    return {
        name: 3.0
        * torch.randn(columns, rank, generator=rng)
        @ torch.randn(rank, rows, generator=rng)
        / rank**0.5
        for name, (columns, rows) in shapes.items()
    }


def give(latent: LatentSideWeights, wanted: dict[str, Tensor]) -> None:
    """Give the gradient of the squared distance to what is wanted."""
    added = latent.codes
    for name, target in wanted.items():
        now = side_matrix(added[name]) if name in added else torch.zeros_like(target)
        latent.set_gradient(name, Gradient(now - target, torch.zeros(len(target))))


def left_over(world: World, rank: int, wanted: dict[str, Tensor]) -> dict[str, float]:
    """Learn with side weights of this rank; return the fraction of the variance that is left."""
    latent = LatentSideWeights(world.student, rank, step=0.3)
    for step in range(STEPS):
        give(latent, wanted)
        latent.step(1 - step / STEPS)
    found = latent.codes
    return {
        name: float((side_matrix(found[name]) - target).square().mean() / target.square().mean())
        for name, target in wanted.items()
    }


def test_a_matrix_of_low_rank_is_learned_and_one_of_a_higher_rank_is_not(world: World) -> None:
    wanted = targets(world, rank=2)
    assert max(left_over(world, 3, wanted).values()) < 0.05
    assert max(left_over(world, 1, wanted).values()) > 0.2


def test_as_many_ranks_as_rows_or_columns_hold_any_matrix(world: World) -> None:
    wanted = targets(world, rank=30)
    smallest = {name: min(target.shape) for name, target in wanted.items()}
    left = left_over(world, max(smallest.values()), wanted)
    assert max(left.values()) < 0.01


@pytest.mark.parametrize("step", [0.3, 1.2])
def test_the_first_step_moves_the_weights_of_all_layers_alike(world: World, step: float) -> None:
    latent = LatentSideWeights(world.student, 3, step)
    give(latent, targets(world, rank=3))
    latent.step(1.0)
    moved = {n: float(side_matrix(s).square().mean().sqrt()) for n, s in latent.codes.items()}
    assert all(value == pytest.approx(step, rel=0.6) for value in moved.values())


def test_side_weights_go_on_from_their_tensors_and_from_their_codes(world: World) -> None:
    wanted = targets(world, rank=2)
    whole = LatentSideWeights(world.student, 3, 0.3)
    for _ in range(5):
        give(whole, wanted)
        whole.step(1.0)
    resumed = LatentSideWeights(world.student, 3, 0.3)
    resumed.load(whole.tensors())
    published = world.student._replace(side=whole.codes)
    again = LatentSideWeights(published, 3, 0.3)
    for name, side in whole.codes.items():
        assert torch.equal(side_matrix(resumed.codes[name]), side_matrix(side))
        torch.testing.assert_close(
            side_matrix(again.codes[name]), side_matrix(side), atol=0.02, rtol=0.0
        )
    for latent in (whole, resumed):
        give(latent, wanted)
        latent.step(1.0)
    for name, side in whole.codes.items():
        assert torch.equal(side_matrix(resumed.codes[name]), side_matrix(side))
