"""Network and batch of the speed benchmark: VGG-11 with lively random weights."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.models import VGG11, vgg
from ltl_core.interop.from_torch import from_torch
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import warm_start
from ltl_core.teaching.targets import Samples
from ltl_core.teaching.teacher import collect, run_teacher


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
    """Make VGG-11 with random weights, warm-started, so that every layer fires."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, teacher = from_torch(lively(vgg(VGG11, width=width)), (3, 32, 32))
        inputs, labels = torch.rand(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    neuron = NeuronSettings(steps=steps, warmup=steps * 3 // 4)
    samples = Samples(inputs, labels)
    scales = dict(collect(network, teacher, samples).scales)
    weights = warm_start(network, teacher, scales, neuron)
    cast = [{n: w.to(dtype) for n, w in tensors.items()} for tensors in (teacher, weights)]
    return World(
        network, cast[0], scales, cast[1], Samples(inputs.to(dtype), labels), labels, neuron
    )


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
