"""The child process that opens a driver: whatever the driver does, it harms this process alone.

It reads `request.json` in a folder of its own and writes `answer.json`; `trace.txt` gets the lines
of all threads where it crashes or takes too long.
"""

import faulthandler
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltl_core.chip import ChipBackend, ChipInfo
from ltl_core.chip_info import info_to_json
from service.bench.driver_lines import class_line, described, top_package
from service.bench.drivers import Driver
from service.bench.protocol.chip_info import parse_chip_info
from service.request_errors import DriverFailedError, DriverLine

REQUEST, ANSWER, TRACE = "request.json", "answer.json", "trace.txt"
_METHODS = tuple(name for name in vars(ChipBackend) if not name.startswith("_") and name != "info")


def main(folder: str) -> None:
    """Open the driver of the request, and write what it says of its chip or why it failed."""
    request = json.loads((Path(folder) / REQUEST).read_text())
    with (Path(folder) / TRACE).open("w") as trace:
        faulthandler.enable(trace)
        faulthandler.dump_traceback_later(request["limit_s"], exit=True, file=trace)
        answer = _answer(Driver(*request["driver"]), request["chip_id"], request["settings"])
        (Path(folder) / ANSWER).write_text(json.dumps(answer))
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()


def _answer(driver: Driver, chip_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"info": open_and_close(driver, chip_id, settings)}
    except DriverFailedError as error:
        return {"reason": error.reason, "place": (error.function, error.file, error.line)}


def open_and_close(driver: Driver, chip_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make a chip by the driver, check it and close it; return its information as JSON.

    Raises DriverFailedError.
    """
    factory = driver.load()
    try:
        chip: Any = factory(chip_id, settings)
        info = _checked_info(driver, chip)
        if callable(close := getattr(chip, "close", None)):
            close()
    except DriverFailedError:
        raise
    except BaseException as error:  # also SystemExit: the process ends with the answer anyway
        raise driver.failed(described(error), error) from error
    return info


def _checked_info(driver: Driver, chip: Any) -> dict[str, Any]:
    """Return what a chip says of itself. Raises DriverFailedError, and what the chip raises."""
    missing = [name for name in _METHODS if not callable(getattr(chip, name, None))]
    if missing:
        what = f"its {type(chip).__name__} has no {', '.join(missing)}"
        raise DriverFailedError(driver.name, what, _class_of(driver, chip))
    info = chip.info
    if not isinstance(info, ChipInfo):
        what = f"`info` of its {type(chip).__name__} is no ChipInfo but {type(info).__name__}"
        raise DriverFailedError(driver.name, what, _class_of(driver, chip))
    try:
        said = info_to_json(info)
        parse_chip_info(said)
        json.dumps(said)
    except (ValueError, TypeError, AttributeError) as error:
        raise DriverFailedError(driver.name, str(error), _class_of(driver, chip)) from error
    return said


def _class_of(driver: Driver, chip: object) -> DriverLine | None:
    """Return where the chip's class begins, if the driver wrote it."""
    own = top_package(type(chip).__module__) == top_package(driver.module)
    return class_line(chip) if own else None
