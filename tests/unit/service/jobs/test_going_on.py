"""Work goes on after an error of one piece of it, but not while the database is away."""

import pytest
from sqlalchemy.exc import DataError, OperationalError

from service.db.isolation import going_on
from service.jobs.periodic import apart


def fail_with(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("a value"), DataError("", {}, Exception())])
def test_an_error_of_one_piece_is_noted_and_not_raised(error: Exception) -> None:
    with going_on() as outcome:
        fail_with(error)
    assert (outcome.error, outcome.failed) == (error, True)
    assert apart(lambda: fail_with(error), "a test: it failed") is None


@pytest.mark.parametrize("error", [OperationalError("", {}, Exception()), SystemExit()])
def test_a_database_that_is_away_and_the_end_of_the_process_are_raised(error: Exception) -> None:
    with pytest.raises(type(error)), going_on():
        fail_with(error)
    with pytest.raises(type(error)):
        apart(lambda: fail_with(error), "a test: it failed")


def test_work_without_an_error_has_none() -> None:
    with going_on() as outcome:
        pass
    assert (outcome.error, outcome.failed) == (None, False)
