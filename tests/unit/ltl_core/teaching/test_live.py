"""Targets that are computed when they are taken."""

import torch

from ltl_core.teaching.live import LiveTargets, Teacher
from tests.blobs import World


def test_live_batches_are_those_that_would_be_stored(world: World) -> None:
    stored = world.targets
    live = LiveTargets(Teacher(world.network, world.weights, stored.scales), stored.samples)
    assert live.size == stored.size
    for mine, kept in zip(live.batches(64), stored.batches(64), strict=True):
        assert torch.equal(mine.inputs, kept.inputs)
        assert torch.equal(mine.expected, kept.expected)
        # A product of another batch size may round otherwise, and one code is 1 / 255.
        for name, rate in kept.rates.items():
            assert (mine.rates[name] - rate).abs().max() <= 1.01 / 255


def test_the_teacher_sees_the_augmented_inputs(world: World) -> None:
    teacher = Teacher(world.network, world.weights, world.targets.scales)
    dimmed = LiveTargets(teacher, world.targets.samples, lambda inputs: inputs / 2)
    plain = LiveTargets(teacher, world.targets.samples)
    index = torch.arange(32)
    assert torch.equal(dimmed.take(index).inputs, plain.take(index).inputs / 2)
    first = world.network.stages[0].name
    assert not torch.equal(dimmed.take(index).rates[first], plain.take(index).rates[first])
