"""Evaluation: measure a chip as it is."""

from typing import TYPE_CHECKING, Literal

from ltl_core.progress import Phase, Progress
from service.jobs.health import health_by_accuracy
from service.jobs.kinds.chip_and_student import admit_on_chip, student_inputs
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.needed_memory import measuring_memory
from service.jobs.kinds.spec import CHIP_SESSION, TARGETS, JobKindSpec, ResultStore
from service.jobs.messages import Ended, Json
from service.schemas.base import IdOrName
from service.schemas.jobs import ChipSubmission
from service.states import JobStatus, Split

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.student.evaluate import Quality
    from service.jobs.kinds.chip_session import JobChipSession


class EvaluateRequest(ChipSubmission):
    """Measure a chip with the weights in force, or with the student's own if it has none."""

    kind: Literal["evaluate"]
    student_id: IdOrName


def evaluate(context: JobContext) -> Ended:
    """Measure the chip with the codes in force, or with the student's own if it has none."""
    from service.jobs.kinds.chip_session import JobChipSession
    from service.jobs.kinds.targets import read_targets

    chip = JobChipSession(context)
    session = chip.prepared()
    chip.report(Progress(Phase.PLACING, 0, 1))
    if context.link.cancelled():
        raise chip.cancelled()
    quality = session.measure(read_targets(Split.TEST, context))
    chip.report(Progress(Phase.AFTER, 1, 1, quality.accuracy, quality.rate_error, session.spent))
    return _measured(chip, quality)


def store(to: ResultStore, ended: Ended) -> Json:
    """Record the accuracy of the chip, and what it lost beside what was predicted."""
    result = ended.result or {}
    accuracy = float(result["accuracy"]["now"])
    to.record_accuracy(accuracy, result)
    to.record_loss(accuracy)
    return result


def _measured(chip: "JobChipSession", quality: "Quality") -> Ended:
    accuracy = chip.golden(quality.accuracy) | {"now": quality.accuracy}
    return Ended(
        status=JobStatus.SUCCEEDED,
        result={
            "accuracy": accuracy,
            "rate_error": list(quality.rate_error),
            "health": health_by_accuracy(quality.accuracy, accuracy["golden"]),
            "chip_time_s": chip.backend.now(),
            "passes": chip.passes,
        },
        chip_state_sha256=chip.saved_chip(),
    )


KIND = JobKindSpec(
    name="evaluate",
    noun="Evaluation",
    request=EvaluateRequest,
    needs_chip=True,
    admit=admit_on_chip,
    work=evaluate,
    loads=(CHIP_SESSION, TARGETS),
    inputs=student_inputs,
    store=store,
    memory=measuring_memory,
)
