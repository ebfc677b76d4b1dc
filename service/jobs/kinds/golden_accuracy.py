"""Accuracy of a golden student on the samples that its chips are measured on, found once.

A student's row keeps what the first job found. The key names the student's block, the block of the
test samples, and how many of them are used, so that a change of any of them is measured again.
"""

from typing import TYPE_CHECKING

from service.db.tables import Student as StudentRow
from service.db.tables import TargetSet
from service.jobs.kinds.context import JobContext
from service.jobs.messages import Json
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

    described = context.description
    test_sha256 = described.targets[Split.TEST]
    key = _key(described.student_sha256, test_sha256, settings.test_samples)
    known = (context.description.extra.get(KEPT) or {}).get(key)
    if known is None:
        test = tested(read_targets(Split.TEST, context), settings)
        known = student_quality(student, test).accuracy
    return {key: known}


def known_accuracy(student: StudentRow, targets: TargetSet, test_samples: int | None) -> float:
    """Return what is known of a golden student before a calibration ends, without measuring it.

    That is its accuracy on the samples of the calibration, if an earlier one has found it; else
    its accuracy when it was trained, on all test samples. Raises KeyError if its row has neither.
    """
    blocks = (targets.summary or {}).get("blocks") or {}
    key = _key(student.sha256, str(blocks.get(Split.TEST)), test_samples)
    found = (student.golden_accuracy or {}).get(key)
    return float(student.accuracy["golden"] if found is None else found)


def _key(student_sha256: str | None, test_sha256: str, test_samples: int | None) -> str:
    count = "all" if test_samples is None else test_samples
    return f"{student_sha256}:{test_sha256}:{count}"
