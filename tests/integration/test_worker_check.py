"""A health check of a worker sees whether that worker lives, not another one."""

from datetime import timedelta

import pytest

from service.cli.worker_check import is_heard
from service.db.repositories.executors import ExecutorRepository
from service.db.session import Database, clock
from service.executor_names import machine_name
from service.settings import Settings

pytestmark = pytest.mark.both_databases


def beat(database: Database, name: str, ago_s: float = 0.0) -> None:
    with database.writing() as session:
        then = clock(session) - timedelta(seconds=ago_s)
        ExecutorRepository(session).beat(name, 1, then)


def test_a_worker_lives_while_its_heartbeats_come(settings: Settings, database: Database) -> None:
    beat(database, machine_name())
    assert is_heard(settings, database)
    beat(database, machine_name(), ago_s=settings.executor_silence_s + 1)
    assert not is_heard(settings, database)


def test_another_worker_says_nothing_about_this_one(settings: Settings, database: Database) -> None:
    beat(database, "another")
    assert not is_heard(settings, database)
    named = settings.model_copy(update={"executor_id": "another"})
    assert is_heard(named, database)
