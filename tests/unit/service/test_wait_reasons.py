"""A stored reason is shown while it holds, and no longer."""

from datetime import UTC, datetime, timedelta

import pytest

from service.wait_reasons import (
    BUSY,
    LEASE_GONE,
    WAS_OFFLINE,
    WORKER_STOPPED,
    Situation,
    current_reason,
    offline,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LACKS = "The service lacks room on its disk."


def test_a_chip_that_is_back_is_not_called_offline() -> None:
    stored = offline("its agent at http://a was last heard of at noon")
    assert current_reason(stored, Situation(silent="no agent"), NOW) == offline("no agent")
    assert current_reason(stored, Situation(), NOW) is None


def test_a_chip_that_went_offline_since_is_called_so() -> None:
    assert current_reason(None, Situation(silent="no agent"), NOW) == offline("no agent")
    assert current_reason(None, Situation(), NOW) is None  # the control


def test_a_chip_is_busy_while_a_job_drives_it() -> None:
    assert current_reason(BUSY, Situation(driven=True), NOW) == BUSY
    assert current_reason(BUSY, Situation(held_until=NOW - 60 * SECOND), NOW) is None


@pytest.mark.parametrize("field", ["held_until", "called_at"])
def test_what_was_lacking_is_said_until_the_job_is_looked_at_again(field: str) -> None:
    def shown(seconds: int) -> str | None:
        at = NOW + seconds * SECOND
        held = Situation(held_until=at) if field == "held_until" else Situation(called_at=at)
        return current_reason(LACKS, held, NOW)

    assert (shown(20), shown(-1)) == (LACKS, LACKS)
    assert shown(-60) is None  # something else holds it up


@pytest.mark.parametrize("reason", [WAS_OFFLINE, WORKER_STOPPED, LEASE_GONE])
def test_how_the_last_attempt_ended_stays(reason: str) -> None:
    assert current_reason(reason, Situation(called_at=NOW - 60 * SECOND), NOW) == reason
