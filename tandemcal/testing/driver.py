"""The driver under test: found by name, and named where it raises."""

import importlib
import json
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tandemcal.backend import ChipBackend

Factory = Callable[[str, Mapping[str, Any]], ChipBackend]
_EXPECTED = "name one with --chip MODULE:FACTORY, such as my_lab.driver:make_chip"


class Driver:
    """A factory of chips, called as the service calls it."""

    def __init__(self, name: str | None, settings: str = "{}") -> None:
        """Import the factory. Raises pytest.UsageError where name or settings cannot be used."""
        if name is None:
            raise pytest.UsageError(f"The contract tests need a driver: {_EXPECTED}.")
        self._name = name
        self._factory = _find(name)
        self._settings = _parsed(settings)
        self._package = name.partition(":")[0].partition(".")[0]

    def make(self) -> ChipBackend:
        """Make a chip."""
        return self._factory("chip-under-test", self._settings)

    def name_in(self, error: BaseException) -> None:
        """Note in an error which line of the driver raised it, if the driver did."""
        frames = [
            (frame.f_code, line)
            for frame, line in traceback.walk_tb(error.__traceback__)
            if str(frame.f_globals.get("__name__")).partition(".")[0] == self._package
        ]
        if frames:
            code, line = frames[-1]
            error.add_note(
                f"Raised in the driver {self._name}: {code.co_qualname}, {code.co_filename}:{line}"
            )


def _find(name: str) -> Factory:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise pytest.UsageError(f"'{name}' names no driver: {_EXPECTED}.")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise pytest.UsageError(
            f"The driver '{name}' cannot be imported: {type(error).__name__}: {error}. Install its "
            "project into this environment, or run `python -m pytest` in its folder."
        ) from error
    return factory


def _parsed(settings: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(settings)
    except ValueError as error:
        raise pytest.UsageError(f"--chip-settings is not JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise pytest.UsageError(f"--chip-settings takes a JSON object, not {settings}.")
    return parsed
