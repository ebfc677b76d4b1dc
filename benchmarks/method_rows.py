"""Results of the benchmark of methods: table, and what is better than LTL."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from rich import box
from rich.table import Table

from benchmarks.calibration_variants import LTL

AXES = ("samples", "seconds", "writes")


class MethodRow(NamedTuple):
    """One chip, calibrated in one way with one budget. Accuracies in %, on all test images."""

    set: str  # methods or ablation
    variant: str
    preset: str
    seed: int
    budget: int  # presentations allowed; 0 of what does not learn
    golden: float  # of the student that the chip holds
    before: float
    after: float
    ended_by: str
    samples: int  # presented to learn from
    distinct: int  # different samples of the lab
    samples_measured: int
    writes: float  # of a cell, mean
    pulses: int
    seconds: float  # without the measurement of all test images

    @property
    def recovered(self) -> float:
        """Fraction of the lost accuracy that came back."""
        return (self.after - self.before) / max(self.golden - self.before, 1e-9)


class Point(NamedTuple):
    """One point of a curve, the mean over chips: what was used, and the accuracy in %."""

    used: float
    accuracy: float


def curve_of(rows: Sequence[MethodRow], axis: str) -> list[Point]:
    """Return accuracy against what was used, one point a budget, from the chips' start on."""
    budgets = sorted({row.budget for row in rows})
    groups = [[row for row in rows if row.budget == budget] for budget in budgets]
    start = Point(0.0, fmean(row.before for row in rows))
    found = [
        Point(fmean(float(getattr(row, axis)) for row in group), fmean(row.after for row in group))
        for group in groups
    ]
    return [start, *sorted(found)]


def mean_accuracy(curve: Sequence[Point], used: float) -> float:
    """Return the mean accuracy of a curve from zero to `used`.

    Between two points it is a straight line, and after the last one it stays. If nothing is used
    at all, it is the accuracy of the last point.
    """
    if used <= 0:
        return curve[-1].accuracy
    area = 0.0
    for first, second in pairwise([*curve, Point(max(used, curve[-1].used), curve[-1].accuracy)]):
        width = min(second.used, used) - min(first.used, used)
        if width > 0:
            slope = (second.accuracy - first.accuracy) / (second.used - first.used)
            area += width * (first.accuracy + slope * width / 2)
    return area / used


def better_axes(baseline: Sequence[MethodRow], ltl: Sequence[MethodRow]) -> list[str]:
    """Name the axes along which the baseline's curve lies above LTL's, in the mean.

    The mean goes from zero to the most that either used, over the chips that both calibrated.
    """
    common = {row.seed for row in baseline} & {row.seed for row in ltl}
    ours, theirs = ([row for row in rows if row.seed in common] for rows in (ltl, baseline))
    better = []
    for axis in AXES if common else ():
        curves = curve_of(theirs, axis), curve_of(ours, axis)
        used = max(curve[-1].used for curve in curves)
        above, below = (mean_accuracy(curve, used) for curve in curves)
        if above > below:
            better.append(axis)
    return better


def complaints_about(rows: Sequence[MethodRow]) -> list[str]:
    """Name every baseline that is better than LTL along two of the three axes."""
    complaints = []
    for preset, variant, group in _baselines(rows):
        better = better_axes(group, _of(rows, preset, LTL))
        if len(better) >= 2:
            complaints.append(f"{preset}: {variant} is better than ltl by {' and '.join(better)}.")
    return complaints


def table_of(rows: Sequence[MethodRow]) -> Table:
    """Build the table, a row for each variant, preset and budget: the median of the chips."""
    table = Table(box=box.SIMPLE_HEAD, title="Median of the chips (worst)")
    for name in ("set", "variant", "preset"):
        table.add_column(name)
    for name in ("budget", "chips", "before %", "after %", "recovered", "shown", "writes", "s"):
        table.add_column(name, justify="right")
    for key in dict.fromkeys((r.set, r.variant, r.preset, r.budget) for r in rows):
        group = [r for r in rows if (r.set, r.variant, r.preset, r.budget) == key]
        table.add_row(*key[:3], f"{key[3]:,}", *_cells(group))
    return table


def sentence_of(row: MethodRow) -> str:
    """Say in one line what became of one chip."""
    return (
        f"{row.preset} {row.seed}, {row.variant} at {row.budget}: {row.before:.2f} to "
        f"{row.after:.2f} %, {row.recovered:.3f} recovered, {row.samples} shown, "
        f"{row.writes:.2f} writes a cell, {row.seconds:.0f} s, {row.ended_by}"
    )


def _cells(group: Sequence[MethodRow]) -> list[str]:
    after, recovered = ([getattr(row, f) for row in group] for f in ("after", "recovered"))
    return [
        str(len(group)),
        f"{median(row.before for row in group):.2f}",
        f"{median(after):.2f} ({min(after):.2f})",
        f"{median(recovered):.3f} ({min(recovered):.3f})",
        f"{median(row.samples for row in group):,.0f}",
        f"{median(row.writes for row in group):.3f}",
        f"{median(row.seconds for row in group):.0f}",
    ]


def _baselines(rows: Sequence[MethodRow]) -> Iterator[tuple[str, str, list[MethodRow]]]:
    """Yield preset, name and rows of every baseline."""
    for preset, variant in dict.fromkeys((r.preset, r.variant) for r in rows):
        group = _of(rows, preset, variant)
        if variant != LTL and group:
            yield preset, variant, group


def _of(rows: Sequence[MethodRow], preset: str, variant: str) -> list[MethodRow]:
    """Return the rows of a method on the chips of a preset."""
    return [r for r in rows if (r.set, r.preset, r.variant) == ("methods", preset, variant)]
