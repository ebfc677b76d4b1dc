"""Rate error of each hidden layer of a chip, before and after its last calibration, as a plot."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from service.web.plots.time_axis import Tick, ticks_within

_SHOWN = 60  # layers
_LINE = 24  # px, the height of a layer


class LayerRow(NamedTuple):
    """One layer: its errors in spikes a step, and their places in pixels."""

    name: str
    before: float
    after: float
    y: float
    x_before: float
    x_after: float


class LayerPlot(NamedTuple):
    """The layers of a network, the first on top."""

    job_id: str
    rows: tuple[LayerRow, ...]
    more: int  # layers that are not shown
    width: int
    height: int
    left: float
    floor: float
    ticks: tuple[Tick, ...]  # in pixels


def draw_layers(job_id: str, result: Mapping[str, Any], width: int) -> LayerPlot | None:
    """Lay out the rate errors of a calibration's result; None if it has none."""
    errors = result.get("rate_error")
    if not isinstance(errors, Mapping):
        return None
    pairs = [
        (float(before), float(after))
        for before, after in zip(errors["before"], errors["after"], strict=True)
    ]
    if not pairs:
        return None
    names = _names(result, len(pairs))
    left, right = 8.0 + 8 * min(max(map(len, names)), 16), width - 24.0
    top = max(max(pair) for pair in pairs) or 1.0
    floor = _LINE * min(len(pairs), _SHOWN) + 8.0

    def x(error: float) -> float:
        return round(left + (right - left) * error / top, 1)

    rows = tuple(
        LayerRow(name, before, after, _LINE * place + 16.0, x(before), x(after))
        for place, (name, (before, after)) in enumerate(zip(names, pairs, strict=True))
    )
    return LayerPlot(
        job_id,
        rows[:_SHOWN],
        more=max(len(rows) - _SHOWN, 0),
        width=width,
        height=int(floor) + 40,
        left=left,
        floor=floor,
        ticks=tuple(Tick(x(value), f"{value:g}") for value in ticks_within(0.0, top, width // 80)),
    )


def _names(result: Mapping[str, Any], count: int) -> Sequence[str]:
    """Return the names of hidden layers; their numbers in results that have no names."""
    layers = result.get("layers") or ()
    hidden = [str(one["layer"]) for one in layers if one["rate_error_before"] is not None]
    return hidden if len(hidden) == count else [f"layer {n + 1}" for n in range(count)]
