"""A teacher whose weights are not known is found again in its activations, layer by layer."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from ltl_core.errors import ForeignActivationsError
from ltl_core.network.spec import NetworkSpec
from ltl_core.teaching.fitting import fit_weights
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import collect, run_teacher, teacher_accuracy
from tests.blobs import World
from tests.unit.ltl_core.residual import RESIDUAL, random_inputs, random_weights

RIGHT = 0.02  # of a layer's variance, at most, that is left of activations of the network
GROUPED = NetworkSpec.model_validate(
    {
        "input_shape": [4, 5, 5],
        "input_affine": {"scale": [2.0, 1.0, 1.0, 0.5], "shift": [0.1, 0.0, -0.2, 0.0]},
        "layers": [
            {
                "kind": "conv2d",
                "name": "apart",
                "in_channels": 4,
                "out_channels": 8,
                "kernel": [3, 3],
                "padding": [1, 1],
                "groups": 4,
            },
            {"kind": "avg_pool2d", "name": "pool", "kernel": [2, 2], "stride": [2, 2]},
            {"kind": "linear", "name": "readout", "in_features": 32, "out_features": 3},
        ],
    }
)


def residual(samples: int = 400) -> tuple[NetworkSpec, dict[str, Tensor], TargetSet]:
    weights = {n: w.float() for n, w in random_weights(RESIDUAL).items() if not n.endswith("gain")}
    return RESIDUAL, weights, labelled(RESIDUAL, weights, random_inputs(samples).float())


def grouped() -> tuple[NetworkSpec, dict[str, Tensor], TargetSet]:
    draw = torch.Generator().manual_seed(1)
    weights = {
        name: torch.randn(shape, generator=draw) for name, shape in GROUPED.tensor_shapes.items()
    }
    return GROUPED, weights, labelled(GROUPED, weights, torch.rand((300, 4, 5, 5), generator=draw))


def labelled(network: NetworkSpec, weights: Mapping[str, Tensor], inputs: Tensor) -> TargetSet:
    labels = run_teacher(network, weights, inputs).logits.argmax(1)
    return collect(network, weights, Samples(inputs, labels))


def teachers(world: World) -> dict[str, tuple[NetworkSpec, Mapping[str, Tensor], TargetSet]]:
    return {
        "chain": (world.network, world.weights, world.targets),
        "residual": residual(),
        "grouped": grouped(),
    }


@pytest.mark.parametrize("kind", ["chain", "residual", "grouped"])
def test_a_fitted_teacher_does_what_the_teacher_does(world: World, kind: str) -> None:
    network, weights, targets = teachers(world)[kind]
    fitted = fit_weights(network, targets)
    assert list(fitted.unexplained) == [stage.name for stage in network.stages]
    assert max(fitted.unexplained.values()) < RIGHT
    assert {n: tuple(w.shape) for n, w in fitted.weights.items()} == network.tensor_shapes
    mine = teacher_accuracy(network, weights, targets.samples)
    assert teacher_accuracy(network, fitted.weights, targets.samples) > mine - 0.04


def test_a_fitted_teacher_is_as_good_on_samples_that_it_was_not_fitted_to(world: World) -> None:
    fitted = fit_weights(world.network, world.targets).weights
    mine = teacher_accuracy(world.network, world.weights, world.test.samples)
    assert teacher_accuracy(world.network, fitted, world.test.samples) > mine - 0.02
    nothing = {name: torch.zeros_like(weight) for name, weight in fitted.items()}
    assert teacher_accuracy(world.network, nothing, world.test.samples) < mine - 0.02  # a control


def shuffled(targets: TargetSet, name: str) -> TargetSet:
    """The targets with the tensors of one name in another order of samples."""
    order = torch.randperm(targets.size, generator=torch.Generator().manual_seed(0))
    if name == "inputs":
        inputs = targets.samples.inputs[order]
        return targets._replace(samples=targets.samples._replace(inputs=inputs))
    if name == "logits":
        assert targets.logits is not None
        return targets._replace(logits=targets.logits[order])
    return targets._replace(rates={**targets.rates, name: targets.rates[name][order]})


@pytest.mark.parametrize("kind", ["chain", "residual", "grouped"])
def test_samples_in_another_order_are_noticed_in_each_layer(world: World, kind: str) -> None:
    network, _, targets = teachers(world)[kind]
    for name in ("inputs", "logits", *targets.rates):
        with pytest.raises(ForeignActivationsError, match="one order") as refused:
            fit_weights(network, shuffled(targets, name))
        if name in targets.rates:
            assert refused.value.layer == name


def test_activations_of_another_network_are_noticed() -> None:
    """The layers' names are mixed up, which their shapes need not show."""
    network, _, targets = residual()
    by_shape: dict[Any, list[str]] = {}
    for name, rates in targets.rates.items():
        by_shape.setdefault(rates.shape, []).append(name)
    first, second = next(names for names in by_shape.values() if len(names) > 1)[:2]
    mixed = {**targets.rates, first: targets.rates[second], second: targets.rates[first]}
    with pytest.raises(ForeignActivationsError):
        fit_weights(network, targets._replace(rates=mixed))


def test_inputs_that_never_change_are_fitted_too(world: World) -> None:
    inputs = world.targets.samples.inputs.clone()
    inputs[:, :, 0] = 0
    inputs[:, :, 1] = 0.5
    targets = labelled(world.network, world.weights, inputs)
    fitted = fit_weights(world.network, targets)
    assert all(bool(weight.isfinite().all()) for weight in fitted.weights.values())
    assert max(fitted.unexplained.values()) < RIGHT


def test_few_samples_are_fitted_with_finite_weights(world: World) -> None:
    """With fewer samples than inputs every answer can be explained: nothing is refused."""
    few = world.targets.subset(torch.arange(4))
    for targets in (few, shuffled(few, "logits")):
        fitted = fit_weights(world.network, targets)
        assert all(bool(weight.isfinite().all()) for weight in fitted.weights.values())


def test_logits_of_the_teacher_are_needed(world: World) -> None:
    with pytest.raises(ValueError, match="logits"):
        fit_weights(world.network, world.targets._replace(logits=None))
