"""Whole runs of a simulated chip, to be timed beside the ideal student in software.

The networks have lively random weights, so that every layer fires. A chip of the preset `pcm`, with
as many tiles as the network needs, records the counts of all hidden layers and the sums of the
readout, as a calibration asks for. The ideal student does its layerwise pass in codes, which gives
the same counts and logits of a perfect chip.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.learning_setup import lively
from benchmarks.models import VGG11, vgg
from benchmarks.tasks import small_network
from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from chip_sim.spec import tiles_needed
from ltl_core.chip import Observable
from ltl_core.interop.from_torch import from_torch
from ltl_core.network.layers import Shape
from ltl_core.settings import NeuronSettings
from ltl_core.student.forward import pack_student
from ltl_core.student.layerwise import layerwise_forward_packed
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples
from ltl_core.teaching.teacher import collect
from ltl_core.training.start import start_student

IDEAL, CHIP = "ideal student", "chip.run"
_SAMPLES = 32  # that set the ranges of the converters


class RunCase(NamedTuple):
    """One network, and how many samples a run presents."""

    name: str
    module: Callable[[], nn.Module]
    shape: Shape
    batches: tuple[int, ...]


def run_cases() -> tuple[RunCase, ...]:
    """Return the networks whose whole runs are timed."""
    return (
        RunCase("Fashion-MNIST network", lambda: small_network(side=7), (1, 28, 28), (4, 32)),
        RunCase("VGG-11", lambda: vgg(VGG11), (3, 32, 32), (4,)),
    )


def run_ways(case: RunCase) -> dict[int, dict[str, Callable[[], object]]]:
    """Return, for each number of samples, the ways to run the network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, teacher = from_torch(lively(case.module()), case.shape)
        inputs = torch.rand(max(_SAMPLES, *case.batches), *case.shape)
    targets = collect(network, teacher, Samples(inputs, None))
    student = start_student(network, teacher, targets, NeuronSettings())
    chip = _chip(student)
    return {
        batch: {IDEAL: _ideal(student, inputs[:batch]), CHIP: _run(chip, student, inputs[:batch])}
        for batch in case.batches
    }


def _chip(student: Student) -> SimulatedChip:
    """Make a chip that holds the student, a minute after it was written."""
    spec = preset("pcm")
    spec = spec.model_copy(update={"tiles": tiles_needed(student.network, spec)})
    chip = make_chip("pcm-1", spec, 1)
    chip.place(student.placement())
    for name, codes in student.codes.items():
        chip.program(name, codes.weight)
        chip.trim(name, codes.threshold, codes.bias)
    chip.settle(60.0)
    return chip


def _ideal(student: Student, inputs: Tensor) -> Callable[[], object]:
    packed = pack_student(student)
    return lambda: layerwise_forward_packed(student.network, packed, inputs, student.neuron)


def _run(chip: SimulatedChip, student: Student, inputs: Tensor) -> Callable[[], object]:
    record = {stage.name: Observable.COUNTS for stage in student.network.stages}
    record[student.network.stages[-1].name] = Observable.MEMBRANE
    return lambda: chip.run(student.stimulus(inputs), record)
