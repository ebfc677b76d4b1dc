"""A chip's past: its versions, what was measured, what its probes said of accuracy and drift."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.repositories.chip_history import (
    ChipHistoryRepository,
    MeasuredAt,
    ProbedAt,
    PublishedVersion,
)
from service.db.tables import WeightVersion
from service.formatting import instant, loss_text, percent, score_text

_VERSIONS, _PROBES, _MEASURED = 60, 80, 40  # the newest ones that are shown
_ROWS = 150  # of the table
_BEFORE = ("before", "untuned")  # accuracies that were found, not brought about
_WORDS = {"before": "before", "untuned": "before", "after": "after", "now": "after"}
_NOUNS = {"calibrate": "a calibration that published nothing", "tune": "a tuning"}


class Measurement(NamedTuple):
    """An accuracy that was measured on a chip."""

    at: datetime
    accuracy: float
    is_before: bool  # before a calibration or a tuning: what was found
    said: str  # by which job, and when


class Prediction(NamedTuple):
    """What a probe says of the accuracy: that of its version, less the predicted loss."""

    at: datetime
    version: int
    accuracy: float
    low: float
    high: float
    said: str


class Score(NamedTuple):
    """The drift score of a probe."""

    at: datetime
    version: int | None
    score: float
    said: str


class VersionAt(NamedTuple):
    """A published version."""

    at: datetime
    number: int
    said: str


class History(NamedTuple):
    """All that is known of a chip's past, oldest first."""

    versions: tuple[VersionAt, ...]
    measured: tuple[Measurement, ...]
    predicted: tuple[Prediction, ...]
    scores: tuple[Score, ...]
    golden: float | None  # of the student of the version in force
    is_cut: bool  # whether there is more than these

    @property
    def times(self) -> list[datetime]:
        """The times of everything that is known."""
        return [one.at for part in (self.versions, self.measured, self.scores) for one in part]


class HistoryRow(NamedTuple):
    """A line of the table behind the plot."""

    at: datetime
    said: str


def read_history(session: Session, chip_id: str, in_force: WeightVersion | None) -> History:
    """Read the past of a chip."""
    past = ChipHistoryRepository(session, chip_id)
    versions = past.versions(_VERSIONS)
    after = {one.version: figure_in(one.accuracy, "after") for one in versions}
    probes = list(reversed(past.probes(_PROBES)))
    scored = [one for one in probes if one.score is not None]
    others = past.measured(_MEASURED)
    measured = [
        *(one for version in versions for one in _published(version)),
        *(one for job in others for one in _found(job)),
    ]
    limits = ((versions, _VERSIONS), (probes, _PROBES), (others, _MEASURED))
    return History(
        versions=tuple(_version(one) for one in reversed(versions)),
        measured=tuple(sorted(measured, key=lambda one: one.at)),
        predicted=tuple(
            made for one in probes if (made := _prediction(one, after.get(one.version or 0)))
        ),
        scores=tuple(
            Score(one.at, one.version, float(one.score or 0), _scored(one)) for one in scored
        ),
        golden=None if in_force is None else figure_in(in_force.accuracy, "golden"),
        is_cut=any(len(found) == limit for found, limit in limits),
    )


def history_rows(history: History) -> tuple[HistoryRow, ...]:
    """Return all that the plot shows, the newest first."""
    shown = (history.versions, history.measured, history.predicted, history.scores)
    rows = [HistoryRow(one.at, one.said) for part in shown for one in part]
    return tuple(sorted(rows, key=lambda row: row.at, reverse=True)[:_ROWS])


def _version(version: PublishedVersion) -> VersionAt:
    accuracy = version.accuracy
    change = f"{_share(accuracy, 'before')} before, {_share(accuracy, 'after')} after"
    said = f"version {version.version}, published {instant(version.created_at)}: {change}"
    return VersionAt(version.created_at, version.version, said)


def _published(version: PublishedVersion) -> Iterator[Measurement]:
    """Yield the accuracies before and after the calibration that published a version."""
    yield from _accuracies(
        version.created_at, version.accuracy, f"calibration to version {version.version}"
    )


def _found(job: MeasuredAt) -> Iterator[Measurement]:
    what = _NOUNS.get(job.kind)
    if what is not None:
        yield from _accuracies(job.at, job.accuracy, what)
    elif (figure := figure_in(job.accuracy, "now")) is not None:
        said = f"{percent(figure)} measured by an evaluation, {instant(job.at)}"
        yield Measurement(job.at, figure, is_before=False, said=said)


def _accuracies(at: datetime, accuracy: Mapping[str, Any], what: str) -> Iterator[Measurement]:
    for name, word in _WORDS.items():
        figure = figure_in(accuracy, name)
        if figure is not None:
            said = f"{percent(figure)} measured {word} {what}, {instant(at)}"
            yield Measurement(at, figure, is_before=name in _BEFORE, said=said)


def _prediction(probe: ProbedAt, after: float | None) -> Prediction | None:
    """Return what a probe predicts of the accuracy; None where it predicts nothing."""
    points, low, high = (figure_in(probe.loss, name) for name in ("points", "low", "high"))
    if after is None or points is None or low is None or high is None or probe.version is None:
        return None
    said = f"about {percent(after - points / 100)} predicted ({loss_text(probe.loss)}), "
    return Prediction(
        probe.at,
        probe.version,
        accuracy=max(after - points / 100, 0.0),
        low=max(after - high / 100, 0.0),
        high=max(after - low / 100, 0.0),
        said=said + instant(probe.at),
    )


def _scored(probe: ProbedAt) -> str:
    of = "" if probe.version is None else f" of version {probe.version}"
    return f"drift score {score_text(probe.score)}{of}, {instant(probe.at)}"


def _share(accuracy: Mapping[str, Any], name: str) -> str:
    return percent(figure_in(accuracy, name))


def figure_in(found: object, name: str) -> float | None:
    """Return a figure of a JSON object; None for anything else that may stand there."""
    figure = found.get(name) if isinstance(found, Mapping) else None
    is_figure = isinstance(figure, int | float) and math.isfinite(figure)
    return float(figure) if is_figure and figure is not None else None
