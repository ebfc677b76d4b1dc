"""Rows of target sets: how far they have come, what is missing, and the scales of the layers."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from service.db.isolation import going_on
from service.db.tables import TargetSet
from service.formatting import DASH, amount, percent, plural
from service.logs import warn_in_a_line
from service.states import TargetSetState

_RANGES, _SCALES = 6, 8  # how many of them are shown


class TargetRow(NamedTuple):
    """A target set, as text."""

    id: str
    name: str
    state: str
    samples: str  # of the two splits
    coverage: str  # which chunks have arrived
    accuracy: str  # of the teacher
    scales: str


def target_row(row: TargetSet, arrived: Set[int] | None) -> TargetRow:
    """Build the row of a target set; `arrived` are its chunks, None where all have arrived."""
    with going_on() as outcome:
        return _row(row, arrived)
    if outcome.error is not None:
        event = "pages: the row of a target set is damaged, it is shown as unreadable"
        warn_in_a_line(__name__, event, outcome.error, target_set_id=row.id)
    return unreadable_targets(row.id)


def unreadable_targets(id: str) -> TargetRow:
    """Build the row of a target set that holds what cannot be read."""
    return TargetRow(id, DASH, "unreadable", DASH, "its row cannot be read", DASH, DASH)


def _row(row: TargetSet, arrived: Set[int] | None) -> TargetRow:
    summary: Mapping[str, Any] = row.summary or {}
    return TargetRow(
        id=row.id,
        name=row.name,
        state=row.state,
        samples=_splits(summary.get("samples") or {}, amount),
        coverage=_coverage(row, arrived),
        accuracy=_splits(summary.get("teacher_accuracy") or {}, percent),
        scales=_scales(summary.get("scales") or {}),
    )


def _coverage(row: TargetSet, arrived: Set[int] | None) -> str:
    if row.state == TargetSetState.FAILED and row.reason:
        return row.reason
    if arrived is None:
        return f"complete: {plural(row.chunks, 'chunk')}{_explained(row)}"
    missing = missing_ranges(arrived, row.chunks)
    if not missing:
        return f"{plural(row.chunks, 'chunk')} arrived; to be completed"
    shown = ", ".join(missing[:_RANGES]) + (", ..." if len(missing) > _RANGES else "")
    return f"{amount(len(arrived))} of {amount(row.chunks)} chunks; missing: {shown}"


def _explained(row: TargetSet) -> str:
    """Say how well the network explains activations that were uploaded; nothing of others."""
    left = (row.summary or {}).get("unexplained")
    if not left:
        return ""
    layer, most = max(left.items(), key=lambda item: float(item[1]))
    return f"; activations as uploaded, explained to {percent(1 - float(most))} (least: {layer})"


def missing_ranges(arrived: Set[int], chunks: int) -> list[str]:
    """Return the indices below `chunks` that have not arrived, as ranges: `3`, `5 to 9`."""
    ranges, begin = list[str](), 0
    for index in [*sorted(index for index in arrived if index < chunks), chunks]:
        if index > begin:
            ranges.append(str(begin) if index == begin + 1 else f"{begin} to {index - 1}")
        begin = index + 1
    return ranges


def _splits(found: Mapping[str, Any], write: Any) -> str:
    known = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return ", ".join(f"{write(value)} {name}" for name, value in known.items()) or DASH


def _scales(scales: Mapping[str, Any]) -> str:
    known: Sequence[tuple[str, Any]] = list(scales.items())
    shown = [f"{layer} {float(scale):.3g}" for layer, scale in known[:_SCALES]]
    more = f" and {len(known) - _SCALES} more" if len(known) > _SCALES else ""
    return ", ".join(shown) + more or DASH
