"""Results of the calibration benchmark: table, file, and limits."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from rich import box
from rich.table import Table

from benchmarks.row_file import grouped


class Limit(NamedTuple):
    """What the median and the worst of the chips may be."""

    median: float
    worst: float | None = None  # None: any


class Row(NamedTuple):
    """One chip, calibrated in one way. Accuracies in %, on all test images."""

    experiment: str
    preset: str
    seed: int
    golden: float
    before: float
    after: float
    predicted_loss: float  # points behind the golden student, without labels
    ended_by: str
    samples: int  # presented to learn from
    distinct: int  # different samples of the lab
    samples_measured: int
    writes: float  # of a cell, mean
    pulses: int
    seconds: float  # without the measurement of all test images

    @property
    def behind(self) -> float:
        """Points behind the golden student."""
        return self.golden - self.after

    @property
    def recovered(self) -> float:
        """Fraction of the lost accuracy that came back."""
        return (self.after - self.before) / max(self.golden - self.before, 1e-9)


class Wanted(NamedTuple):
    """Limits of one task, of each experiment."""

    golden: float  # least accuracy of the golden student, %
    behind: Mapping[str, Limit]  # points behind it, of pcm, hermes and reram
    recovered: Mapping[str, Limit]  # fraction, of harsh


BEHIND = {
    "hundred": Limit(0.4, 0.8),
    "ten": Limit(0.7, 1.2),
    "synthetic": Limit(0.6, 1.2),
    "no-cell": Limit(0.6, 1.0),
}
RECOVERED = {
    "hundred": Limit(0.975, 0.96),
    "ten": Limit(0.92, 0.88),
    "synthetic": Limit(0.96, 0.94),
    "no-cell": Limit(0.87, 0.80),
    "side": Limit(0.975, 0.96),
    "writes-0.2": Limit(0.93),
}
WRITES = {"mild": 0.3, "harsh": 1.5}
ON_FASHION = Wanted(92.0, BEHIND, RECOVERED)
ELSEWHERE = Wanted(
    golden=0.0,  # benchmarks.learning judges the students of other tasks
    behind={"hundred": Limit(1.0, 1.0)},
    recovered={"hundred": Limit(0.95, 0.95), "synthetic": Limit(0.9, 0.9)},
)


def complaints_about(rows: Sequence[Row], wanted: Wanted = ON_FASHION) -> list[str]:
    """Say which figures miss their limits; empty if none does."""
    complaints = []
    if rows and rows[0].golden < wanted.golden:
        complaints.append(f"The golden student has {rows[0].golden:.2f} %, not {wanted.golden}.")
    for (name, preset), group in grouped(rows, "experiment", "preset").items():
        limit = (wanted.recovered if preset == "harsh" else wanted.behind).get(name)
        complaints += _missed(name, preset, group, limit)
    return complaints


def table_of(rows: Sequence[Row]) -> Table:
    """Build the table, a row for each experiment and preset: the median, and the worst."""
    table = Table(box=box.SIMPLE_HEAD, title="Median of the chips (worst)")
    for name in ("experiment", "preset"):
        table.add_column(name)
    for name in (
        *("chips", "before %", "after %", "behind", "recovered", "shown", "distinct"),
        *("writes a cell", "s", "predicted"),
    ):
        table.add_column(name, justify="right")
    for (name, preset), group in grouped(rows, "experiment", "preset").items():
        table.add_row(name, preset, *_cells(group))
    return table


def _cells(group: Sequence[Row]) -> list[str]:
    behind = [row.behind for row in group]
    recovered = [row.recovered for row in group if row.before < row.golden]
    middle = {f: median(getattr(row, f) for row in group) for f in Row._fields[4:7]}
    return [
        str(len(group)),
        f"{middle['before']:.2f}",
        f"{middle['after']:.2f}",
        f"{median(behind):.2f} ({max(behind):.2f})",
        f"{median(recovered):.3f} ({min(recovered):.3f})" if recovered else "-",
        f"{median(row.samples for row in group):,.0f}",
        f"{median(row.distinct for row in group):,.0f}",
        f"{median(row.writes for row in group):.2f}",
        f"{median(row.seconds for row in group):.0f}",
        f"{middle['predicted_loss']:.2f}",
    ]


def _missed(name: str, preset: str, group: Sequence[Row], limit: Limit | None) -> list[str]:
    """Compare the chips of one preset with the limits of an experiment."""
    who, harsh = f"{preset}, {name}", preset == "harsh"
    found = [row.recovered if harsh else row.behind for row in group]
    complaints = []
    if limit is not None:
        middle, worst = median(found), min(found) if harsh else max(found)
        sign = 1 if harsh else -1
        what = "recovered" if harsh else "points behind"
        if sign * middle < sign * limit.median:
            complaints.append(f"{who}: {middle:.3f} {what} in the median, {limit.median} wanted.")
        if limit.worst is not None and sign * worst < sign * limit.worst:
            complaints.append(f"{who}: {worst:.3f} {what} at worst, {limit.worst} wanted.")
    writes, most = median(row.writes for row in group), WRITES["harsh" if harsh else "mild"]
    if name == "hundred" and writes > most:
        complaints.append(f"{who}: {writes:.2f} writes a cell in the median, {most} wanted.")
    return complaints


def sentence_of(row: Row) -> str:
    """Say in one line what became of one chip."""
    recovered = f"{row.recovered:.3f} recovered" if row.before < row.golden else "nothing lost"
    return (
        f"{row.preset} {row.seed}, {row.experiment}: {row.before:.2f} to {row.after:.2f} %, "
        f"{row.behind:.2f} behind, {recovered}, {row.samples} shown, "
        f"{row.writes:.2f} writes a cell, {row.seconds:.0f} s, {row.ended_by}"
    )
