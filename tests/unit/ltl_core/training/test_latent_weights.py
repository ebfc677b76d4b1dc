"""How the threshold of a column learns: as its scale, where the bias is its shift."""

import torch

from ltl_core.spiking.gradient import Gradient
from ltl_core.training.latent_weights import threshold_gradient


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
