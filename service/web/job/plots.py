"""The plots of the job page: accuracy, and of each layer the rate error and the rates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.formatting import percent, seconds
from service.web.job.steps import Step
from service.web.plots.chart import Curve, Mark, Plot, Point, Reference, Series, common_ticks, draw
from service.web.plots.ticks import decimals

_ACCURACY_LEAST, _ERROR_LEAST, _RATE_LEAST = 0.05, 0.01, 0.02  # the smallest range that is shown
_LEARNED = "On samples it learns from"
_NOTE = (
    "Thin line: on the samples of each batch, which it learns from. "
    "Dashed: measured on test samples, from which it never learns."
)


class Verified(NamedTuple):
    """Accuracies on test samples, from which nothing is learned, as far as they are known."""

    golden: float | None
    before: float | None
    after: float | None


class PlotGroup(NamedTuple):
    """Plots that share their axes."""

    title: str
    note: str
    axis: str  # what the horizontal axis counts
    plots: tuple[Plot, ...]


class _Axis(NamedTuple):
    """The horizontal axis of all plots of a job."""

    name: str
    range: tuple[float, float]
    place: Callable[[Step], float]


def plot_groups(
    steps: Sequence[Step], verified: Verified, planned_samples: float | None
) -> tuple[PlotGroup, ...]:
    """Lay out the plots over the same axis; none for a job that neither measures nor learns.

    `planned_samples` is the budget of samples: the axis is as long from the first step.
    """
    learned = [step for step in steps if step.learns]
    if not learned and verified.before is None:
        return ()
    axis, marks = _axis(learned, planned_samples), _marks(learned)
    place = axis.place
    at = tuple(Mark(place(step), text) for step, text in marks)
    groups = [_accuracy(learned, verified, axis, at)]
    layers = range(max((len(step.rate_error) for step in learned), default=0))
    errors = [_error(learned, layer, place, at) for layer in layers]
    layers = range(max((len(step.rates) for step in learned), default=0))
    rates = [_rate(learned, layer, place, at) for layer in layers]
    note = "Root mean square of measured - target, in spikes a step, on samples it learns from."
    groups.append(_group("Rate error", note, errors, _ERROR_LEAST, axis))
    note = "Mean over samples and neurons, in spikes a step. Solid: measured. Dashed: target."
    groups.append(_group("Firing rates against the target", note, rates, _RATE_LEAST, axis))
    return tuple(group for group in groups if group.plots)


def _axis(learned: Sequence[Step], planned: float | None) -> _Axis:
    """Return an axis of samples; of steps for a job that counts no samples.

    It ends where the job would end, from the first step, so that no curve moves.
    """
    last = learned[-1] if learned else None
    if last is None or last.samples > 0:
        per_step = last.samples / last.step if last and last.step else 0.0
        end = per_step * last.steps if last else (planned or 1.0)
        return _Axis("samples", (0.0, max(end, 1.0)), lambda step: step.samples)
    return _Axis("step", (0.0, max(last.steps, 1.0)), lambda step: step.step)


def _marks(learned: Sequence[Step]) -> list[tuple[Step, str]]:
    """Find where each stage begins, and where the chip was left to settle."""
    marks: list[tuple[Step, str]] = []
    stage, settled = "", learned[0].settled_s if learned else 0.0
    for step in learned:
        words = [step.stage] if step.stage and step.stage != stage else []
        if step.settled_s > settled and marks:
            words.append(f"settled {seconds(step.settled_s - settled)}")
        if words:
            marks.append((step, ", ".join(words)))
        stage, settled = step.stage, step.settled_s
    return marks


def _accuracy(
    learned: Sequence[Step], verified: Verified, axis: _Axis, marks: tuple[Mark, ...]
) -> PlotGroup:
    points = _points(learned, axis.place, lambda step: step.accuracy)
    lines = [
        Reference(value, f"{name} {percent(value)}", style)
        for name, value, style in (
            ("golden", verified.golden, "teacher"),
            ("before", verified.before, "before"),
            ("after", verified.after, "after"),
        )
        if value is not None
    ]
    series = (Series(_LEARNED, "batch", points, "batch"),)
    curve = Curve("Accuracy", series, percent, lines, marks, names_marks=True)
    ticks = common_ticks([curve], _ACCURACY_LEAST, top=1.0)
    digits = max(0, decimals(ticks) - 2)
    plot = draw(curve, axis.range, ticks)
    named = [t._replace(text=percent(v, digits)) for t, v in zip(plot.ticks, ticks, strict=True)]
    return PlotGroup("Accuracy", _NOTE, axis.name, (plot._replace(ticks=tuple(named)),))


def _group(title: str, note: str, curves: Sequence[Curve], least: float, axis: _Axis) -> PlotGroup:
    """Draw plots with one vertical axis."""
    ticks = common_ticks(curves, least)
    digits = decimals(ticks)
    named = [f"{tick:.{digits}f}" for tick in ticks]
    plots = []
    for curve in curves:
        plot = draw(curve, axis.range, ticks)
        labels = zip(plot.ticks, named, strict=True)
        plots.append(plot._replace(ticks=tuple(tick._replace(text=text) for tick, text in labels)))
    return PlotGroup(title, note, axis.name, tuple(plots))


def _error(
    learned: Sequence[Step], layer: int, place: Callable[[Step], float], marks: tuple[Mark, ...]
) -> Curve:
    points = _points(
        learned, place, lambda s: s.rate_error[layer] if layer < len(s.rate_error) else None
    )
    title = f"Layer {layer + 1}"
    return Curve(title, (Series("rate error", "student", points),), _figure, marks=marks)


def _rate(
    learned: Sequence[Step], layer: int, place: Callable[[Step], float], marks: tuple[Mark, ...]
) -> Curve:
    def of(index: int) -> list[Point]:
        return _points(
            learned, place, lambda s: s.rates[layer][index] if layer < len(s.rates) else None
        )

    series = (Series("measured", "student", of(0)), Series("target", "teacher", of(1)))
    return Curve(f"Layer {layer + 1}", series, _figure, marks=marks)


def _points(
    learned: Sequence[Step],
    place: Callable[[Step], float],
    figure: Callable[[Step], float | None],
) -> list[Point]:
    return [(place(step), y) for step in learned if (y := figure(step)) is not None]


def _figure(value: float) -> str:
    return f"{value:.4f}"
