"""Small networks, teachers and samples that the tests of the learning core share."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from ltl_core.interop.from_torch import from_torch
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import TrainingSettings
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import collect
from ltl_core.training.training import Training

CLASSES = 4


class World(NamedTuple):
    """A teacher, what it asks for, and the golden student."""

    network: NetworkSpec
    weights: dict[str, Tensor]
    targets: TargetSet
    test: TargetSet
    student: Student


def blobs(samples: int, seed: int) -> Samples:
    """Images of 1 x 6 x 6 whose bright quarter is their class, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (samples,), generator=generator)
    inputs = 0.5 * torch.rand((samples, 1, 6, 6), generator=generator)
    for index, label in enumerate(labels.tolist()):
        top, left = 3 * (label // 2), 3 * (label % 2)
        inputs[index, :, top : top + 3, left : left + 3] += 0.25
    return Samples(inputs, labels)


def teacher_module() -> nn.Sequential:
    """Convolution, pooling, two linear layers; trained on the blobs."""
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.Hardtanh(0.0, 2.0),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 16),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )
    samples = blobs(400, seed=1)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(module(samples.inputs), samples.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


def make_world() -> World:
    """Everything up to the golden student."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        imported = from_torch(teacher_module(), (1, 6, 6))
    network, weights = imported
    targets = collect(network, weights, blobs(300, seed=2))
    test = collect(network, weights, blobs(400, seed=3), scales=targets.scales)
    training = Training(network, weights, targets, TrainingSettings(epochs=5))
    for _ in training.epochs():
        pass
    return World(network, weights, targets, test, training.student)


def chip(name: str, seed: int = 1) -> SimulatedChip:
    """A named chip."""
    return make_chip(f"{name}-{seed}", preset(name), seed)
