"""Noise on the weights of a student in training."""

import pytest
import torch
from pydantic import ValidationError

from ltl_core.settings import TrainingSettings
from ltl_core.training.training import Training
from ltl_core.training.weight_noise import with_weight_noise
from tests.blobs import World

FRACTION = 0.05


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_the_deviation_that_was_asked_for(world: World) -> None:
    weight_max = world.student.format.weight_max
    zero = {n: c._replace(weight=c.weight * 0) for n, c in world.student.codes.items()}
    noisy = with_weight_noise(world.student.with_codes(zero), FRACTION, rng()).codes
    found = torch.cat([codes.weight.flatten() for codes in noisy.values()]).float()
    rounding = 1 / 12  # variance of rounding to codes
    expected = (FRACTION**2 * weight_max**2 + rounding) ** 0.5
    tolerance = 4 / (2 * len(found)) ** 0.5  # relative: four standard errors of a deviation
    assert float(found.std()) == pytest.approx(expected, rel=tolerance)
    assert float(found.std()) != pytest.approx(1.25 * expected, rel=tolerance)


def test_noisy_codes_are_codes_and_trims_stay(world: World) -> None:
    noisy = with_weight_noise(world.student, 0.5, rng()).codes
    for name, codes in world.student.codes.items():
        assert noisy[name].weight.dtype == codes.weight.dtype
        assert int(noisy[name].weight.abs().max()) <= world.student.format.weight_max
        assert not torch.equal(noisy[name].weight, codes.weight)
        assert torch.equal(noisy[name].bias, codes.bias)
        assert torch.equal(noisy[name].threshold, codes.threshold)


def test_noise_changes_what_is_learned_and_one_seed_draws_one_noise(world: World) -> None:
    few = world.targets.subset(torch.arange(32))

    def trained(noise: float) -> torch.Tensor:
        settings = TrainingSettings(epochs=1, batch=8, learning_rate=0.05, weight_noise=noise)
        training = Training(world.network, world.weights, few, settings)
        list(training.epochs())
        codes = training.student.codes
        return torch.cat([codes[layer.name].weight.flatten() for layer in world.network.matrices])

    assert torch.equal(trained(0.2), trained(0.2))  # one seed, one noise
    assert not torch.equal(trained(0.2), trained(0.0))


@pytest.mark.parametrize("noise", [-0.01, 0.51])
def test_noise_beyond_its_bounds_is_refused(noise: float) -> None:
    with pytest.raises(ValidationError, match="weight_noise"):
        TrainingSettings(weight_noise=noise)
