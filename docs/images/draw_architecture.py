"""Draws the diagrams of the architecture page: processes, packages and one job.

python docs/images/draw_architecture.py

The layers of the packages are read from the import contracts in `pyproject.toml`.
"""

import tomllib
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

FOLDER = Path(__file__).parent
PYPROJECT = FOLDER.parents[1] / "pyproject.toml"
_STYLE = """\
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1b1d20; --dim: #595e66;
  --line: #b9b5aa; --process: #e3eefa; --store: #e5f3ea; --chip: #fbeedb; --plain: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191d; --ink: #e8e5de; --dim: #a2a8b0;
  --line: #565d66; --process: #1d3247; --store: #1d3a2a; --chip: #43331a; --plain: #22272d; } }
text { font-family: system-ui, sans-serif; font-size: 13px; fill: var(--ink);
  paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.title { font-weight: 600; } .inside { stroke: none; }
.small { font-size: 12px; } .dim { fill: var(--dim); }
.paper { fill: var(--paper); } .box { stroke: var(--line); }
.process { fill: var(--process); } .store { fill: var(--store); } .chip { fill: var(--chip); }
.plain { fill: var(--plain); } .frame { fill: none; stroke: var(--line); stroke-dasharray: 5 4; }
.arrow { fill: none; stroke: var(--dim); stroke-width: 1.4; marker-end: url(#head); }
.life { stroke: var(--line); stroke-dasharray: 3 4; } .head { fill: var(--dim); }
"""
_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
)
_LINE = 17  # between two lines of text


class Point(NamedTuple):
    """A place in the drawing, in pixels from its upper left corner."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle in the drawing."""

    x: float
    y: float
    width: float
    height: float


class Drawing:
    """An SVG file that is built element by element."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>{_HEAD}",
            f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
        ]

    def text(self, at: Point, text: str, style: str = "", anchor: str = "middle") -> None:
        """Write one line of text."""
        self._parts.append(
            f'<text x="{at.x:g}" y="{at.y:g}" text-anchor="{anchor}" class="{style}">'
            f"{escape(text)}</text>"
        )

    def rectangle(self, box: Box, style: str) -> None:
        """Draw a rectangle without text."""
        self._parts.append(
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
            f' rx="6" class="{style}"/>'
        )

    def box(self, box: Box, kind: str, title: str, *lines: str) -> None:
        """Draw a rectangle with a title and lines of text, centred."""
        self.rectangle(box, f"box {kind}")
        first = box.y + box.height / 2 + 5 - _LINE * len(lines) / 2
        middle = box.x + box.width / 2
        self.text(Point(middle, first), title, "title inside")
        for number, line in enumerate(lines, start=1):
            self.text(Point(middle, first + number * _LINE), line, "small dim inside")

    def arrow(self, *points: Point) -> None:
        """Draw a line through the points, with a head at the last one."""
        path = " ".join(f"{point.x:g} {point.y:g}" for point in points)
        self._parts.append(f'<path class="arrow" d="M{path}"/>')

    def life(self, start: Point, end: Point) -> None:
        """Draw the dashed line of a participant."""
        self._parts.append(
            f'<line class="life" x1="{start.x:g}" y1="{start.y:g}" x2="{end.x:g}" y2="{end.y:g}"/>'
        )

    def svg(self) -> str:
        """Return the whole file."""
        return "\n".join([*self._parts, "</svg>", ""])


def processes() -> str:
    """Draw the processes of an installation on many machines, and what they exchange."""
    d = Drawing(960, 560, "Processes of an installation and what they exchange")
    d.box(Box(30, 30, 170, 56), "plain", "browser", "session cookie")
    d.box(Box(30, 100, 170, 56), "plain", "script of a lab", "package tandemcal")
    d.box(Box(30, 170, 170, 56), "plain", "command tandemcal", "chips, jobs, probe")
    d.box(
        Box(310, 80, 210, 96), "process", "api", "FastAPI, pages, metrics", "no torch, runs no job"
    )
    d.rectangle(Box(610, 24, 326, 322), "frame")
    d.text(Point(773, 46), "on each machine that runs jobs", "small dim")
    d.box(
        Box(640, 60, 266, 80), "process", "worker", "dispatch, leases, attempts", "planner, upkeep"
    )
    d.box(Box(640, 186, 116, 56), "process", "fork server", "torch is loaded")
    d.box(Box(640, 276, 266, 56), "process", "child process", "one for each job: ltl_core")
    d.box(
        Box(90, 420, 200, 84), "store", "database", "SQLite or PostgreSQL", "rows, engine's queue"
    )
    d.box(Box(330, 420, 190, 84), "store", "artifact store", "safetensors blocks", "by SHA-256")
    d.box(Box(600, 420, 160, 84), "process", "chip agent", "one for each chip", "journal in SQLite")
    d.box(Box(810, 420, 126, 84), "chip", "chip", "or chip_sim")
    for y in (58, 128, 198):
        d.arrow(Point(200, y), Point(310, 128))
    d.text(Point(256, 62), "HTTP, key", "small dim")
    d.arrow(Point(360, 176), Point(220, 420))
    d.text(Point(262, 300), "rows, enqueue,", "small dim", "end")
    d.text(Point(254, 316), "one transaction", "small dim", "end")
    d.arrow(Point(420, 176), Point(420, 420))
    d.text(Point(414, 396), "uploads", "small dim", "end")
    d.arrow(Point(640, 110), Point(560, 110), Point(560, 380), Point(270, 380), Point(270, 420))
    d.text(Point(554, 208), "lease, dispatches,", "small dim", "end")
    d.text(Point(554, 224), "events, weights", "small dim", "end")
    d.arrow(Point(698, 140), Point(698, 186))
    d.arrow(Point(698, 242), Point(698, 276))
    d.text(Point(706, 263), "fork", "small dim", "start")
    d.arrow(Point(850, 140), Point(850, 276))
    d.arrow(Point(850, 276), Point(850, 140))
    d.text(Point(842, 204), "JSON over", "small dim", "end")
    d.text(Point(842, 220), "a pipe", "small dim", "end")
    d.arrow(Point(640, 304), Point(470, 304), Point(470, 420))
    d.text(Point(478, 296), "tensors", "small dim", "start")
    d.arrow(Point(690, 332), Point(690, 420))
    d.text(Point(698, 374), "HTTP: verb, token,", "small dim", "start")
    d.text(Point(698, 390), "safetensors", "small dim", "start")
    d.arrow(Point(760, 462), Point(810, 462))
    d.text(Point(785, 452), "port", "small dim")
    d.arrow(
        Point(620, 504),
        Point(620, 534),
        Point(40, 534),
        Point(40, 260),
        Point(400, 260),
        Point(400, 176),
    )
    d.text(Point(300, 528), "registration, heartbeat (HTTP)", "small dim")
    return d.svg()


def packages(pyproject: Path = PYPROJECT) -> str:
    """Draw the packages with the layers that the import contracts hold, and their imports."""
    columns = {name: layers_of(pyproject, name) for name in ("service", "ltl_core", "chip_sim")}
    heights = {name: _column_height(layers) for name, layers in columns.items()}
    bottom = 150 + max(heights.values())
    d = Drawing(960, int(bottom + 66), "Packages, their layers and their imports")
    d.box(
        Box(20, 20, 600, 60),
        "process",
        "tandemcal",
        "the public interface: re-exports and nothing else",
    )
    x = 20.0
    for name, layers in columns.items():
        d.text(Point(x + 140, 130), name, "title")
        _draw_layers(d, Box(x, 142, 280, 0), layers)
        x += 320
    d.arrow(Point(160, 80), Point(160, 114))
    d.arrow(Point(480, 80), Point(480, 114))
    d.arrow(Point(300, 250), Point(340, 250))
    d.arrow(Point(660, 250), Point(620, 250))
    d.text(Point(800, 40), "chip_sim imports of ltl_core", "small dim")
    d.text(Point(800, 56), "only chip, chip_info, errors, network", "small dim")
    d.arrow(
        Point(160, 142 + heights["service"]),
        Point(160, bottom + 22),
        Point(800, bottom + 22),
        Point(800, 142 + heights["chip_sim"]),
    )
    d.text(Point(480, bottom + 16), "simulated chips", "small dim")
    d.text(Point(480, bottom + 50), "A layer imports from the layers below it only.", "small dim")
    return d.svg()


def layers_of(pyproject: Path, package: str) -> list[str]:
    """Return the layers of a package, the highest first, as its import contract names them."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one.get("containers") == [package])
    return [" · ".join(layer.replace("|", " ").replace(":", " ").split()) for layer in layers]


def _wrapped(layer: str) -> list[str]:
    return wrap(layer, 40, break_long_words=False)


def _column_height(layers: list[str]) -> float:
    return sum(14 + _LINE * len(_wrapped(layer)) + 5 for layer in layers)


def _draw_layers(d: Drawing, column: Box, layers: list[str]) -> None:
    y = column.y
    for layer in layers:
        lines = _wrapped(layer)
        height = 14 + _LINE * len(lines)
        d.rectangle(Box(column.x, y, column.width, height), "box plain")
        for number, line in enumerate(lines):
            d.text(
                Point(column.x + column.width / 2, y + 20 + number * _LINE), line, "small inside"
            )
        y += height + 5


class Message(NamedTuple):
    """One arrow of the sequence: from which participant to which, and what it says."""

    sender: int
    receiver: int
    text: str


_CLIENT, _API, _DATABASE, _WORKER, _CHILD, _CHIP = range(6)
_PARTICIPANTS = (
    ("client", "plain"), ("api", "process"), ("database", "store"),
    ("worker", "process"), ("child process", "process"), ("chip", "chip"),
)  # fmt: skip
_JOB = (
    Message(_CLIENT, _API, "POST /v1/jobs"),
    Message(_API, _DATABASE, "row and place in the queue, one transaction"),
    Message(_API, _CLIENT, "202, Location"),
    Message(_DATABASE, _WORKER, "dispatch, when the chip is free"),
    Message(_WORKER, _DATABASE, "take the lease: token + 1; begin the attempt"),
    Message(_WORKER, _CHILD, "description of the job (JSON)"),
    Message(_CHILD, _CHIP, "place; program the student's codes"),
    Message(_CHILD, _CHIP, "settle; measure before"),
    Message(_CHILD, _CHIP, "run a batch; correct each layer"),
    Message(_CHILD, _CHIP, "write the codes and trims that changed"),
    Message(_CHILD, _WORKER, "progress, checkpoint"),
    Message(_WORKER, _DATABASE, "write WHERE token = mine"),
    Message(_CHILD, _CHIP, "settle; verify on samples not learned from"),
    Message(_CHILD, _CHIP, "not better: write the previous codes again"),
    Message(_CHILD, _WORKER, "result; weights by SHA-256 if better"),
    Message(_WORKER, _DATABASE, "end the job; publish the version; free the chip"),
    Message(_CLIENT, _API, "GET /v1/jobs/ID?wait=60: terminal, result"),
)
_LOOP = (8, 11)  # the first and the last message that are repeated until the budget is spent


def job() -> str:
    """Draw one calibration from the request to the stored weights."""
    step, top = 36, 96
    height = top + step * len(_JOB) + 20
    d = Drawing(1090, height, "One calibration job, from the request to the weights")
    xs = [96 + 178 * number for number in range(len(_PARTICIPANTS))]
    for x, (name, kind) in zip(xs, _PARTICIPANTS, strict=True):
        d.life(Point(x, 58), Point(x, height - 16))
        d.box(Box(x - 62, 22, 124, 36), kind, name)
    loop_top = top + step * _LOOP[0] - 30
    loop_height = step * (_LOOP[1] - _LOOP[0] + 1) + 2
    d.rectangle(Box(xs[_DATABASE] - 30, loop_top, 610, loop_height), "frame")
    d.text(
        Point(xs[_DATABASE] - 38, loop_top + 16), "until the budget is spent", "small dim", "end"
    )
    for number, message in enumerate(_JOB):
        y = top + step * number
        start, end = xs[message.sender], xs[message.receiver]
        d.arrow(Point(start, y), Point(end, y))
        d.text(Point((start + end) / 2, y - 6), message.text, "small")
    return d.svg()


DIAGRAMS = {"processes.svg": processes, "packages.svg": packages, "job.svg": job}


def main() -> None:
    """Write all diagrams beside this file."""
    for name, draw in DIAGRAMS.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
