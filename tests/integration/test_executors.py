"""Names of executors on PostgreSQL: each belongs to one living process."""

import pytest

from service.db.session import Database
from service.jobs.errors import ExecutorNameTakenError
from service.jobs.queue.executor import DatabaseLock
from service.settings import Settings

on_postgres = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
pytestmark = on_postgres


def test_a_name_that_was_given_belongs_to_one_process(settings: Settings) -> None:
    first, second = Database(settings.database), Database(settings.database)
    held, wanted = DatabaseLock(first, "bench"), DatabaseLock(second, "bench")
    assert held.acquire() == "bench"
    with pytest.raises(ExecutorNameTakenError, match="Another worker named bench lives"):
        wanted.acquire()
    held.release()
    assert wanted.acquire() == "bench"
    wanted.release()
    first.close()
    second.close()


def test_workers_of_one_machine_are_numbered_and_keep_their_names(settings: Settings) -> None:
    databases = [Database(settings.database) for _ in range(3)]
    locks = [DatabaseLock(database, None) for database in databases]
    names = [lock.acquire() for lock in locks]
    assert names == [names[0], f"{names[0]}-2", f"{names[0]}-3"]
    locks[1].release()
    locks[1] = DatabaseLock(databases[1], None)
    assert locks[1].acquire() == names[1]  # one that starts again has its name again
    for lock, database in zip(locks, databases, strict=True):
        lock.release()
        database.close()


def test_a_lock_that_the_server_forgot_is_taken_again(settings: Settings) -> None:
    first, second = Database(settings.database), Database(settings.database)
    held, wanted = DatabaseLock(first, "bench"), DatabaseLock(second, "bench")
    held.acquire()
    with second.writing() as session:
        session.connection().exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    held.keep()
    with pytest.raises(ExecutorNameTakenError):
        wanted.acquire()
    held.release()
    first.close()
    second.close()
