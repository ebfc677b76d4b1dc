"""Curves of the benchmark of robustness: accuracy against strength, a panel for each kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.robustness_rows import AS_IS, Row, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BESIDE = 2  # panels
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
    beside = min(_BESIDE, len(panels))
    grid = figure.subplots(lines, beside, squeeze=False, sharey=True).flat
    # A way has the same colour in all panels, whichever of them show it.
    colours = {way: f"C{n}" for n, way in enumerate(dict.fromkeys(row.way for row in rows))}
    colours[AS_IS] = "black"
    shown: dict[str, Any] = {}
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, [row for row in rows if (row.task, row.kind) == panel], colours)
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=3)
    with matplotlib.rc_context({"svg.hashsalt": "0"}):  # the same rows make the same file
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw(
    axes: "Axes", panel: tuple[str, str], rows: Sequence[Row], colours: Mapping[str, str]
) -> None:
    points = sorted((key[2], ways) for key, ways in points_of(rows).items())
    for way in dict.fromkeys(row.way for row in rows):
        shown = [(strength, ways[way]) for strength, ways in points if way in ways]
        axes.errorbar(
            [strength for strength, _ in shown],
            [mean.value for _, mean in shown],
            [mean.error or 0.0 for _, mean in shown],
            label=way,
            linestyle="--" if way == AS_IS else "-",
            color=colours[way],
            marker="o",
            markersize=3,
            capsize=2,
        )
    axes.set_title(f"{panel[1]}, {panel[0]}", fontsize=10)
    axes.set_xlabel("bits" if panel[1] == "quantisation" else "strength")
    if panel[1] == "quantisation":
        axes.invert_xaxis()  # harder to the right, as in the other panels
    axes.set_ylabel("accuracy, %")
