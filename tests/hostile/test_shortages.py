"""A service that lacks descriptors, memory or disk: its jobs wait, and lose no attempt."""

import errno
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from service.db.repositories.events import EventRepository
from service.db.session import Database
from service.jobs.attempts.attempt import INTERRUPTED
from service.jobs.attempts.attempt_runner import AttemptRunner
from service.jobs.attempts.fork_server import ForkServer
from service.jobs.kinds.registry import KINDS
from service.jobs.messages import Ended
from service.settings import Settings
from service.shortage import ShortageError, lack_of
from service.states import JobStatus
from tests.integration.jobs.begun import begun, dispatched, job_of, now
from tests.integration.jobs.test_attempts import holder_of, run
from tests.unit.service.jobs.test_child import done

SHORT = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC]


def failed_children(monkeypatch: pytest.MonkeyPatch, error: Exception) -> ForkServer:
    """A fork server whose next process fails to start."""
    server = ForkServer()

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(type(server._context), "Process", fail, raising=False)
    return server


@pytest.mark.parametrize("number", SHORT, ids=errno.errorcode.get)
def test_a_job_whose_child_cannot_be_started_waits(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    attempt = begun(database, dispatched(database, "job"))
    children: Any = failed_children(monkeypatch, OSError(number, os.strerror(number)))
    AttemptRunner(settings, database, KINDS, children, threading.Event()).run(attempt)
    check_that_it_waits(database)


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError()])
def test_so_does_one_whose_fork_server_ended(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    attempt = begun(database, dispatched(database, "job"))
    children: Any = failed_children(monkeypatch, error)
    AttemptRunner(settings, database, KINDS, children, threading.Event()).run(attempt)
    check_that_it_waits(database)


def test_a_job_in_whose_child_something_of_the_service_ran_out_waits_and_frees_its_chip(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.attempts.describe.Describer._chip", lambda *_: None)
    attempt = begun(database, dispatched(database, "job", "chip", kind="train"))
    short = ShortageError("file descriptors")
    ended = Ended(status=JobStatus.FAILED, reason=str(short), error=type(short).__name__)
    run(settings, database, attempt, [ended])
    check_that_it_waits(database)
    assert holder_of(database, "chip") is None


def test_another_error_of_the_child_ends_the_job(settings: Settings, database: Database) -> None:
    attempt = begun(database, dispatched(database, "job"))
    run(settings, database, attempt, [Ended(status=JobStatus.FAILED, error="OSError")])
    assert job_of(database, "job").status == JobStatus.FAILED


def check_that_it_waits(database: Database) -> None:
    job = job_of(database, "job")
    assert job.status in (JobStatus.QUEUED, JobStatus.WAITING_FOR_CHIP)
    assert "lacks" in str(job.reason)
    assert job.called_at is None
    assert job.held_until is not None
    assert job.held_until > now()
    with database.reading() as session:
        assert EventRepository(session).after(0, job_id="job", types=[INTERRUPTED]) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ENFILE])
def test_a_child_says_what_the_service_lacks(tmp_path: Any, number: int) -> None:
    ended, _ = done("run_out", tmp_path, number=number)
    assert ended.error == "ShortageError"


def test_what_is_a_shortage() -> None:
    assert lack_of(OSError(errno.EMFILE, "")) == "file descriptors"
    assert lack_of(OSError(errno.EACCES, "")) is None
    assert lack_of(ValueError("x")) is None


# A child of the fork server, as jobs are: which of the parent's open files it has.
HOLDS = """
import json, os, socket, sqlite3, sys
from multiprocessing import get_context
from tests.hostile.open_files import open_files, report

listener = socket.create_server(("127.0.0.1", 0))
database = sqlite3.connect(sys.argv[1])
database.execute("CREATE TABLE a (b)")
ours, theirs = get_context("forkserver").Pipe()
child = get_context("forkserver").Process(target=report, args=(theirs,))
child.start()
found = ours.recv()
child.join()
own = open_files()
print(json.dumps({"parent": own, "child": found, "listener": os.fstat(listener.fileno()).st_ino}))
"""


def test_a_child_holds_neither_the_listener_nor_the_database(tmp_path: Any) -> None:
    path = tmp_path / "a.sqlite"
    words = [sys.executable, "-c", HOLDS, str(path)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    listener = f"socket:[{found['listener']}]"
    assert {listener, str(path)} <= set(found["parent"])
    assert not {listener, str(path)} & set(found["child"])
