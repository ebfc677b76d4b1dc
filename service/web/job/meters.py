"""What a job has spent, against its budgets."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from service.db.tables import Job
from service.formatting import amount, seconds
from service.web.job.rows import figure_of

_NAMES = {
    "samples": "Samples to learn from",
    "cell_writes_per_cell": "Writes a cell",
    "pulses": "Pulses",
    "seconds": "Time",
    "samples_measured": "Samples to measure",
    "cells": "Cells written",
}
_UNITS: Mapping[str, Callable[[float | None], str]] = {"seconds": seconds}


class Meter(NamedTuple):
    """An amount spent by a job, with its budget if it has one."""

    name: str
    text: str
    spent: float
    budget: float | None

    @property
    def is_over(self) -> bool:
        """Whether more was spent than the budget allows."""
        return self.budget is not None and self.spent > self.budget


def budget_of(job: Job) -> Mapping[str, float]:
    """Return the limits that the job was given; what has none is absent."""
    settings = job.request.get("settings") or {}
    budget: Mapping[str, Any] = settings.get("budget") or job.request.get("budget") or {}
    return {name: limit for name, limit in budget.items() if figure_of(limit) is not None}


def meters(job: Job) -> tuple[Meter, ...]:
    """Return what was spent, in one order for all jobs; what has a budget is there from 0 on."""
    spent, budget = job.spent or {}, budget_of(job)
    found = []
    for name, title in _NAMES.items():
        value, limit = figure_of(spent.get(name)), budget.get(name)
        if value is None and limit is None:
            continue
        write = _UNITS.get(name, amount)
        text = write(value or 0.0)
        text = text if limit is None else f"{text} of {write(limit)}"
        found.append(Meter(title, text, value or 0.0, limit))
    return tuple(found)
