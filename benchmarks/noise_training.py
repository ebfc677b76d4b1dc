"""A student trained under the non-idealities of a kind of chip, and calibrated to none.

Each batch runs on another chip of the kind, made anew, with the student's codes of that moment. The
online rule of LTL moves latent weights by what was measured there: the teacher's rates, and labels
for the readout, as in a training in software. What the student learns is what all chips of the
kind have in common.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.observe import MeasuredGradients, observed_layers
from ltl_core.chip import Observable
from ltl_core.rules.select import select_rule
from ltl_core.settings import Readout, RuleName
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch, Targets
from ltl_core.training.latent_weights import LatentWeights, LearningRates
from ltl_core.training.start import set_ranges


class Lesson(NamedTuple):
    """How long such a student is trained, from the golden student on."""

    steps: int = 100
    batch: int = 64
    learning_rate: float = 1e-3  # in units of the weights; falls to zero


def noise_trained(
    student: Student,
    targets: Targets,
    chip_of: Callable[[int], SimulatedChip],
    lesson: Lesson,
    seed: int,
) -> Student:
    """Train the golden student on; `chip_of` makes the chip of each step.

    `targets` are the teacher's rates with labels. Raises SettingError if labels are missing.
    """
    rate = lesson.learning_rate
    latent = LatentWeights(student, LearningRates(rate, rate, 0.0))
    generator = torch.Generator().manual_seed(seed)
    for step in range(lesson.steps):
        index = torch.randint(targets.size, (lesson.batch,), generator=generator)
        latent.scale_learning_rates(1 - step / lesson.steps)
        current = student.with_codes(latent.update_codes())
        _learn(latent, current, targets.take(index), chip_of(step))
    return set_ranges(student.with_codes(latent.codes), targets)


def _learn(latent: LatentWeights, student: Student, batch: Batch, chip: SimulatedChip) -> None:
    session = ChipSession(chip, student)
    session.place()
    session.write(student.codes, free=True)
    rule = select_rule(RuleName.LTL_ONLINE)
    gradients = MeasuredGradients(student, batch, rule, Observable.WINDOW, Readout.LABELS)
    recordings = session.present(batch, Observable.WINDOW)
    for layer in observed_layers(student, batch, recordings):
        for name, gradient in gradients.of(layer).items():
            latent.set_gradient(name, gradient)
    latent.step()
