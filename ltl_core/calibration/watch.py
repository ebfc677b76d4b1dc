"""Watching a chip without labels: a few samples of the lab, presented again and again."""

from functools import partial
from typing import NamedTuple

from ltl_core.calibration.judge import Judge
from ltl_core.calibration.prediction import Observation
from ltl_core.chip import ChipBackend
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import chip_logits
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet, evenly_spaced_indices

_SAMPLES = 128


class WatchedSamples(NamedTuple):
    """Samples with the golden student's answers, always the same of one test set."""

    targets: TargetSet
    are_values: bool  # whether the outputs are values, not classes


def watched_samples(student: Student, test: TargetSet) -> WatchedSamples:
    """Choose up to 128 samples of a test set, evenly spaced; their labels are left out.

    Raises LayerShapeError if they are not inputs of the student's network.
    """
    labels = test.samples.labels
    chosen = evenly_spaced_indices(test.size, min(_SAMPLES, test.size))
    targets = golden_targets(student, Samples(test.samples.inputs[chosen], None))
    return WatchedSamples(targets, labels is not None and labels.is_floating_point())


def are_watched(settings: CalibrationSettings) -> bool:
    """Tell whether a calibration judges its chip by the samples on which it is watched."""
    measured = (settings.test_samples, settings.verification_samples)
    return not settings.learns and measured == (_SAMPLES, _SAMPLES)


def observe_loss(chip: ChipBackend, student: Student, watched: WatchedSamples) -> Observation:
    """Observe how far a chip that holds the student is behind the golden one, in points.

    Raises what the chip raises.
    """
    answers = partial(chip_logits, chip, student)
    return Judge(watched.targets, answers, are_values=watched.are_values).judge().observation()
