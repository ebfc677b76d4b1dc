"""The doctor tells a clock that is wrong from one that is right, and versions that differ."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from service.cli.findings import Outcome
from service.cli.remote_checks import check_clock, check_version
from service.version import code_version

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(0, Outcome.OK), (-4, Outcome.OK), (60, "warning"), (-60, "warning")]
)
def test_a_clock_that_is_wrong_is_named(seconds: int, outcome: Outcome) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    found = check_clock(date, NOW)
    assert found.outcome == outcome
    assert f"{abs(seconds)} s" in found.found


def test_another_version_is_named() -> None:
    assert check_version(code_version()).outcome is Outcome.OK
    assert "0.0.1" in (check_version("0.0.1").advice or "")
