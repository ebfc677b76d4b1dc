"""Results of the ageing benchmark: what a chip lost in a month, and what brought it back."""

from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

from rich import box
from rich.table import Table

from benchmarks.calibration_rows import Limit
from benchmarks.row_file import grouped

REGAINED: Mapping[str, Limit] = MappingProxyType(
    {"pcm": Limit(0.9, 0.8), "hermes": Limit(0.9, 0.8), "harsh": Limit(0.7, 0.6)}
)  # fraction of the loss, by the compensation of drift alone
BEHIND = MappingProxyType({"harsh": 1.5})  # points, after trims on 100 samples without labels
BEHIND_OTHERS = 0.5
LOST = MappingProxyType({"pcm": 3.0, "hermes": 3.0})  # points in 30 days after the last trims


class AgeingRow(NamedTuple):
    """One chip 30 days after a publication, treated in one way. Accuracies in %."""

    experiment: str  # nothing, drift, trims or last-trims
    preset: str
    seed: int
    golden: float
    published: float  # when the version was published
    aged: float  # 30 days later
    after: float  # after the treatment
    samples: int  # presented to learn from
    writes: float  # of a cell, mean, in the treatment
    seconds: float  # of the treatment

    @property
    def lost(self) -> float:
        """Points lost in the 30 days."""
        return self.published - self.aged

    @property
    def regained(self) -> float:
        """Fraction of the loss that the treatment brought back."""
        return (self.after - self.aged) / max(self.lost, 1e-9)

    @property
    def behind(self) -> float:
        """Points behind the published version, after the treatment."""
        return self.published - self.after


class YearRow(NamedTuple):
    """One chip at one age of its year. Accuracies in %, losses in points since publication."""

    preset: str
    seed: int
    age_s: float  # since the first publication, on the chip's clock
    untouched: float  # accuracy of the same chip where nothing was done
    accuracy: float  # before the action
    predicted: float  # loss
    low: float
    high: float
    action: str  # the stages that ran, or nothing
    after: float  # accuracy after the action
    writes: float  # of a cell, mean, in the action


def complaints_about(rows: Sequence[AgeingRow]) -> list[str]:
    """Say which figures miss their limits; empty if none does."""
    return [
        line
        for (name, preset), group in grouped(rows, "experiment", "preset").items()
        for line in _missed(name, preset, group)
    ]


def table_of(rows: Sequence[AgeingRow]) -> Table:
    """Build the table, a row for each experiment and preset: the median, and the worst."""
    table = Table(box=box.SIMPLE_HEAD, title="30 days after publication: median of chips (worst)")
    for name in ("experiment", "preset"):
        table.add_column(name)
    for name in (
        *("chips", "published %", "lost", "after %", "regained", "behind published"),
        *("shown", "writes a cell", "s"),
    ):
        table.add_column(name, justify="right")
    for (name, preset), group in grouped(rows, "experiment", "preset").items():
        table.add_row(name, preset, *_cells(group))
    return table


def year_table_of(rows: Sequence[YearRow]) -> Table:
    """Build the table of the years: a row for each chip and age."""
    table = Table(box=box.SIMPLE_HEAD, title="A year with re-calibration")
    for name in ("chip", "days", "untouched %", "%", "predicted loss", "action", "after %"):
        table.add_column(name, justify="left" if name in ("chip", "action") else "right")
    for row in rows:
        table.add_row(
            f"{row.preset} {row.seed}",
            f"{row.age_s / 86_400:.2f}",
            f"{row.untouched:.2f}",
            f"{row.accuracy:.2f}",
            f"{row.predicted:.1f} ({row.low:.1f} to {row.high:.1f})",
            row.action,
            f"{row.after:.2f}",
        )
    return table


def sentence_of(row: AgeingRow) -> str:
    """Say in one line what became of one chip."""
    return (
        f"{row.preset} {row.seed}, {row.experiment}: {row.published:.2f} %, {row.lost:.2f} lost in "
        f"30 days, {row.after:.2f} % after, {row.regained:.2f} regained, {row.behind:.2f} behind, "
        f"{row.samples} shown, {row.writes:.2f} writes a cell, {row.seconds:.0f} s"
    )


def _cells(group: Sequence[AgeingRow]) -> list[str]:
    lost, behind = [row.lost for row in group], [row.behind for row in group]
    regained = [row.regained for row in group]
    return [
        str(len(group)),
        f"{median(row.published for row in group):.2f}",
        f"{median(lost):.2f} ({max(lost):.2f})",
        f"{median(row.after for row in group):.2f}",
        f"{median(regained):.2f} ({min(regained):.2f})",
        f"{median(behind):.2f} ({max(behind):.2f})",
        f"{median(row.samples for row in group):,.0f}",
        f"{median(row.writes for row in group):.2f}",
        f"{median(row.seconds for row in group):.0f}",
    ]


def _missed(name: str, preset: str, group: Sequence[AgeingRow]) -> list[str]:
    """Compare the chips of one preset with the limits of an experiment."""
    who, found = f"{preset}, {name}", []
    if name == "drift" and preset in REGAINED:
        middle, worst = median(row.regained for row in group), min(row.regained for row in group)
        limit = REGAINED[preset]
        if middle < limit.median:
            found.append(f"{who}: {middle:.2f} regained in the median, {limit.median} wanted.")
        if limit.worst is not None and worst < limit.worst:
            found.append(f"{who}: {worst:.2f} regained at worst, {limit.worst} wanted.")
    behind, most = median(row.behind for row in group), BEHIND.get(preset, BEHIND_OTHERS)
    if name == "trims" and behind > most:
        found.append(f"{who}: {behind:.2f} points behind in the median, {most} wanted.")
    lost, allowed = median(row.lost for row in group), LOST.get(preset)
    if name == "last-trims" and allowed is not None and lost > allowed:
        found.append(f"{who}: {lost:.2f} points lost in the median, {allowed} wanted.")
    return found
