"""Which line of a chip's driver raised an error: a driver is other people's code.

A driver is told from Tandemcal by its top-level package; what it calls is counted as its own.
"""

import inspect
import traceback

from service.logs import printable
from service.request_errors import DriverLine

_OURS = frozenset({"chip_sim", "ltl_core", "service", "tandemcal"})


def driver_line(error: BaseException, package: str) -> DriverLine | None:
    """Return the innermost line of the package that an error passed; None if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return DriverLine("", error.filename, error.lineno)
    frames = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if top_package(str(frame.f_globals.get("__name__"))) == top_package(package)
    ]
    if not frames:
        return None
    code, line = frames[-1]
    return DriverLine(code.co_qualname, code.co_filename, line)


def package_of(chip: object) -> str | None:
    """Return the top-level package of a chip's driver; None for a chip of Tandemcal's own."""
    package = top_package(type(chip).__module__)
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
    text, name = printable(str(error).strip()).rstrip(". "), type(error).__name__
    return f"{name}: {text}" if text else name


def top_package(module: str) -> str:
    """Return the package of a module that is in no other one."""
    return module.partition(".")[0]
