"""How the threshold of a column learns: as its scale, where the bias is its shift."""

import torch
from torch import Tensor

from ltl_core.chip import SideWeights
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.side_codes import side_matrix
from ltl_core.student.student import Student
from ltl_core.training.latent_weights import LatentWeights, StepSizes, threshold_gradient
from tests.blobs import World

LAYER = "layer5"


def test_gradient_of_a_threshold_is_that_of_a_scale() -> None:
    rng = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(50, 7, generator=rng), torch.randn(3, 7, generator=rng)
    bias, threshold = torch.randn(3, generator=rng), torch.tensor([0.5, 1.0, 2.0])
    for value in (weight, bias, threshold):
        value.requires_grad_()
    with torch.enable_grad():  # rates depend on the sums as a fraction of the threshold
        loss = ((rows @ weight.T + bias) / threshold).tanh().square().sum()
        by_weight, by_bias, by_threshold = torch.autograd.grad(loss, (weight, bias, threshold))
    expected = by_threshold * threshold.detach()  # by the logarithm of the threshold
    found = threshold_gradient(weight.detach(), bias.detach(), Gradient(by_weight, by_bias))
    assert torch.allclose(found, expected, rtol=1e-4)
    assert not torch.allclose(-by_bias, expected, rtol=0.1)  # a threshold is no shift


def thresholds(student: Student, gradients: list[Gradient], side: SideWeights | None) -> Tensor:
    """Learn with these gradients; return the threshold codes of a layer."""
    latent = LatentWeights(student, StepSizes(0.0, 0.0, 4.0))
    latent.set_side({} if side is None else {LAYER: side})
    for gradient in gradients:
        latent.set_gradient(LAYER, gradient)
        latent.step()
    return latent.update_codes()[LAYER].threshold


def test_a_threshold_is_the_scale_of_cells_and_side_weights_together(world: World) -> None:
    rng = torch.Generator().manual_seed(1)
    codes = world.student.codes[LAYER]
    halved = codes._replace(weight=codes.weight // 2)  # the sums stay within the codes
    student = world.student.with_codes({**world.student.codes, LAYER: halved})
    columns, rows = codes.weight.shape
    down = torch.randint(-5, 6, (1, rows), generator=rng, dtype=torch.int8)
    up = torch.randint(-5, 6, (columns, 1), generator=rng, dtype=torch.int8)
    side = SideWeights(down, up, 1.0, 1.0)
    whole = halved._replace(weight=(halved.weight + side_matrix(side)).short())
    inside = world.student.with_codes({**world.student.codes, LAYER: whole})
    gradients = [
        Gradient(torch.randn(columns, rows, generator=rng), torch.randn(columns, generator=rng))
        for _ in range(5)
    ]
    expected = thresholds(inside, gradients, None)
    assert torch.equal(thresholds(student, gradients, side), expected)
    assert not torch.equal(thresholds(student, gradients, None), expected)
