"""Samples of four classes, their teacher and its golden student, for tests of the core."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import unpack
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import collect

CLASSES, SIDE = 4, 6
TEACHER = Path(__file__).parent / "data" / "blobs-teacher.safetensors"
STUDENT = Path(__file__).parent / "data" / "blobs-student.safetensors"


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
    inputs = 0.5 * torch.rand((samples, 1, SIDE, SIDE), generator=generator)
    for index, label in enumerate(labels.tolist()):
        top, left = 3 * (label // 2), 3 * (label % 2)
        inputs[index, :, top : top + 3, left : left + 3] += 0.25
    return Samples(inputs, labels)


def collected(network: NetworkSpec, weights: dict[str, Tensor]) -> tuple[TargetSet, TargetSet]:
    """Targets of samples to learn from and of samples to test with."""
    targets = collect(network, weights, blobs(300, seed=2))
    return targets, collect(network, weights, blobs(400, seed=3), scales=targets.scales)


def load_world() -> World:
    """Teacher and student come from files: nothing is trained."""
    weights, about = unpack(TEACHER.read_bytes())
    network = NetworkSpec.model_validate_json(about["network"])
    student = Student.from_block(STUDENT.read_bytes())
    return World(network, weights, *collected(network, weights), student)


def chip(name: str, seed: int = 1) -> SimulatedChip:
    """A named chip."""
    return make_chip(f"{name}-{seed}", preset(name), seed)
