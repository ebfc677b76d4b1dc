"""The pytest plugin of the contract tests: the options that name a driver."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--chip` and `--chip-settings`."""
    group = parser.getgroup("tandemcal", "contract tests of chip drivers (tandemcal.testing)")
    group.addoption(
        "--chip",
        metavar="MODULE:FACTORY",
        help="Factory of the chip to test, called with a chip id and the settings.",
    )
    group.addoption(
        "--chip-settings",
        metavar="JSON",
        default="{}",
        help="Settings for the factory, a JSON object [default: %(default)s].",
    )
