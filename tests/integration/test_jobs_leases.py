"""Leases of chips: one holder at a time, and whoever lost one writes nothing."""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest

from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.errors import AttemptSupersededError
from service.jobs.attempts.attempt import (
    DispatchTicket,
    Holder,
    Refusal,
    begin_attempt,
    leave_attempt,
    lose_attempt,
)
from service.jobs.errors import JobTakenOverError
from service.states import JobStatus
from tests.integration.jobs_lab import Lab
from tests.integration.lab_seed import new_id, now
from tests.integration.started_jobs import queued, started

SECOND = timedelta(seconds=1)


class Holding(NamedTuple):
    token: int
    began: float
    ended: float


def test_hammered_by_many_a_lease_has_one_holder_at_a_time(lab: Lab) -> None:
    chip, holdings = lab.chip("hammered"), list[Holding]()

    def hammer(name: str) -> None:
        database = Database(lab.settings.database)
        rng = random.Random(name)
        mine: list[Holding] = []
        for _ in range(2000):  # a lease that is never given back must not hang the tests
            holding = drive_once(database, chip, name, rng.random() * 0.004)
            mine.extend([holding] if holding else [])
            if len(mine) == 4:
                break
        holdings.extend(mine)
        database.close()

    together([lambda name=f"w{n}": hammer(name) for n in range(8)])  # type: ignore[misc]
    holdings.sort()
    assert len(holdings) == 8 * 4
    assert all(earlier.ended <= later.began for earlier, later in pairwise(holdings))
    assert [holding.token for holding in holdings] == list(range(1, len(holdings) + 1))


def test_the_trace_would_show_two_holders(lab: Lab) -> None:
    """The control: a lease that expires while it is held lets another in."""
    chip, holdings = lab.chip("too short"), list[Holding]()

    def hold(name: str) -> None:
        database = Database(lab.settings.database)
        for _ in range(5):
            holding = drive_once(database, chip, name, 0.05, ttl=timedelta(milliseconds=5))
            holdings.extend([holding] if holding else [])
        database.close()

    together([lambda name=f"w{n}": hold(name) for n in range(4)])  # type: ignore[misc]
    holdings.sort()
    assert any(later.began < earlier.ended for earlier, later in pairwise(holdings))


def test_whoever_lost_the_lease_writes_nothing(lab: Lab) -> None:
    chip = lab.chip("fenced")
    job = queued(lab, chip)
    attempt = started(lab, job, "slow", ttl=timedelta(0))
    second = started(lab, job, "quick", ttl=60 * SECOND)
    assert second.token == attempt.token + 1
    with lab.database.writing() as session, pytest.raises(AttemptSupersededError):
        JobRepository(session).write_progress(job, attempt.token, {"phase": "x"}, {}, now())
    with lab.database.writing() as session, pytest.raises(AttemptSupersededError):
        JobRepository(session).end(job, attempt.token, JobStatus.SUCCEEDED, None, {}, now())
    with lab.database.writing() as session:
        assert not leave_attempt(session, attempt, "too late", now())
        assert not LeaseRepository(session).renew(chip, attempt.token, SECOND, now())
        JobRepository(session).write_progress(job, second.token, {"phase": "x"}, {}, now())
    assert lab.lease(chip).holder == "quick"
    assert lab.job(job).status == JobStatus.RUNNING


def test_a_job_waits_while_its_chip_is_held(lab: Lab) -> None:
    chip = lab.chip("held")
    started(lab, queued(lab, chip), "first", ttl=60 * SECOND)
    waiting = queued(lab, chip)
    with lab.database.writing() as session:
        holder = Holder("second", SECOND)
        assert begin_attempt(session, DispatchTicket(waiting, 1), holder, now()) is Refusal.LATER
    assert lab.job(waiting).status == JobStatus.WAITING_FOR_CHIP
    assert lab.job(waiting).called_at is None


def test_a_job_whose_workers_die_is_given_up_after_three(lab: Lab) -> None:
    chip = lab.chip("deadly")
    job = queued(lab, chip)
    for number in range(1, 4):
        attempt = started(lab, job, f"worker {number}", ttl=timedelta(0))
        assert (attempt.job.attempt, attempt.token) == (number, number)
    with lab.database.writing() as session:
        holder = Holder("worker 4", SECOND)
        assert begin_attempt(session, DispatchTicket(job, 1), holder, now()) is Refusal.OVER
    done = lab.job(job)
    assert (done.status, done.attempt) == (JobStatus.FAILED, 3)
    assert "died 3 times" in (done.reason or "")
    assert len(lab.events(job, "job.interrupted")) == 3
    assert lab.lease(chip).holder is None


def test_a_job_that_is_driven_elsewhere_is_let_go(lab: Lab) -> None:
    job = queued(lab, lab.chip("taken over"))
    frozen = started(lab, job, "frozen", ttl=timedelta(0))
    started(lab, job, "quick", ttl=60 * SECOND)
    with pytest.raises(JobTakenOverError), lab.database.writing() as session:
        lose_attempt(session, frozen, now())
    assert lab.job(job).executor_id == "quick"
    assert lab.events(job, "lease.lost") == []


def drive_once(
    database: Database, chip: str, name: str, held: float, ttl: timedelta = 60 * SECOND
) -> Holding | None:
    with database.writing() as session:
        token = LeaseRepository(session).take(chip, name, new_id(), ttl, now())
    if token is None:
        time.sleep(0.002)
        return None
    began = time.monotonic()
    time.sleep(held)
    ended = time.monotonic()
    with database.writing() as session:
        LeaseRepository(session).release(chip, token)
    return Holding(token, began, ended)


def together(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
