"""Accuracy of a golden student on the samples that its chips are measured on, found once.

A student's row keeps what the first job found. The key names the student's block, the block of the
test samples, and how many of them are used, so that a change of any of them is measured again.
"""

from typing import TYPE_CHECKING

from service.jobs.kinds.context import JobContext
from service.jobs.messages import JobDescription, Json
from service.states import Split

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.settings import CalibrationSettings
    from ltl_core.student.student import Student

KEPT = "golden_accuracy"  # in what a child is given, and in what it answers


def golden_accuracy(
    context: JobContext, student: "Student", settings: "CalibrationSettings"
) -> Json:
    """Return the accuracy as one entry by its key; it is measured if the row does not hold it.

    Raises SettingError if the test samples have neither labels nor the teacher's logits.
    """
    from ltl_core.calibration.samples import tested
    from ltl_core.student.evaluate import student_quality
    from service.jobs.kinds.targets import read_targets

    key = _key(context.description, settings)
    known = (context.description.extra.get(KEPT) or {}).get(key)
    if known is None:
        test = tested(read_targets(Split.TEST, context), settings)
        known = student_quality(student, test).accuracy
    return {key: known}


def _key(description: JobDescription, settings: "CalibrationSettings") -> str:
    count = "all" if settings.test_samples is None else settings.test_samples
    return f"{description.student_sha256}:{description.targets[Split.TEST]}:{count}"
