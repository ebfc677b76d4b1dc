"""Progress of several jobs: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from service.client.jobs import Jobs
from service.formatting import loss_text, score_text
from service.schemas.jobs import JobView

POLL_INTERVAL = 0.3  # s between two requests for the state of the jobs


class Display(Protocol):
    """Shows the state of each job."""

    def show(self, name: str, job: JobView) -> None:
        """Show the state of one job under this name."""
        ...


def follow_all(jobs: Jobs, started: Mapping[str, JobView], console: Console) -> list[JobView]:
    """Show the progress of jobs until all have ended; return them as they ended, in order."""
    if not console.is_terminal:
        return _follow(jobs, started, _Lines(console))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        return _follow(jobs, started, _Bars(progress, list(started)))


def words_about(job: JobView) -> str:
    """Describe the state of a job in a few words."""
    progress = job.progress or {}
    if job.terminal:
        return _ending(job)
    if job.status != "running" or not progress:
        return job.status.replace("_", " ")
    steps = f" {progress['step']}/{progress['steps']}" if progress.get("steps") else ""
    return f"{progress.get('phase', '')}{steps}{_percent(progress.get('accuracy'))}"


def _follow(jobs: Jobs, started: Mapping[str, JobView], display: Display) -> list[JobView]:
    latest = dict(started)
    while True:
        for name, job in latest.items():
            if not job.terminal:
                latest[name] = jobs.get(job.id)
                display.show(name, latest[name])
        if all(job.terminal for job in latest.values()):
            return list(latest.values())
        time.sleep(POLL_INTERVAL)


class _Bars:
    def __init__(self, progress: Progress, names: list[str]) -> None:
        self._progress = progress
        width = max(map(len, names), default=0)
        self._tasks: dict[str, TaskID] = {
            name: progress.add_task(name.ljust(width), total=None, start=False, words="queued")
            for name in names
        }

    def show(self, name: str, job: JobView) -> None:
        task = self._tasks[name]
        progress = job.progress or {}
        if job.started_at is not None and not self._progress.tasks[task].started:
            self._progress.start_task(task)
        self._progress.update(
            task,
            completed=progress.get("step", 0),
            total=progress.get("steps"),
            words=words_about(job),
        )
        if job.terminal:
            self._progress.stop_task(task)


class _Lines:
    """Prints a line whenever a job enters another phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}

    def show(self, name: str, job: JobView) -> None:
        phase = (job.progress or {}).get("phase") if job.status == "running" else None
        stage = f"{job.status}:{phase}"
        if self._said.get(name) != stage:
            self._said[name] = stage
            self._console.print(f"{name}: {words_about(job)}", highlight=False, markup=False)


def _ending(job: JobView) -> str:
    result = job.result or {}
    accuracy = result.get("accuracy") or {}
    if job.status != "succeeded":
        return f"{job.status}: {job.reason or 'no reason was given'}"
    if job.kind == "probe":
        return _drift(result)
    if "before" in accuracy and "after" in accuracy:
        kept = ", not published" if result.get("published") is False else ""
        return f"{100 * accuracy['before']:.1f} % -> {100 * accuracy['after']:.1f} %{kept}"
    figure = accuracy.get("golden") or accuracy.get("now")
    return f"done{_percent(figure)}"


def _drift(result: Mapping[str, Any]) -> str:
    score = result.get("score")
    known = "not known: its weights have no fingerprint" if score is None else score_text(score)
    loss = loss_text(result.get("predicted_loss"))
    return f"{loss}, drift score {known}, health {result.get('health')}"


def _percent(share: object) -> str:
    return f", {100 * share:.1f} %" if isinstance(share, int | float) else ""
