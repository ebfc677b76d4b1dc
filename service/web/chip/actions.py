"""What can be done with a chip, what each action costs, and the request that it makes."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from ltl_core.settings import Budget
from service.db.repositories.chip_history import JobCost
from service.formatting import amount, plural, seconds

_LAST = 5  # jobs of a kind of which the median is shown
_BUDGET = Budget()
_FIELDS = ("samples", "cell_writes_per_cell", "pulses", "seconds")  # of the budget, and of the form
_WITHOUT_BUDGET = {
    "samples": "none",
    "cell_writes_per_cell": "none, or 1 if other codes stand on the chip",
    "pulses": "those of these writes",
    "seconds": "no limit",
}


class Action(NamedTuple):
    """One thing that can be done with a chip."""

    name: str  # of its address and, but for retiring, of the kind of job
    button: str
    question: str  # "Calibrate", followed by the name of the chip
    effect: str
    needs_version: bool = False  # in force on the chip
    has_budget: bool = False
    takes_student: bool = False
    is_final: bool = False  # it cannot be undone


class CostRow(NamedTuple):
    """What one resource costs: the limit, and what the last jobs took."""

    name: str
    limit: str
    last: str
    field: str = ""  # of the form, in which the limit can be changed
    unit: str = ""


ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action(
            "calibrate",
            "Calibrate…",
            "Calibrate",
            "The chip is measured, corrected layer by layer until it does what the golden student "
            "does, and measured again. Codes that are better become its next version; otherwise "
            "the codes of before are put back.",
            has_budget=True,
            takes_student=True,
        ),
        Action(
            "tune",
            "Tune…",
            "Tune the circuits of",
            "The registers of converters and neurons are searched until the circuits are alike. "
            "Weights stay as they are; no cell wears but for codes that do not stand on the chip.",
            takes_student=True,
        ),
        Action(
            "probe",
            "Probe…",
            "Probe",
            "The chip answers its fixed stimulus, which tells how far it has drifted since "
            "its weights were published. No cell is written but for codes that do not stand on it.",
            needs_version=True,
        ),
        Action(
            "retire",
            "Retire…",
            "Retire",
            "The chip takes no more jobs, its waiting jobs are cancelled, and its policy stops. "
            "A job that runs ends as it would. Its history stays. This cannot be undone.",
            is_final=True,
        ),
    )
}


def cost_rows(action: Action, costs: Sequence[JobCost]) -> tuple[CostRow, ...]:
    """Return what an action costs at most, and what the chip's last jobs of the kind took."""
    if action.is_final:
        return ()
    done = [cost for cost in costs if cost.kind == action.name and cost.succeeded][:_LAST]

    def usual(name: str) -> float | None:
        found = [cost.spent.get(name) for cost in done]
        figures = [one for one in found if isinstance(one, int | float)]
        if not figures:
            return None
        is_count = all(one == int(one) for one in figures)
        return round(median(figures)) if is_count else median(figures)

    took = [cost.seconds for cost in done if cost.seconds is not None]
    return (
        _row(action, "Samples to learn from", "samples", amount(usual("samples"))),
        CostRow("Samples to measure", "no limit", amount(usual("samples_measured"))),
        _row(
            action,
            "Writes a cell, mean",
            "cell_writes_per_cell",
            amount(usual("cell_writes_per_cell")),
        ),
        _row(action, "Pulses", "pulses", amount(usual("pulses"))),
        _row(action, "Time", "seconds", seconds(median(took) if took else None), unit="s"),
    )


def last_jobs(action: Action, costs: Sequence[JobCost]) -> str:
    """Say of what the last figures are."""
    count = min(_LAST, sum(cost.kind == action.name and cost.succeeded for cost in costs))
    if not count:
        return "none yet"
    return f"median of the last {plural(count, 'job')}" if count > 1 else "the last job"


def job_body(action: Action, chip_id: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of `POST /v1/jobs` that a confirmed action stands for."""
    body: dict[str, Any] = {"kind": action.name, "chip_id": chip_id}
    if action.takes_student and form.get("student_id"):
        body["student_id"] = form["student_id"]
    if action.has_budget:
        limits = {name: form.get(name, "").strip() or None for name in _FIELDS}
        body["settings"] = {"budget": limits}
    return body


def _row(action: Action, name: str, field: str, last: str, unit: str = "") -> CostRow:
    """Return a row with a limit that can be changed, or with what the action takes anyway."""
    if not action.has_budget:
        return CostRow(name, _WITHOUT_BUDGET[field], last)
    usual = getattr(_BUDGET, field)
    return CostRow(name, "" if usual is None else str(usual), last, field, unit)
