"""The network of the speed benchmark fires, and its gradients are those of plain equations."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from benchmarks.learning_setup import LIVELY, World, check_lively, make_world, rates_of
from benchmarks.learning_speed import RULES, ours, plain
from ltl_core.settings import RuleName
from ltl_core.spiking.forward import layer_traces, warm_start

FIRST = "layer0"
EQUAL = 3e-7  # relative, in single precision


@cache
def world_of(dtype: torch.dtype) -> World:
    """A thin VGG-11; no membrane is so near to the threshold that rounding could make a spike."""
    return make_world(batch=2, steps=16, width=1 / 16, dtype=dtype)


def relative(found: Tensor, wanted: Tensor) -> float:
    difference = found.double() - wanted.double()
    return float(difference.norm() / wanted.double().norm())


def differences(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    assert found.keys() == wanted.keys()
    return {name: relative(found[name], tensor) for name, tensor in wanted.items()}


def test_every_layer_fires_as_one_of_a_trained_student() -> None:
    world = world_of(torch.float32)
    check_lively(world)
    low, high = LIVELY
    rates = rates_of(world)
    assert len(rates) == 10
    assert all(low <= rate <= high for rate in rates.values())
    weights = warm_start(world.network, world.teacher, world.scales, world.neuron)
    with pytest.raises(ValueError, match="fires"):
        check_lively(world._replace(weights=weights))


@pytest.mark.parametrize("rule", RULES)
def test_gradients_of_lively_layers_equal_autograd_in_single_precision(rule: RuleName) -> None:
    """Autograd's own sums of the analog image round more than that: the first layer's are double.

    Spikes of both precisions are the same.
    """
    single, double = world_of(torch.float32), world_of(torch.float64)
    for one, other in zip(traces(single), traces(double), strict=True):
        assert torch.equal(one, other)
    found, wanted = ours(single, rule), plain(single, rule)
    exact = plain(double, rule)
    wanted |= {name: exact[name] for name in wanted if name.startswith(FIRST)}
    assert max(differences(found, wanted).values()) < EQUAL
    neuron = single.neuron.model_copy(update={"decay": math.exp(-1 / 10.1)})
    off = differences(ours(single._replace(neuron=neuron), rule), wanted)
    assert max(off.values()) > 1000 * EQUAL


def traces(world: World) -> list[Tensor]:
    found = layer_traces(world.network, world.weights, world.batch.inputs, world.neuron)
    return [trace.spikes.double() for trace in found if trace.spikes is not None]
