"""Sparkline of a chip's last drift scores."""

from collections.abc import Sequence
from typing import NamedTuple

from service.formatting import score_text

PROBES_SHOWN = 16
_WIDTH, _HEIGHT, _EDGE = 80, 24, 3  # px
_LEAST = 1.0  # the smallest score that fills the height: noise stays flat


class Sparkline(NamedTuple):
    """A curve of the scores of the last probes, the newest at the right."""

    path: str
    end: tuple[float, float]
    sentence: str


def sparkline(scores: Sequence[float]) -> Sparkline | None:
    """Lay out the sparkline; None for fewer than two scores."""
    if len(scores) < 2:
        return None
    top, step = max(_LEAST, *scores), (_WIDTH - 2 * _EDGE) / (len(scores) - 1)
    points = [
        (
            round(_EDGE + place * step, 1),
            round(_EDGE + (1 - score / top) * (_HEIGHT - 2 * _EDGE), 1),
        )
        for place, score in enumerate(scores)
    ]
    listed = ", ".join(score_text(score) for score in scores)
    path = " ".join(f"{x},{y}" for x, y in points)
    return Sparkline(path, points[-1], f"drift score of the last {len(scores)} probes: {listed}")
