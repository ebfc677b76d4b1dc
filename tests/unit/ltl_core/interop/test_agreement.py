"""The check at the end of an import finds a network that is not the module, and names the layer."""

import pytest
import torch
from torch import nn

from ltl_core.interop.agreement import (
    HIDDEN_TOLERANCE,
    TOLERANCE,
    DisagreementError,
    check_agreement,
)
from ltl_core.interop.preparing import prepared
from ltl_core.interop.reading import ReadNetwork, read_trace
from ltl_core.interop.tracing import BATCH, Trace, trace


def _module(*end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 5)]
    return prepared(nn.Sequential(*layers, *end))


def _read(module: nn.Module) -> tuple[Trace, ReadNetwork]:
    inputs = torch.rand(BATCH, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    traced = trace(module, inputs)
    return traced, read_trace(traced)


@pytest.mark.parametrize("layer", ["layer0", "layer2", "layer4"])
def test_first_layer_that_differs_is_named(layer: str) -> None:
    module = _module()
    traced, read = _read(module)
    rng = torch.Generator().manual_seed(1)
    check_agreement(module, traced, read, rng)
    read.weights[f"{layer}.weight"] *= 1 + 10 * TOLERANCE
    read.weights["layer4.bias"] *= 1.5
    with pytest.raises(DisagreementError) as caught:
        check_agreement(module, traced, read, rng)
    assert caught.value.layer == layer


def test_logits_that_are_shifted_alike_are_found_behind_a_softmax() -> None:
    module = _module(nn.Softmax(1))
    traced, read = _read(module)
    rng = torch.Generator().manual_seed(1)
    check_agreement(module, traced, read, rng)
    read.weights["layer4.bias"] += 0.01
    with pytest.raises(DisagreementError):
        check_agreement(module, traced, read, rng)


def test_layer_that_hardly_reaches_the_logits_is_compared_too() -> None:
    module = _module()
    module.get_parameter("4.weight").mul_(1e-9)
    traced, read = _read(module)
    rng = torch.Generator().manual_seed(1)
    check_agreement(module, traced, read, rng)
    read.weights["layer2.weight"] *= 1 + 10 * HIDDEN_TOLERANCE
    with pytest.raises(DisagreementError) as caught:
        check_agreement(module, traced, read, rng)
    assert caught.value.layer == "layer2"


def test_difference_below_the_tolerance_passes() -> None:
    module = _module()
    traced, read = _read(module)
    read.weights["layer4.weight"] *= 1 + TOLERANCE / 10
    check_agreement(module, traced, read, torch.Generator().manual_seed(1))
