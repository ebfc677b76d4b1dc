"""Curves of the benchmark of robustness: accuracy against strength, a panel for each kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.robustness_rows import AS_IS, Row, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BESIDE = 3  # panels
_SIZE = (3.4, 2.8)  # of a panel, inches


def plot(rows: Sequence[Row], path: Path) -> None:
    """Write the curves of all rows, with standard errors; the uncalibrated line is dashed.

    The ending of the path says in which format.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row.task, row.kind) for row in rows))
    lines = -(-len(panels) // _BESIDE)
    wide, high = _SIZE
    figure = Figure(figsize=(wide * min(_BESIDE, len(panels)), high * lines), layout="constrained")
    grid = figure.subplots(lines, min(_BESIDE, len(panels)), squeeze=False).flat
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, [row for row in rows if (row.task, row.kind) == panel])
    for axes in grid[len(panels) :]:
        axes.remove()
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    with matplotlib.rc_context({"svg.hashsalt": "0"}):  # the same rows make the same file
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw(axes: "Axes", panel: tuple[str, str], rows: Sequence[Row]) -> None:
    points = sorted((key[2], ways) for key, ways in points_of(rows).items())
    for way in dict.fromkeys(row.way for row in rows):
        shown = [(strength, ways[way]) for strength, ways in points if way in ways]
        axes.errorbar(
            [strength for strength, _ in shown],
            [mean.value for _, mean in shown],
            [mean.error or 0.0 for _, mean in shown],
            label=way,
            linestyle="--" if way == AS_IS else "-",
            color="black" if way == AS_IS else None,
            marker="o",
            markersize=3,
            capsize=2,
        )
    axes.set_title(f"{panel[1]}, {panel[0]}", fontsize=10)
    axes.set_xlabel("bits" if panel[1] == "quantisation" else "strength")
    if panel[1] == "quantisation":
        axes.invert_xaxis()  # harder to the right, as in the other panels
    axes.set_ylabel("accuracy, %")
