"""Drivers by their names: those of the settings, and those that installed packages declare."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from service.bench.driver_lines import described, driver_line
from service.request_errors import DriverFailedError, UnknownChipBackendError

if TYPE_CHECKING:  # to find a driver needs no torch; to open it may
    from ltl_core.chip import ChipBackend

ENTRY_POINTS = "tandemcal.chip_backends"
SIMULATED = "simulated"
HTTP = "http"

Factory = Callable[[str, Mapping[str, Any]], "ChipBackend"]


class Driver(NamedTuple):
    """The name of a driver, and where its factory is."""

    name: str
    module: str
    attribute: str

    def load(self) -> Factory:
        """Import the factory. Raises DriverFailedError, with the driver's line if one raised."""
        try:
            found: Any = importlib.import_module(self.module)
            for part in self.attribute.split("."):
                found = getattr(found, part)
        except Exception as error:  # another's module may raise anything
            reason = f"it cannot be imported: {described(error)}"
            raise self.failed(reason, error) from error
        factory: Factory = found
        return factory

    def open(self, chip_id: str, settings: Mapping[str, Any]) -> "ChipBackend":
        """Make a chip. Raises DriverFailedError, with the driver's line if one raised."""
        factory = self.load()
        try:
            return factory(chip_id, settings)
        except Exception as error:  # another's factory may raise anything
            raise self.failed(described(error), error) from error

    def failed(self, reason: str, error: BaseException) -> DriverFailedError:
        """Return the refusal of this driver, with the line of it that an error passed last."""
        return DriverFailedError(self.name, reason, driver_line(error, self.module))


def is_driver(backend: str) -> bool:
    """Return whether a chip of this backend is opened by a driver in this process."""
    return backend not in (SIMULATED, HTTP)


def find_driver(name: str, backends: Mapping[str, str]) -> Driver:
    """Return the driver of this name; `backends` names further ones as "module:factory".

    Raises UnknownChipBackendError.
    """
    if name in backends:
        module, _, attribute = backends[name].partition(":")
        return Driver(name, module, attribute)
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in installed:
        raise UnknownChipBackendError(name, _known(backends, installed))
    return Driver(name, installed[name].module, installed[name].attr)


def _known(backends: Iterable[str], installed: Iterable[str]) -> tuple[str, ...]:
    return (SIMULATED, *sorted({*backends, *installed}))
