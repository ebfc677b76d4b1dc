"""Results of the benchmark of methods: table, and what is better than LTL."""

from collections.abc import Iterator, Sequence
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


def accuracy_at(curve: Sequence[Point], used: float) -> float:
    """Return the best accuracy that a curve reaches with no more than `used`.

    Between two points it is a straight line, and after the last one it stays.
    """
    reached = [point for point in curve if point.used <= used]
    best = max(point.accuracy for point in reached)
    later = [point for point in curve if point.used > used]
    if not later:
        return best
    first, second = reached[-1], later[0]
    slope = (second.accuracy - best) / (second.used - first.used)
    return max(best, best + slope * (used - first.used))


def better_axes(baseline: Sequence[MethodRow], ltl: Sequence[MethodRow]) -> list[str]:
    """Name the axes along which a baseline reaches what LTL does not reach with as much.

    Its best budget is compared, in the mean over the chips that both calibrated.
    """
    common = {row.seed for row in baseline} & {row.seed for row in ltl}
    ours, theirs = ([row for row in rows if row.seed in common] for rows in (ltl, baseline))
    better = []
    for axis in AXES if common else ():
        best = max(curve_of(theirs, axis), key=lambda point: point.accuracy)
        if best.accuracy > accuracy_at(curve_of(ours, axis), best.used):
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
    """Yield preset, name and rows of every baseline that learns.

    What does not learn is where LTL itself begins: it is in the table, and not compared.
    """
    for preset, variant in dict.fromkeys((r.preset, r.variant) for r in rows if r.budget):
        group = _of(rows, preset, variant)
        if variant != LTL and group:
            yield preset, variant, group


def _of(rows: Sequence[MethodRow], preset: str, variant: str) -> list[MethodRow]:
    """Return the rows of a method on the chips of a preset."""
    return [r for r in rows if (r.set, r.preset, r.variant) == ("methods", preset, variant)]
