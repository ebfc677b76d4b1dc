"""A temporary failure is logged in one line, and every failure with its reason."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError

from service.db.session import Database
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.queue.maintenance import QueueMaintenance
from service.logs import configure_logging, in_a_line, printable, warn_in_a_line

AWAY = OperationalError("SELECT 1", {"key": "s3cret"}, OSError("server closed\n\tthe line"))


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is of the whole process."""
    engine = logging.getLogger("dbos")
    before = engine.handlers, engine.propagate, engine.level
    yield
    structlog.reset_defaults()
    engine.handlers, engine.propagate, engine.level = before


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_database_error_is_logged_in_the_words_of_the_driver() -> None:
    assert in_a_line(AWAY) == "OSError: server closed"
    assert in_a_line(ValueError()) == "ValueError"


@pytest.mark.parametrize(("level", "tracebacks"), [("info", 0), ("debug", 1)])
def test_a_traceback_is_for_those_who_debug(
    level: str, tracebacks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level, as_json=True)
    warn_in_a_line("service", "it broke off", AWAY, job_id="one")
    first, *more = lines(capsys)
    fields = {name: first[name] for name in ("event", "error", "job_id", "level")}
    assert fields == {
        "event": "it broke off",
        "error": "OSError: server closed",
        "job_id": "one",
        "level": "warning",
    }
    assert (
        sum("sqlalchemy.exc.OperationalError" in line["exception"] for line in more) == tracebacks
    )


def test_queue_maintenance_without_a_database_logs_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", as_json=True)
    database = Database(f"sqlite:///{tmp_path / 'never-migrated.sqlite'}")
    queue = DbosQueue(database, timedelta(seconds=15))
    QueueMaintenance(database, queue, timedelta(seconds=15)).run_once()
    (line,) = lines(capsys)
    assert (
        line["event"]
        == "queue maintenance failed, waiting jobs are not dispatched until the next look"
    )
    assert line["error"].startswith("OperationalError: no such table")
    queue.close()
    database.close()


def test_the_engine_s_tracebacks_become_lines_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", as_json=True)
    trace = "Traceback (most recent call last):\n  File x, line 1\n"
    engine = logging.getLogger("dbos")
    engine.warning(f"Exception polling schedules: {trace}psycopg.OperationalError: refused\n(hint)")
    engine.warning("Exception in queue thread: refused\n\tIs the server running?")
    engine.debug("unheard")
    assert [line["event"] for line in lines(capsys)] == [
        "Exception polling schedules: psycopg.OperationalError: refused",
        "Exception in queue thread: refused",
    ]


def test_another_s_text_stays_on_one_line_and_is_no_longer_than_a_sentence() -> None:
    assert printable("a chip\n\x1b[31m, µS") == "a chip  [31m, µS"
    assert printable("x" * 300) == "x" * 300
    assert printable("x" * 301) == "x" * 300 + "..."
