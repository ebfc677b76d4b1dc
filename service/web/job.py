"""Data of the job page: progress, plots, resources spent, result and log."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.overview import OverviewRepository
from service.db.tables import Event, Job
from service.formatting import amount, percent, seconds
from service.jobs.kinds.registry import JobKinds
from service.states import JobStatus
from service.web.chart import Curve, Plot, Point, draw
from service.web.job_rows import JobRow, job_row
from service.web.recovery import Recovery, recovery_of
from service.web.stages import StageRow, stage_rows

_UNITS = {"samples": amount, "seconds": seconds}
_NAMES = {
    "samples": "Samples",
    "seconds": "Time",
    "cell_writes_per_cell": "Writes a cell",
    "samples_measured": "Samples to measure",
    "cells": "Cells written",
    "pulses": "Pulses",
}
_LEARNING = ("training", "calibrating")
_EVENTS_SHOWN = 5000
_LOG_SHOWN = 200


class PhaseItem(NamedTuple):
    """One phase of a job; `state` is done or now."""

    name: str
    state: str


class Meter(NamedTuple):
    """An amount spent by a job, with its budget if it has one."""

    name: str
    text: str
    spent: float
    budget: float | None


class LogLine(NamedTuple):
    """A line of the log."""

    time: datetime
    text: str


class LayerErrors(NamedTuple):
    """Rate error of one hidden layer, root mean square."""

    number: int
    before: float
    after: float


class JobPage(NamedTuple):
    """All data of the job page."""

    job: JobRow
    sentence: str
    phases: tuple[PhaseItem, ...]
    meters: tuple[Meter, ...]
    facts: tuple[tuple[str, str], ...]
    plots: tuple[Plot, ...]
    recovery: Recovery | None
    stages: tuple[StageRow, ...]
    layers: tuple[LayerErrors, ...]
    log: tuple[LogLine, ...]
    cancellable: bool


def read_job(session: Session, job_id: str, kinds: JobKinds, now: datetime) -> JobPage:
    """Read the data of the job page. Raises JobNotFoundError."""
    job = JobRepository(session).get(job_id)
    names = OverviewRepository(session).chip_names([job.chip_id] if job.chip_id else [])
    events = EventRepository(session).after(0, job_id=job.id, limit=_EVENTS_SHOWN)
    row = job_row(job, names.get(job.chip_id or "", ""), kinds, now)
    recovery = recovery_of(job.id, job.result)
    return JobPage(
        job=row,
        sentence=_sentence(kinds[job.kind].noun, row),
        phases=_phases(job, events),
        meters=_meters(job),
        facts=_facts(job, kinds),
        plots=_plots(events, recovery),
        recovery=recovery,
        stages=stage_rows(job.result or {}),
        layers=_layers(job.result or {}),
        log=_log(events),
        cancellable=not row.terminal and job.status != JobStatus.CANCELLING,
    )


def _sentence(noun: str, row: JobRow) -> str:
    """Build the headline: the status of a job, and its result once it has ended."""
    what = noun + (f" of {row.chip}" if row.chip else "")
    status = row.status.replace("_", " ")
    if row.status != JobStatus.SUCCEEDED:
        return f"{what} {status}: {row.outcome}." if row.outcome else f"{what} {status}."
    result = row.outcome or (f"{percent(row.accuracy)} right" if row.accuracy else status)
    return f"{what}: {result}."


def _phases(job: Job, events: Sequence[Event]) -> tuple[PhaseItem, ...]:
    """List the phases: queued, those that the job reported, and its final status."""
    seen = ["queued"]
    for event in events:
        phase = _progress(event).get("phase")
        if phase and phase not in seen:
            seen.append(str(phase))
    if job.ended_at is not None:
        return tuple(PhaseItem(name, "done") for name in [*seen, job.status])
    names = [_with_step(job, name) if name == seen[-1] else name for name in seen]
    return tuple(PhaseItem(name, "done" if name != names[-1] else "now") for name in names)


def _with_step(job: Job, phase: str) -> str:
    progress = job.progress or {}
    step, steps = progress.get("step"), progress.get("steps")
    return f"{phase}, step {step} of {steps}" if steps else phase


def _meters(job: Job) -> tuple[Meter, ...]:
    spent = job.spent or {}
    budget = (job.request.get("settings") or {}).get("budget") or job.request.get("budget") or {}
    meters = []
    for name, value in spent.items():
        if isinstance(value, int | float):
            write = _UNITS.get(name, amount)
            limit = budget.get(name)
            text = f"{write(value)} of {write(limit)}" if limit else write(value)
            meters.append(Meter(_NAMES.get(name, name.replace("_", " ")), text, value, limit))
    return tuple(meters)


def _facts(job: Job, kinds: JobKinds) -> tuple[tuple[str, str], ...]:
    settings = job.request.get("settings") or {}
    shown = ("method", "rule", "observable", "seed")
    facts = [(name.capitalize(), str(settings[name])) for name in shown if name in settings]
    facts += kinds[job.kind].facts(job)
    if job.attempt > 1:
        facts.append(("Attempt", str(job.attempt)))
    if ended_by := (job.result or {}).get("ended_by"):
        facts.append(("Ended by", str(ended_by).replace("_", " ")))
    return tuple(facts)


def _plots(events: Sequence[Event], recovery: Recovery | None) -> tuple[Plot, ...]:
    """Lay out the plots of accuracy and of each layer's rate error, over the same steps."""
    steps = [p for event in events if (p := _progress(event)).get("phase") in _LEARNING]
    golden = (recovery.golden, f"golden {percent(recovery.golden)}") if recovery else None
    curves = [
        Curve(
            "Accuracy of each batch",
            _points(steps, lambda p: p.get("accuracy")),
            percent,
            0.02,
            golden,
        ),
        *_rate_curves(steps),
    ]
    drawn = [curve for curve in curves if len(curve.points) > 1]
    if not drawn:
        return ()
    ends = [x for curve in drawn for x, _ in curve.points]
    return tuple(draw(curve, (min(ends), max(ends))) for curve in drawn)


def _rate_curves(steps: Sequence[Mapping[str, Any]]) -> list[Curve]:
    counts = [len(_rates(progress)) for progress in steps]
    return [_rate_curve(steps, layer) for layer in range(max(counts, default=0))]


def _rate_curve(steps: Sequence[Mapping[str, Any]], layer: int) -> Curve:
    def figure(progress: Mapping[str, Any]) -> Any:
        rates = _rates(progress)
        return rates[layer] if layer < len(rates) else None

    title = f"Rate error, layer {layer + 1}"
    return Curve(title, _points(steps, figure), lambda value: f"{value:.4f}", 0.001)


def _rates(progress: Mapping[str, Any]) -> list[float]:
    return list(progress.get("rate_error") or ())


def _points(
    steps: Sequence[Mapping[str, Any]], figure: Callable[[Mapping[str, Any]], Any]
) -> list[Point]:
    found = ((float(p["step"]), figure(p)) for p in steps)
    return [(x, float(y)) for x, y in found if isinstance(y, int | float)]


def _layers(result: Mapping[str, Any]) -> tuple[LayerErrors, ...]:
    errors = result.get("rate_error")
    if not isinstance(errors, Mapping):
        return ()
    pairs = zip(errors.get("before", ()), errors.get("after", ()), strict=False)
    return tuple(LayerErrors(n, before, after) for n, (before, after) in enumerate(pairs, start=1))


def _log(events: Sequence[Event]) -> tuple[LogLine, ...]:
    """Return log lines and events, without the progress steps, which the plots show."""
    logged = [event for event in events if event.type != "job.progress"]
    return tuple(LogLine(event.created_at, _line(event)) for event in logged[-_LOG_SHOWN:])


def _line(event: Event) -> str:
    if event.type == "job.log":
        return str(event.data.get("line", ""))
    plain = {name: value for name, value in event.data.items() if isinstance(value, str | int)}
    words = [f"{name} {value}" for name, value in plain.items() if name != "sha256"]
    return f"{event.type.replace('.', ' ')}: {', '.join(words)}" if words else event.type


def _progress(event: Event) -> Mapping[str, Any]:
    progress = event.data.get("progress") if event.type == "job.progress" else None
    return progress if isinstance(progress, Mapping) else {}
