"""All chips of the fleet in a few figures each: which to show, in which order, and the strip."""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from service.db.repositories.overview import ChipFacts
from service.formatting import plural
from service.states import ChipHealth, ChipState

_WORST_FIRST = (
    ChipHealth.BAD,
    ChipState.OFFLINE,
    ChipHealth.DRIFTING,
    ChipHealth.UNKNOWN,
    ChipHealth.GOOD,
    ChipHealth.RETIRED,
)
_PLACES: dict[str, int] = {health: place for place, health in enumerate(_WORST_FIRST)}
_A_LINE, _CELL = 60, 16  # cells in a line of the strip, and the side of one, px


class FleetSort(StrEnum):
    """Orders of the table of chips."""

    WORST = "worst"  # first by health, then by drift score
    NAME = "name"
    AGE = "age"  # the oldest first


class Wanted(NamedTuple):
    """Which chips a reader of the page asks for; empty means any."""

    text: str = ""  # part of the name
    health: str = ""
    sort: FleetSort = FleetSort.WORST


class Strip(NamedTuple):
    """A picture of all chips that are asked for, a cell each, in the order of the table."""

    lines: tuple[tuple[str, str], ...]  # health, and the path of its cells
    width: int  # px
    height: int  # px
    sentence: str


def chosen(facts: Sequence[ChipFacts], wanted: Wanted) -> list[ChipFacts]:
    """Return the chips that are asked for, in the order that is asked for."""
    text = wanted.text.casefold()
    found = [
        chip
        for chip in facts
        if text in chip.name.casefold() and wanted.health in ("", chip.health)
    ]
    match wanted.sort:
        case FleetSort.NAME:
            return sorted(found, key=lambda chip: chip.name)
        case FleetSort.AGE:
            return sorted(found, key=lambda chip: chip.id)  # ids rise with time
    return sorted(found, key=_badness)


def strip(chips: Sequence[ChipFacts]) -> Strip:
    """Draw a cell for each chip; cells of one health that follow each other are one line.

    So the picture of 10,000 chips takes some kilobytes.
    """
    paths: dict[str, list[str]] = {}
    for health, path in _runs([chip.health for chip in chips]):
        paths.setdefault(health, []).append(path)
    counts = Counter(chip.health for chip in chips)
    parts = [f"{counts[name]} {name}" for name in _WORST_FIRST if counts[name]]
    rows = -(-len(chips) // _A_LINE)
    return Strip(
        tuple((health, "".join(path)) for health, path in paths.items()),
        _CELL * min(len(chips), _A_LINE),
        _CELL * rows,
        f"{plural(len(chips), 'chip')}, a cell each, in the order of the table: "
        + ", ".join(parts),
    )


def _badness(chip: ChipFacts) -> tuple[int, float, str]:
    return _PLACES[chip.health], -(chip.drift_score or 0.0), chip.name


def _runs(healths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield health and path of the cells that follow each other in a line of the strip."""
    for first in range(0, len(healths), _A_LINE):
        y, x = _CELL * (first // _A_LINE) + _CELL // 2, 0
        for health, cells in groupby(healths[first : first + _A_LINE]):
            width = _CELL * len(list(cells))
            yield health, f"M{x} {y}h{width}"
            x += width
