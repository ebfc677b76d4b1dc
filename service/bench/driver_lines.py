"""Which line of a chip's driver raised an error: a driver is other people's code.

A driver is told from Tandemcal by its top-level package; what it calls is counted as its own.
"""

import inspect
import traceback
from typing import NamedTuple

_OURS = frozenset({"chip_sim", "ltl_core", "service", "tandemcal"})
_LONGEST = 300  # letters of another's text in a sentence of ours


class DriverLine(NamedTuple):
    """A place in a driver; the line is None where only the file is known."""

    function: str
    file: str
    line: int | None

    def __str__(self) -> str:
        """Return the function, the file and the line, as far as they are known."""
        parts = (self.function, self.file, self.line and f"line {self.line}")
        return ", ".join(str(part) for part in parts if part)


def driver_line(error: BaseException, package: str) -> DriverLine | None:
    """Return the innermost line of the package that an error passed; None if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return DriverLine("", error.filename, error.lineno)
    frames = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _top(str(frame.f_globals.get("__name__"))) == _top(package)
    ]
    if not frames:
        return None
    code, line = frames[-1]
    return DriverLine(code.co_qualname, code.co_filename, line)


def package_of(chip: object) -> str | None:
    """Return the top-level package of a chip's driver; None for a chip of Tandemcal's own."""
    package = _top(type(chip).__module__)
    return None if package in _OURS else package


def class_line(thing: object) -> DriverLine | None:
    """Return where the class of an object begins; None if its source is not there."""
    kind = type(thing)
    try:
        _, line = inspect.getsourcelines(kind)
        return DriverLine(kind.__qualname__, inspect.getfile(kind), line)
    except (OSError, TypeError):
        return None


def described(error: BaseException) -> str:
    """Return the class and the text of an error, printable and no longer than a sentence."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error)).strip()
    name = type(error).__name__
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"{name}: {short.rstrip('.')}" if short else name


def _top(module: str) -> str:
    return module.partition(".")[0]
