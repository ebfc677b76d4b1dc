"""Results of the learning benchmark: table, file, and limits."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from rich import box
from rich.table import Table

from benchmarks.tasks import tasks
from ltl_core.errors import DataFormatError
from ltl_core.settings import TrainingSettings

Start = Literal["warm", "default"]
STARTS: tuple[Start, ...] = get_args(Start)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conditions(_Record):
    """Settings of a run; its teacher and data are the task's."""

    task: str
    settings: TrainingSettings
    start: Start = "warm"
    samples: int | None = None  # to learn from in each epoch; None are all
    test_samples: int | None = None  # to measure on; None are all

    @property
    def but_for_the_seed(self) -> "Conditions":
        """Conditions that the seeds of one row share."""
        return self.model_copy(update={"settings": self.settings.model_copy(update={"seed": 0})})


class Run(_Record):
    """One student of one teacher. Accuracies are on the test set."""

    conditions: Conditions
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

    @property
    def name(self) -> str:
        """Name of the run, for messages."""
        settings = self.conditions.settings
        return f"{self.conditions.task} {settings.rule} {settings.seed}"


_RUNS = TypeAdapter(list[Run])


def table_of(runs: Sequence[Run]) -> Table:
    """Build the table, a row for all seeds under the same conditions: mean and worst."""
    table = Table(title="Accuracy in % on the test set", box=box.SIMPLE_HEAD)
    for name in ("Task", "Rule", "Start", "Deltas", "Readout"):
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
    """Group runs that differ in their seed alone."""
    found: dict[Conditions, list[Run]] = {}
    for run in runs:
        found.setdefault(run.conditions.but_for_the_seed, []).append(run)
    return list(found.values())


def cells_of(group: Sequence[Run]) -> list[str]:
    """Cells of one row of the table."""
    first, epochs = group[0], zip(*(run.accuracy for run in group), strict=True)
    conditions, settings = first.conditions, first.conditions.settings
    start, *later = (f"{100 * mean(values):.2f}" for values in epochs)
    return [
        *(conditions.task, settings.rule, conditions.start),
        *("floats" if settings.delta_bits is None else "bytes", settings.readout),
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


def complaints_about(group: Sequence[Run]) -> list[str]:
    """List the limits that these runs, one or the seeds of a row, miss by their mean."""
    conditions = group[0].conditions
    task = tasks()[conditions.task]
    name = group[0].name if len(group) == 1 else f"{conditions.task} {conditions.settings.rule}"
    complaints = [
        f"{task.name} {run.conditions.settings.seed}: "
        f"the teacher has {100 * run.teacher:.2f} % only."
        for run in group
        if run.teacher < task.teacher_at_least
    ]
    allowed, gap = task.gaps.get(conditions.settings.rule), mean(run.gap for run in group)
    if conditions.start == "warm" and allowed is not None and gap > allowed:
        complaints.append(
            f"{name}: {100 * gap:.2f} points behind its teacher, mean of {len(group)}; "
            f"{100 * allowed:.1f} allowed."
        )
    return complaints


def earlier(path: Path | None) -> list[Run]:
    """Read the runs of an earlier file. Raises DataFormatError if it is of another benchmark."""
    if path is None or not path.is_file():
        return []
    try:
        return _RUNS.validate_python(json.loads(path.read_text())["runs"])
    except (ValidationError, ValueError, KeyError, TypeError):
        reason = "it holds no runs in the form of today; name another file"
        raise DataFormatError(str(path), reason) from None


def write(path: Path | None, heading: dict[str, object], runs: Sequence[Run]) -> None:
    """Write every run so far."""
    if path is not None:
        content = heading | {"runs": _RUNS.dump_python(list(runs), mode="json")}
        path.write_text(json.dumps(content, indent=2) + "\n")
