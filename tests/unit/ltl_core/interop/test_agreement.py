"""The check at the end of an import finds a network that is not the module, and names the layer."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltl_core.interop.agreement import (
    HIDDEN_TOLERANCE,
    TOLERANCE,
    DisagreementError,
    check_agreement,
)
from ltl_core.interop.preparing import prepared
from ltl_core.interop.reading import ReadNetwork, read_trace
from ltl_core.interop.tracing import BATCH, Trace, is_unchanged, trace


def _module(*end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 5)]
    return prepared(nn.Sequential(*layers, *end))


def _read(module: nn.Module, shape: tuple[int, ...] = (6,)) -> tuple[Trace, ReadNetwork]:
    rng = torch.Generator().manual_seed(0)
    traced = trace(module, torch.rand(BATCH, *shape, generator=rng, dtype=torch.float64))
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


class ChangesInPlace(nn.Module):
    """The value of a layer of neurons is changed once it was read, or where it is neurons too."""

    def __init__(self, again: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 7), nn.Linear(7, 5)
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        y = self.second(x)
        self.again(x)
        return y


@pytest.mark.parametrize("again", [nn.Identity(), nn.Hardtanh(0, 0.1, inplace=True)])
def test_neurons_are_compared_as_they_were_when_they_were_read(again: nn.Module) -> None:
    torch.manual_seed(0)
    module = prepared(ChangesInPlace(again))
    traced, read = _read(module)
    unchanged = all(is_unchanged(node) for node in read.neurons.values())
    assert unchanged is isinstance(again, nn.Identity)
    check_agreement(module, traced, read, torch.Generator().manual_seed(1))
    read.weights["first.weight"] *= 1 + 10 * TOLERANCE
    with pytest.raises(DisagreementError) as caught:
        check_agreement(module, traced, read, torch.Generator().manual_seed(1))
    assert caught.value.layer == "first"


@pytest.mark.parametrize("layer", ["layer0", "layer2", "layer6"])
def test_a_layer_of_a_large_image_that_differs_is_named(layer: str) -> None:
    """An image of that size is compared on fewer samples."""
    torch.manual_seed(0)
    convs = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU()
    end = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    module = prepared(nn.Sequential(*convs, *end))
    traced, read = _read(module, (1, 200, 200))
    check_agreement(module, traced, read, torch.Generator().manual_seed(1))
    read.weights[f"{layer}.weight"][0] *= 1 + 100 * TOLERANCE
    with pytest.raises(DisagreementError) as caught:
        check_agreement(module, traced, read, torch.Generator().manual_seed(1))
    assert caught.value.layer == layer
