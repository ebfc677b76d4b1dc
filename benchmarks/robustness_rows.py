"""Results of the benchmark of robustness: a row a chip, a table with standard errors, limits."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from rich import box
from rich.table import Table

AS_IS = "as-is"  # the golden student on the chip, not calibrated: what the others are compared with
LEARNED = ("offline", "online", "auto", "auto-10")
CALIBRATED = LEARNED[:3]
LOST_LEAST = 2.0  # points that a kind costs before a calibration has something to bring back
SILENT = 0.5  # points that a calibration may cost, in the mean of the seeds
PERMANENT = ("mismatch", "dead", "spread")  # drawn once a chip: what is lost can come back
RECOVERED = 0.5  # fraction of it that has to, in the mean of the seeds


class Row(NamedTuple):
    """One chip, treated in one way. Accuracies in %, on the same test images."""

    task: str
    kind: str
    strength: float
    seed: int
    way: str
    golden: float  # of the student that the chip holds, in software
    before: float  # on the chip as it is
    after: float
    samples: int  # presented to learn from
    distinct: int  # different samples
    writes: float  # of a cell, mean
    seconds: float  # without the measurement of the test images


class Mean(NamedTuple):
    """Mean of the seeds with its standard error, which needs two of them."""

    value: float
    error: float | None
    seeds: int

    def __str__(self) -> str:
        """Write it as a table does."""
        return f"{self.value:.2f}" + ("" if self.error is None else f" ± {self.error:.2f}")


Key = tuple[str, str, float]  # task, kind, strength


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean and its standard error, s / sqrt(n)."""
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return Mean(fmean(values), error, len(values))


def points_of(rows: Sequence[Row]) -> dict[Key, dict[str, Mean]]:
    """Return the accuracy of every way at every point: kinds as they come, strengths rising."""
    found: dict[Key, dict[str, list[float]]] = {}
    for row in rows:
        ways = found.setdefault((row.task, row.kind, row.strength), {})
        ways.setdefault(row.way, []).append(row.after)
    kinds = list(dict.fromkeys(key[:2] for key in found))
    order = sorted(found, key=lambda key: (kinds.index(key[:2]), key[2]))
    return {key: {way: mean_of(v) for way, v in found[key].items()} for key in order}


def table_of(rows: Sequence[Row]) -> Table:
    """Build the table: a row for each kind and strength, a column for each way."""
    ways = list(dict.fromkeys(row.way for row in rows))
    table = Table(box=box.SIMPLE_HEAD, title="Accuracy in %, mean of the seeds ± standard error")
    for name in ("task", "kind"):
        table.add_column(name)
    for name in ("strength", "seeds", "golden", *ways):
        table.add_column(name, justify="right")
    for key, points in points_of(rows).items():
        group = [row for row in rows if (row.task, row.kind, row.strength) == key]
        golden = mean_of([row.golden for row in group if row.way in (AS_IS, *LEARNED)] or [0.0])
        seeds = str(len({row.seed for row in group}))
        cells = [str(points[way]) if way in points else "" for way in ways]
        table.add_row(*key[:2], f"{key[2]:g}", seeds, f"{golden.value:.2f}", *cells)
    return table


def sentence_of(row: Row) -> str:
    """Say in one line what became of one chip."""
    return (
        f"{row.task}, {row.kind} {row.strength:g}, {row.seed}, {row.way}: {row.before:.2f} to "
        f"{row.after:.2f} % of {row.golden:.2f}, {row.samples} shown, {row.writes:.2f} writes a "
        f"cell, {row.seconds:.0f} s"
    )


def complaints_about(rows: Sequence[Row]) -> list[str]:
    """Say where a calibration makes a chip worse, or brings too little of its mismatch back."""
    complaints = []
    for (task, kind, strength, way), group in _calibrated(rows):
        where = f"{task}, {kind} {strength:g}, {way}"
        golden, before, after = (
            fmean(getattr(row, name) for row in group) for name in ("golden", "before", "after")
        )
        # A chip may be better than the golden student by chance; it is to become the student.
        worse, lost = min(golden, before) - after, golden - before
        if worse > SILENT:
            complaints.append(f"{where}: {worse:.2f} points worse than as it is.")
        recovered = (after - before) / max(lost, 1e-9)
        if kind in PERMANENT and lost > LOST_LEAST and recovered < RECOVERED:
            complaints.append(f"{where}: {recovered:.3f} recovered, {RECOVERED} wanted.")
    return complaints


def _calibrated(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str, float, str], list[Row]]]:
    found: dict[tuple[str, str, float, str], list[Row]] = {}
    for row in rows:
        if row.way in CALIBRATED:
            found.setdefault((row.task, row.kind, row.strength, row.way), []).append(row)
    yield from found.items()
