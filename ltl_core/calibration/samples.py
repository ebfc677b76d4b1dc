"""The samples of a calibration: those to learn from, those to verify with, and a test set."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ltl_core.calibration.stimuli.synthetic import synthetic_inputs
from ltl_core.errors import SettingError
from ltl_core.settings import CalibrationSettings, Data, TargetSource
from ltl_core.spiking.inputs import are_sequences
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet, evenly_spaced_indices

_ACCEPTANCE_LEAST = 30  # samples of the lab that tell how much accuracy a chip lacks
_SYNTHETIC = 500  # different stimuli to learn from

_Maker = Callable[[int, int], Tensor]  # from the number of stimuli and a seed


class CalibrationSamples(NamedTuple):
    """Samples with their targets, by what a calibration uses them for."""

    learn: TargetSet
    verification: TargetSet  # of the golden student; never learned
    acceptance: TargetSet  # of the golden student, to tell whether the target is met
    distinct: int  # different samples of the lab that are used, verification included


def chosen_samples(
    student: Student, lab: TargetSet | None, test: Samples, settings: CalibrationSettings
) -> CalibrationSamples:
    """Choose the samples of a calibration; `test` is what the chip is measured on.

    Raises SettingError if the settings need samples that are not there.
    """
    if not settings.learns:
        return drift_samples(student, test, settings)
    sequences = are_sequences(student.network, test.inputs)
    return calibration_samples(student, lab, settings, are_sequences=sequences)


def calibration_samples(
    student: Student,
    lab: TargetSet | None,
    settings: CalibrationSettings,
    *,
    are_sequences: bool = False,
) -> CalibrationSamples:
    """Choose samples of the lab, make synthetic ones, and find their targets.

    `are_sequences` tells whether a sample is a sequence of frames, not one still input.

    Verification takes its share of the lab's samples, and synthetic ones beside them until there
    are `verification_samples`. Raises SettingError if the settings need samples that are not there.
    """
    make = partial(synthetic_inputs, student, are_sequences=are_sequences)
    chosen = _chosen(lab, settings)
    learn, held_out = _split(chosen, settings) if chosen is not None else (None, None)
    count = settings.verification_samples - (held_out.size if held_out is not None else 0)
    verified = [] if held_out is None else [held_out.samples.inputs]
    if count > 0:
        verified.append(make(count, _seed(settings, "verification"), as_certain=True))
    verification = golden_targets(student, Samples(torch.cat(verified), None))
    # Samples that are all of the lab, and never learned, are better than some that are learned.
    accepted = _acceptance(student, chosen, settings) if chosen is not None and count > 0 else None
    acceptance = verification if accepted is None else accepted
    distinct = 0 if chosen is None else chosen.size
    learned = _targets(student, learn, settings, make)
    return CalibrationSamples(learned, verification, acceptance, distinct)


def drift_samples(
    student: Student, test: Samples, settings: CalibrationSettings
) -> CalibrationSamples:
    """Choose samples of the test to judge a chip by of which drift alone is compensated.

    Nothing is learned from any sample, so that the chip is measured and judged on the same ones.
    """
    judged = golden_targets(student, Samples(test.inputs[: settings.verification_samples], None))
    return CalibrationSamples(judged, judged, judged, distinct=0)


def _acceptance(
    student: Student, chosen: TargetSet, settings: CalibrationSettings
) -> TargetSet | None:
    """Return samples of the lab for the question whether the target is met; None if too few.

    The golden student hesitates more on synthetic stimuli, where the predicted loss is up to
    three times as large. So samples of the lab serve, although most of them are learned from; one
    standard error is kept to spare.
    """
    if chosen.size < _ACCEPTANCE_LEAST:
        return None
    index = evenly_spaced_indices(chosen.size, settings.verification_samples)
    return golden_targets(student, Samples(chosen.samples.inputs[index], None))


def _chosen(lab: TargetSet | None, settings: CalibrationSettings) -> TargetSet | None:
    """Return as many samples of the lab as the budget allows, or None if none are wanted."""
    if settings.data is Data.SYNTHETIC:
        return None
    if lab is None:
        raise SettingError(
            "There are no samples to learn from: upload some, or ask for data 'synthetic'."
        )
    # More samples than are presented would only be computed.
    limits = [n for n in (settings.budget.distinct, settings.budget.samples) if n is not None]
    limit = max(2, min([lab.size, *limits]))
    if limit >= lab.size:
        return lab
    generator = torch.Generator().manual_seed(settings.seed)
    return lab.subset(torch.randperm(lab.size, generator=generator, device="cpu")[:limit])


def _split(chosen: TargetSet, settings: CalibrationSettings) -> tuple[TargetSet, TargetSet]:
    """Split samples at random into those to learn from and those to verify with."""
    kept = min(settings.verification_samples, round(settings.verification_share * chosen.size))
    kept = max(1, kept)
    if kept >= chosen.size:
        raise SettingError(
            f"{chosen.size} samples are too few to keep {kept} of them for verifying; upload more."
        )
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(chosen.size, generator=generator, device="cpu")
    return chosen.subset(order[kept:]), chosen.subset(order[:kept])


def _targets(
    student: Student, learn: TargetSet | None, settings: CalibrationSettings, make: _Maker
) -> TargetSet:
    """Return the targets of the samples to learn from, from the source that was asked for.

    `make` returns so many synthetic samples of a seed.
    """
    if settings.targets is not TargetSource.GOLDEN:
        if learn is None or settings.data is not Data.LAB:
            raise SettingError(
                f"Targets '{settings.targets}' belong to samples of the lab: ask for data 'lab', "
                "or for targets 'golden'."
            )
        return learn if settings.targets is TargetSource.LABELS else _without_labels(learn)
    lab = None if learn is None else learn.samples.inputs
    if settings.data is Data.LAB and lab is not None:
        return golden_targets(student, Samples(lab, None))
    made = make(_SYNTHETIC, _seed(settings, "learning"))
    if lab is None:
        return golden_targets(student, Samples(made, None))
    both = golden_targets(student, Samples(torch.cat((lab, made)), None))
    return both.subset(_in_equal_parts(len(lab), len(made)))


def _in_equal_parts(first: int, second: int) -> Int[Tensor, " sample"]:
    """Return indices of two sets, one behind the other, with the smaller one repeated.

    So a few samples of the lab are presented as often as all the synthetic ones.
    """
    larger = max(first, second)
    repeats = (torch.arange(larger) % first, first + torch.arange(larger) % second)
    return torch.cat(repeats)


def _without_labels(targets: TargetSet) -> TargetSet:
    return targets._replace(samples=targets.samples._replace(labels=None))


def tested(test: TargetSet, settings: CalibrationSettings) -> TargetSet:
    """Return the samples on which the accuracy is measured, evenly spaced."""
    if settings.test_samples is None or settings.test_samples >= test.size:
        return test
    return test.subset(evenly_spaced_indices(test.size, settings.test_samples))


def _seed(settings: CalibrationSettings, use: str) -> int:
    """Return a seed for synthetic samples, so that none is both learned and verified with."""
    return 2 * settings.seed + (use == "verification")
