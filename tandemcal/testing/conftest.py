"""The chip that the contract tests meet: the one that `--chip` names."""

from collections.abc import Generator, Iterator

import pytest

from tandemcal.backend import ChipBackend
from tandemcal.testing.driver import Driver
from tandemcal.testing.networks import other_network, oversized, placement

__all__ = ["chip", "driver", "oversized", "placement"]


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Stop before the first test where no driver, or none that can be imported, is named."""
    _driver_of(config)


@pytest.fixture(scope="session")
def driver(pytestconfig: pytest.Config) -> Driver:
    """The driver that `--chip` names."""
    return _driver_of(pytestconfig)


@pytest.fixture
def chip(driver: Driver) -> Iterator[ChipBackend]:
    """A chip of the driver, on which another network than that of the tests was placed."""
    made = driver.make()
    made.place(other_network())
    yield made
    close = getattr(made, "close", None)
    if close is not None:
        close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name the driver in an error that it raised."""
    if call.excinfo is not None:
        _driver_of(item.config).name_in(call.excinfo.value)
    return (yield)


def _driver_of(config: pytest.Config) -> Driver:
    return Driver(config.getoption("--chip", None), config.getoption("--chip-settings", "{}"))
