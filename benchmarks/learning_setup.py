"""Network and batch of the speed benchmark: VGG-11 with random weights, all of whose layers fire.

Random weights alone leave the deeper layers silent: the rates of the teacher's scale fall from 0.07
in the first layer to 0.0000 in the seventh. Whatever skips silence would look better than it is. So
the weights of each layer are scaled until its rate is that of a trained student.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.models import VGG11, vgg
from ltl_core.interop.from_torch import from_torch
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import Weights, stage_sums, warm_start
from ltl_core.spiking.neuron import lif_window
from ltl_core.student.layerwise import layerwise_forward
from ltl_core.teaching.targets import Samples
from ltl_core.teaching.teacher import collect, run_teacher

RATE = 0.1  # spikes a neuron and step, to which each layer is scaled
LIVELY = (0.07, 0.14)  # of every layer of a trained student
_SCALED_ON = 2  # samples
_HALVINGS = 12  # of the range of a factor


class World(NamedTuple):
    """A teacher, its student and a batch."""

    network: NetworkSpec
    teacher: dict[str, Tensor]
    scales: dict[str, float]
    weights: dict[str, Tensor]
    batch: Samples
    labels: Tensor
    neuron: NeuronSettings


def make_world(
    batch: int, steps: int, width: float = 1.0, dtype: torch.dtype = torch.float32
) -> World:
    """Make VGG-11 with random weights, warm-started and scaled so that every layer fires."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, teacher = from_torch(lively(vgg(VGG11, width=width)), (3, 32, 32))
        inputs, labels = torch.rand(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    neuron = NeuronSettings(steps=steps, warmup=steps * 3 // 4)
    samples = Samples(inputs, labels)
    scales = dict(collect(network, teacher, samples).scales)
    weights = firing(network, warm_start(network, teacher, scales, neuron), inputs, neuron)
    cast = [{n: w.to(dtype) for n, w in tensors.items()} for tensors in (teacher, weights)]
    samples = samples._replace(inputs=inputs.to(dtype))
    return World(network, cast[0], scales, cast[1], samples, labels, neuron)


def firing(
    network: NetworkSpec, weights: Weights, inputs: Tensor, neuron: NeuronSettings
) -> dict[str, Tensor]:
    """Scale the weights of each layer of a chain, the first one first, to a mean rate of `RATE`."""
    scaled, values = dict(weights), inputs[:_SCALED_ON].unsqueeze(0)
    for stage in network.stages[:-1]:
        current = stage_sums(stage, scaled, (values,))
        factor = _factor(current.expand(neuron.steps, *current.shape[1:]), neuron)
        for name in (f"{stage.name}.weight", f"{stage.name}.bias"):
            scaled[name] = scaled[name] * factor
        current = stage_sums(stage, scaled, (values,))
        _, values = lif_window(current.expand(neuron.steps, *current.shape[1:]), neuron)
    return scaled


def rates_of(world: World) -> Mapping[str, float]:
    """Return the spikes a neuron and step of every hidden layer of the student."""
    found = layerwise_forward(world.network, world.weights, world.batch.inputs, world.neuron)
    return {name: float(rate.mean()) for name, rate in found.rates.items()}


def check_lively(world: World) -> None:
    """Raise ValueError if a layer's rate is not that of a trained student."""
    low, high = LIVELY
    for name, rate in rates_of(world).items():
        if not low <= rate <= high:
            raise ValueError(f"{name} fires {rate:.4f} times a step, not {low} to {high}")


def _factor(current: Tensor, neuron: NeuronSettings) -> float:
    """Return the factor of the currents at which neurons fire at `RATE`, by halving its range."""
    low, high = 2.0**-4, 2.0**12
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        rate = float(lif_window(current * middle, neuron)[1].mean())
        low, high = (middle, high) if rate < RATE else (low, middle)
    return math.sqrt(low * high)


def lively(module: nn.Module) -> nn.Module:
    """Initialise as He et al. do, which keeps activations alive through many layers; no biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module.eval()


def targets_of(world: World) -> dict[str, Tensor]:
    """Targets of this batch: R = clip(A / k, 0, 1)."""
    answer = run_teacher(world.network, world.teacher, world.batch.inputs)
    return {n: a.div_(world.scales[n]).clamp_(0, 1) for n, a in answer.activations.items()}
