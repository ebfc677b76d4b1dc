"""Data of the job page: how far it is, whether it goes well, and why it ended."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.job_history import JobHistoryRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.overview import OverviewRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.tables import Job
from service.formatting import percent, short_id
from service.jobs.kinds.golden_accuracy import known_accuracy
from service.jobs.kinds.registry import JobKinds
from service.states import TERMINAL, WAITING, JobStatus
from service.web.job.log import (
    LOG_SHOWN,
    DriverFailure,
    LogLine,
    driver_failure,
    plain,
    read_log,
)
from service.web.job.meters import Meter, budget_of, meters
from service.web.job.plots import PlotGroup, Verified, plot_groups
from service.web.job.rows import JobRow, figure_of, job_row
from service.web.job.stages import StageRow, stage_rows
from service.web.job.steps import (
    PhaseItem,
    Step,
    accuracy_before,
    learning_ends,
    phases,
    read_steps,
)
from service.web.job.waiting import Wait, waits
from service.web.plots.recovery import Recovery, axis_of, recovery_of

_STEPS_SHOWN = 320


class Links(NamedTuple):
    """The names of what a job is about, and where their pages are; None where there is none."""

    chip: str | None
    teacher: str | None
    teacher_id: str | None
    student_id: str | None
    version: int | None  # that the job published
    version_before: int | None  # that was in force when it started
    running: JobRow | None  # the job that drives the chip while this one waits


class Fact(NamedTuple):
    """A line of what is known of a job; `job_id` is the job that its text names."""

    name: str
    text: str
    job_id: str | None = None


class LayerErrors(NamedTuple):
    """Rate error of one hidden layer, root mean square."""

    number: int
    before: float
    after: float


class JobPage(NamedTuple):
    """All data of the job page."""

    job: JobRow
    headline: str
    verdict: str  # why it came out so; empty before its end
    driver: DriverFailure | None
    wait: Wait | None
    phases: tuple[PhaseItem, ...]
    learning_ends: datetime | None
    meters: tuple[Meter, ...]
    links: Links
    facts: tuple[Fact, ...]
    plots: tuple[PlotGroup, ...]
    recovery: Recovery | None
    stages: tuple[StageRow, ...]
    layers: tuple[LayerErrors, ...]
    log: tuple[LogLine, ...]
    cancellable: bool
    retryable: bool


def read_job(
    session: Session, job_id: str, kinds: JobKinds, silence: timedelta, now: datetime
) -> JobPage:
    """Read the data of the job page. Raises JobNotFoundError.

    `silence` is how long a living worker may be without a heartbeat.
    """
    job = JobRepository(session).get(job_id)
    history = JobHistoryRepository(session)
    links = _links(session, job, kinds, now)
    names = {job.chip_id: links.chip} if job.chip_id and links.chip else {}
    steps = read_steps(history.progress(job.id, _STEPS_SHOWN))
    row = job_row(job, links.chip or "", kinds, now)
    driver, result = driver_failure(job, names), job.result or {}
    budget = budget_of(job)
    return JobPage(
        job=row,
        headline=_headline(kinds[job.kind].noun, row),
        verdict=_verdict(job, kinds, driver, names),
        driver=driver,
        wait=waits(session, [job], silence, now).get(job.id) if job.status in WAITING else None,
        phases=phases(job, steps),
        learning_ends=learning_ends(job, steps, budget.get("seconds")),
        meters=meters(job),
        links=links,
        facts=_facts(job, kinds, names),
        plots=plot_groups(steps, _verified(session, job, steps), budget.get("samples")),
        recovery=_recovery(job.id, result),
        stages=stage_rows(result),
        layers=_layers(result),
        log=read_log(history.log(job.id, LOG_SHOWN), names),
        cancellable=not row.terminal and job.status != JobStatus.CANCELLING,
        retryable=row.terminal and kinds[job.kind].accepted,
    )


def _headline(noun: str, row: JobRow) -> str:
    """Say what the job is and how it stands; once it has succeeded, what came of it."""
    what = noun + (f" of {row.chip}" if row.chip else "")
    status = row.status.replace("_", " ")
    if row.status != JobStatus.SUCCEEDED:
        return f"{what}: {status}."
    return f"{what}: {row.outcome or (percent(row.accuracy) if row.accuracy else status)}."


def _verdict(
    job: Job, kinds: JobKinds, driver: DriverFailure | None, names: Mapping[str, str]
) -> str:
    """Say in a sentence why a job ended as it did."""
    if job.status not in TERMINAL:
        return ""
    if job.status == JobStatus.SUCCEEDED:
        return kinds[job.kind].verdict(job.result or {})
    if driver is not None:
        return f"The driver '{driver.driver}' of the chip failed, not Tandemcal: {driver.error}."
    reason = plain((job.reason or "").rstrip("."), names)
    return f"{job.status.capitalize()}: {reason}." if reason else ""


def _links(session: Session, job: Job, kinds: JobKinds, now: datetime) -> Links:
    overview = OverviewRepository(session)
    chip = overview.chip_names([job.chip_id]).get(job.chip_id) if job.chip_id else None
    running = overview.running_jobs([job.chip_id]).get(job.chip_id) if job.chip_id else None
    shown = running if running is not None and job.status in WAITING else None
    teacher = None
    with going_on():
        teacher = TeacherRepository(session).get(job.teacher_id).name if job.teacher_id else None
    version = (job.result or {}).get("weights_version")
    return Links(
        chip=chip,
        teacher=teacher,
        teacher_id=job.teacher_id,
        student_id=job.student_id or (job.result or {}).get("student_id"),
        version=version if isinstance(version, int) else None,
        version_before=job.weights_in_force,
        running=None if shown is None else job_row(shown, chip or "", kinds, now),
    )


def _facts(job: Job, kinds: JobKinds, names: Mapping[str, str]) -> tuple[Fact, ...]:
    settings = job.request.get("settings") or {}
    shown = ("method", "rule", "observable", "seed")
    facts = [Fact(name.capitalize(), str(settings[name])) for name in shown if name in settings]
    facts += [_fact(name, text, names) for name, text in kinds[job.kind].facts(job)]
    if job.attempt > 1:
        facts.append(Fact("Attempt", str(job.attempt)))
    return tuple(facts)


def _fact(name: str, text: str, names: Mapping[str, str]) -> Fact:
    """Make a fact; one that names another job leads to it."""
    word, _, job_id = text.partition(" ")
    if word == "job" and len(job_id) == 36:
        return Fact(name, f"job {short_id(job_id)}", job_id)
    return Fact(name, plain(text, names))


def _verified(session: Session, job: Job, steps: tuple[Step, ...]) -> Verified:
    """Return the accuracies on test samples; the golden student's is known from the start."""
    accuracy: Any = (job.result or {}).get("accuracy")
    found = accuracy if isinstance(accuracy, Mapping) else {}
    golden, after = figure_of(found.get("golden")), figure_of(found.get("after"))
    if golden is None and job.kind == "calibrate":
        with going_on():
            golden = _known_golden(session, job)
    return Verified(golden, accuracy_before(job, steps), after)


def _known_golden(session: Session, job: Job) -> float:
    student = StudentRepository(session).get(str(job.student_id))
    targets = TargetSetRepository(session).get(student.target_set_id)
    settings = job.request.get("settings") or {}
    return known_accuracy(student, targets, settings.get("test_samples"))


def _recovery(job_id: str, result: Mapping[str, Any]) -> Recovery | None:
    """Return the accuracies before and after, on an axis of their range."""
    found = recovery_of(job_id, result)
    return None if found is None else found._replace(axis=axis_of([found]))


def _layers(result: Mapping[str, Any]) -> tuple[LayerErrors, ...]:
    errors = result.get("rate_error")
    if not isinstance(errors, Mapping):
        return ()
    pairs = zip(errors.get("before", ()), errors.get("after", ()), strict=False)
    return tuple(LayerErrors(n, before, after) for n, (before, after) in enumerate(pairs, start=1))
