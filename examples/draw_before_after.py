"""Plots the demo's result: accuracy of every chip before and after, and of the golden student.

python examples/draw_before_after.py demo-out/result.json docs/images/before-after.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BEFORE, AFTER, GOLDEN = "#d1603d", "#2a6f97", "#6b7280"


def main(source: Path, picture: Path) -> None:
    """Read the demo's result and write the picture, as SVG or PNG by its name."""
    matplotlib.rcParams.update({"font.family": "sans-serif", "font.size": 11, "svg.hashsalt": "0"})
    chips = json.loads(source.read_text())["chips"]
    figure = Figure(figsize=(8.4, 0.62 * len(chips) + 1.3), layout="constrained")
    draw(figure.add_subplot(), chips)
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def draw(axes: Axes, chips: list[dict[str, Any]]) -> None:
    """Draw a row for each chip: a dot before, a dot after; a line marks the golden student."""
    for row, chip in enumerate(reversed(chips)):
        before, after = 100 * chip["before"], 100 * chip["after"]
        axes.plot([before, after], [row, row], color="#cbd5e1", linewidth=6, zorder=1)
        axes.scatter([before], [row], s=90, color=BEFORE, zorder=2)
        axes.scatter([after], [row], s=90, color=AFTER, zorder=3)
        text = f"{before:.1f} % → {after:.1f} %"
        axes.text(min(before, after) - 1.2, row, text, ha="right", va="center")
    golden = 100 * chips[0]["golden"]
    axes.axvline(golden, color=GOLDEN, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.text(golden, len(chips) - 0.4, f"golden student {golden:.1f} %", ha="right", color=GOLDEN)
    names = [chip["chip"].removeprefix("bench-") for chip in reversed(chips)]
    axes.set_yticks(range(len(chips)), names)
    lowest = 100 * min(chip["before"] for chip in chips)
    axes.set_xlim(max(0.0, lowest - 18), 101)
    axes.set_ylim(-0.6, len(chips) - 0.1)
    axes.set_xlabel("accuracy on held-out digits, %: as the chip came, and calibrated")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
