"""The reports of a job's progress, as its page reads them: steps, phases, and the time left."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from service.db.tables import Event, Job
from service.states import ACTIVE
from service.web.job.rows import figure_of

BEFORE = "measuring before"
LEARNING = ("training", "calibrating")
_ENOUGH = 3  # reports of learning from which a pace can be told


class Step(NamedTuple):
    """One report of progress. What an earlier release did not report is empty."""

    at: datetime
    phase: str
    step: float
    steps: float
    samples: float  # presented to learn from so far
    seconds: float | None  # that all attempts took so far
    accuracy: float | None  # of the last batch or measurement
    rate_error: tuple[float, ...]
    rates: tuple[tuple[float, float], ...]  # measured and target, of each hidden layer
    stage: str
    settled_s: float

    @property
    def learns(self) -> bool:
        """Whether the step presented samples to learn from."""
        return self.phase in LEARNING


class PhaseItem(NamedTuple):
    """One phase of a job; `state` is done or now."""

    name: str
    state: str


def read_steps(events: Sequence[Event]) -> tuple[Step, ...]:
    """Read the reports, oldest first; one that holds no progress is left out."""
    return tuple(
        _step(event.created_at, progress, event.data.get("spent") or {})
        for event in events
        if isinstance(progress := event.data.get("progress"), Mapping)
    )


def phases(job: Job, steps: Sequence[Step]) -> tuple[PhaseItem, ...]:
    """List the phases: queued or waiting, those that the job reported, and its final status."""
    waiting = job.status.replace("_", " ") if job.started_at is None else "queued"
    seen = ["queued" if job.ended_at is not None else waiting]
    seen += [phase for phase in dict.fromkeys(step.phase for step in steps) if phase]
    if job.ended_at is not None:
        return tuple(PhaseItem(name, "done") for name in [*seen, job.status])
    items = [PhaseItem(name, "done") for name in seen[:-1]]
    return (*items, PhaseItem(_with_step(job, seen[-1]), "now"))


def accuracy_before(job: Job, steps: Sequence[Step]) -> float | None:
    """Return the accuracy that was measured before anything was learned, if it is known yet."""
    accuracy = (job.result or {}).get("accuracy")
    found = figure_of(accuracy.get("before")) if isinstance(accuracy, Mapping) else None
    if found is not None:
        return found
    return next((step.accuracy for step in steps if step.phase == BEFORE), None)


def learning_ends(job: Job, steps: Sequence[Step], budget_s: float | None) -> datetime | None:
    """Estimate when the last step of learning ends, at the pace so far.

    It may end earlier, when the target is met. None while no pace can be told, and once that time
    has come.
    """
    learned = [step for step in steps if step.learns]
    if job.status not in ACTIVE or len(learned) < _ENOUGH or steps[-1] is not learned[-1]:
        return None
    first, last = learned[0], learned[-1]
    done = last.step - first.step
    if done <= 0 or last.step >= last.steps:
        return None
    left = _took(first, last) / done * (last.steps - last.step)
    if budget_s is not None and last.seconds is not None:
        left = min(left, timedelta(seconds=max(0.0, budget_s - last.seconds)))
    return last.at + left


def _took(first: Step, last: Step) -> timedelta:
    """Return the time between two steps, without that in which no attempt was made."""
    if first.seconds is None or last.seconds is None:
        return last.at - first.at
    return timedelta(seconds=last.seconds - first.seconds)


def _with_step(job: Job, phase: str) -> str:
    progress = job.progress or {}
    step, steps = progress.get("step"), progress.get("steps")
    return f"{phase}, step {step} of {steps}" if steps and phase == progress.get("phase") else phase


def _step(at: datetime, progress: Mapping[str, Any], spent: Mapping[str, Any]) -> Step:
    rates = progress.get("rates") or ()
    return Step(
        at=at,
        phase=str(progress.get("phase") or ""),
        step=figure_of(progress.get("step")) or 0.0,
        steps=figure_of(progress.get("steps")) or 0.0,
        samples=figure_of(spent.get("samples")) or 0.0,
        seconds=figure_of(spent.get("seconds")),
        accuracy=figure_of(progress.get("accuracy")),
        rate_error=tuple(map(float, progress.get("rate_error") or ())),
        rates=tuple((float(measured), float(target)) for measured, target in rates),
        stage=str(progress.get("stage") or ""),
        settled_s=figure_of(progress.get("settled_s")) or 0.0,
    )
