"""What runs of the learning benchmark came to: their table, their file, and what they owe."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from benchmarks.tasks import tasks
from ltl_core.settings import RuleName


class Run(NamedTuple):
    """One student of one teacher. Accuracies are on the test set."""

    task: str
    rule: str
    start: str
    delta_bits: int | None  # of the deltas; None are floats
    seed: int
    samples: int  # that were learned from, in each epoch
    tested: int  # that were measured on; a student and its teacher on the same
    teacher: float
    accuracy: tuple[float, ...]  # at the start, and after each epoch
    rate_error: tuple[float, ...]  # at the end, hidden layer by hidden layer
    epoch_s: tuple[float, ...]
    peak_bytes: int  # held by the training above the data
    firing_rate: float  # spikes a neuron and step, at the end
    synops: float  # a sample
    synops_ratio: float  # to the ANN's

    @property
    def gap(self) -> float:
        return self.teacher - self.accuracy[-1]


def table_of(runs: Sequence[Run]) -> Table:
    """A row a task, rule, start and kind of deltas: the mean and the worst of the seeds."""
    table = Table(title="Accuracy in % on the test set", box=box.SIMPLE_HEAD)
    for name in ("Task", "Rule", "Start", "Deltas"):
        table.add_column(name)
    for name in (
        *("Seeds", "Samples", "Teacher", "At start", "After each epoch"),
        *("Behind", "Worst", "s an epoch", "MB", "Rate error", "Firing", "SynOps"),
    ):
        table.add_column(name, justify="right")
    for group in groups(runs):
        table.add_row(*cells_of(group))
    return table


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """The seeds of one task, rule and start together."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        key = (run.task, run.rule, run.start, run.delta_bits, run.samples)
        found.setdefault(key, []).append(run)
    return list(found.values())


def cells_of(group: Sequence[Run]) -> list[str]:
    """One line of the table."""
    first, epochs = group[0], zip(*(run.accuracy for run in group), strict=True)
    start, *later = (f"{100 * mean(values):.2f}" for values in epochs)
    return [
        *(first.task, first.rule, first.start, "floats" if first.delta_bits is None else "bytes"),
        *(str(len(group)), f"{first.samples:,}"),
        f"{100 * mean(run.teacher for run in group):.2f}",
        start,
        " ".join(later),
        f"{100 * mean(run.gap for run in group):+.2f}",
        f"{100 * max(run.gap for run in group):+.2f}",
        f"{mean(mean(run.epoch_s) for run in group):.0f}",
        f"{max(run.peak_bytes for run in group) / 1e6:.0f}",
        f"{mean(mean(run.rate_error) for run in group):.3f}",
        f"{mean(run.firing_rate for run in group):.3f}",
        f"{mean(run.synops_ratio for run in group):.2f}",
    ]


def complaints_about(run: Run) -> list[str]:
    """What this run owes."""
    task, complaints = tasks()[run.task], list[str]()
    if run.teacher < task.teacher_at_least:
        complaints.append(f"{run.task} {run.seed}: the teacher has {100 * run.teacher:.2f} % only.")
    allowed = task.gaps.get(RuleName(run.rule))
    if run.start == "warm" and allowed is not None and run.gap > allowed:
        complaints.append(
            f"{run.task} {run.rule} {run.seed}: {100 * run.gap:.2f} points behind its teacher, "
            f"{100 * allowed:.1f} allowed."
        )
    return complaints


def earlier(path: Path | None) -> list[Run]:
    """What stands in the file already."""
    if path is None or not path.is_file():
        return []
    return [_read(run) for run in json.loads(path.read_text())["runs"]]


def write(path: Path | None, heading: dict[str, object], runs: Sequence[Run]) -> None:
    """Every run so far."""
    if path is not None:
        content = heading | {"runs": [run._asdict() for run in runs]}
        path.write_text(json.dumps(content, indent=2) + "\n")


def _read(run: dict[str, Any]) -> Run:
    lists = {name: tuple(value) for name, value in run.items() if isinstance(value, list)}
    return Run(**run | lists)
