"""Plots of jobs with matplotlib, an extra: pip install 'tandemcal[plots]'."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from service.formatting import short_id
from service.schemas.jobs import EventView, JobView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = list[tuple[float, float]]  # step, figure


def draw_job(job: JobView, events: Sequence[EventView]) -> "Figure":
    """Draw the accuracy of each batch and the rate error of each layer over the steps."""
    from service.client.figures import NotebookFigure

    steps = [step for event in events if (step := _progress(event)).get("step") is not None]
    figure = NotebookFigure(figsize=(7.2, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_accuracy(above, steps, (job.result or {}).get("accuracy") or {})
    layers = max((len(step.get("rate_error") or ()) for step in steps), default=0)
    for layer in range(layers):
        below.plot(*_axes(curve(steps, "rate_error", layer)), label=f"layer {layer + 1}")
    below.set(xlabel="step", ylabel="rate error")
    if layers:
        below.legend()
    figure.suptitle(f"{job.kind} {short_id(job.id)}: {job.status}")
    return figure


def curve(steps: Sequence[Mapping[str, Any]], name: str, layer: int | None = None) -> Curve:
    """Return the figures of that name over the steps, of one layer or of all."""
    found = []
    for step in steps:
        value = step.get(name)
        if layer is not None:
            value = value[layer] if value is not None and layer < len(value) else None
        if isinstance(value, int | float):
            found.append((float(step["step"]), float(value)))
    return found


def _draw_accuracy(
    axes: "Axes", steps: Sequence[Mapping[str, Any]], measured: Mapping[str, Any]
) -> None:
    learned = [(step, 100 * share) for step, share in curve(steps, "accuracy")]
    axes.plot(*_axes(learned), label="on samples it learns from", linewidth=0.8)
    for name, style in (("golden", "--"), ("before", ":"), ("after", "-")):
        if isinstance(measured.get(name), int | float):
            axes.axhline(100 * measured[name], linestyle=style, color="black", label=name)
    axes.set_ylabel("accuracy, %")
    axes.legend()


def _axes(points: Curve) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _progress(event: EventView) -> Mapping[str, Any]:
    progress = event.data.get("progress") if event.type == "job.progress" else None
    return progress if isinstance(progress, Mapping) else {}
