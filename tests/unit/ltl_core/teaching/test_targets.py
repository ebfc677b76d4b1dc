"""Targets are the teacher's rates in eight bits, scaled layer by layer."""

import pytest
import torch

from ltl_core.errors import SettingError, SilentLayerError
from ltl_core.teaching.targets import evenly_spaced_indices
from ltl_core.teaching.teacher import collect, scale_of
from tests.blobs import World, blobs


def test_scale_is_the_nearest_rank() -> None:
    activation = torch.arange(1.0, 1001.0)
    assert scale_of("layer", activation, 99.0) == 990.0
    assert scale_of("layer", activation, 100.0) == 1000.0
    assert scale_of("layer", torch.tensor([0.0] * 999 + [5.0]), 99.0) == 5.0


def test_silent_teacher_layer_is_refused(world: World) -> None:
    weights = world.weights | {"layer5.bias": torch.full((16,), -1e3)}
    with pytest.raises(SilentLayerError, match="layer5"):
        collect(world.network, weights, blobs(20, seed=9))


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.1])
def test_percentile_out_of_range_is_refused(world: World, percentile: float) -> None:
    with pytest.raises(SettingError, match="percentile"):
        collect(world.network, world.weights, blobs(20, seed=9), percentile=percentile)


def test_targets_are_the_teacher_s_rates_in_eight_bits(world: World) -> None:
    batch = world.targets.take(torch.arange(50))
    for name, rates in batch.rates.items():
        assert float(rates.min()) >= 0
        assert float(rates.max()) == 1  # one in a hundred is clipped
        torch.testing.assert_close((rates * 255).round(), rates * 255, atol=1e-4, rtol=0)
        assert world.targets.scales[name] > 0


def test_evenly_spaced_samples_are_of_every_class_if_sorted_by_class() -> None:
    labels = torch.arange(10).repeat_interleave(100)
    assert labels[evenly_spaced_indices(1000, 50)].bincount().tolist() == [5] * 10
    assert len(labels[:50].unique()) == 1  # the first ones are of one class
    assert evenly_spaced_indices(3, 50).tolist() == [0, 1, 2]


def test_scales_of_a_batch_are_those_of_its_activations(world: World) -> None:
    whole = collect(world.network, world.weights, world.targets.samples, percentile=100)
    batch = whole.take(torch.arange(32)).rescaled(99.0)
    first = whole.samples.take(torch.arange(32))
    fresh = collect(world.network, world.weights, first)
    for name, rates in fresh.take(torch.arange(32)).rates.items():
        torch.testing.assert_close(batch.rates[name], rates, rtol=0, atol=0.01)
    stale = whole.take(torch.arange(32)).rates["layer5"]
    assert float((stale - fresh.take(torch.arange(32)).rates["layer5"]).abs().max()) > 0.05
