"""A chip has one driver at a time, and every driver a higher token."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.db.tables import Chip, ChipLease

pytestmark = pytest.mark.both_databases
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TTL = timedelta(seconds=10)


def add_chip(database: Database, chip_id: str = "chip") -> None:
    with database.writing() as session:
        session.add(
            Chip(
                id=chip_id,
                name=chip_id,
                backend="simulated",
                settings={},
                info={},
                health="unknown",
                created_at=NOON,
            )
        )
        session.flush()
        session.add(ChipLease(chip_id=chip_id, token=0, expires_at=NOON))


def take(database: Database, holder: str, now: datetime = NOON) -> int | None:
    with database.writing() as session:
        return LeaseRepository(session).take("chip", holder, f"job of {holder}", TTL, now)


def test_a_held_chip_is_not_taken(database: Database) -> None:
    add_chip(database)
    assert take(database, "a") == 1
    assert take(database, "b", NOON + TTL) is None


def test_a_lease_that_ran_out_is_taken_with_a_higher_token(database: Database) -> None:
    add_chip(database)
    take(database, "a")
    assert take(database, "b", NOON + TTL + timedelta(microseconds=1)) == 2
    with database.writing() as session:
        leases = LeaseRepository(session)
        assert not leases.renew("chip", 1, TTL, NOON)
        assert not leases.release("chip", 1)
        lease = leases.get("chip")
        assert lease is not None
        assert (lease.holder, lease.job_id) == ("b", "job of b")


def test_a_renewed_lease_lasts_longer(database: Database) -> None:
    add_chip(database)
    take(database, "a")
    with database.writing() as session:
        assert LeaseRepository(session).renew("chip", 1, TTL, NOON + TTL)
    assert take(database, "b", NOON + 1.5 * TTL) is None


def test_a_released_chip_is_free_at_once(database: Database) -> None:
    add_chip(database)
    take(database, "a")
    with database.writing() as session:
        assert LeaseRepository(session).release("chip", 1)
    assert take(database, "b") == 2


def test_an_executor_that_starts_anew_lets_go_of_its_chips(database: Database) -> None:
    add_chip(database)
    take(database, "a")
    with database.writing() as session:
        assert LeaseRepository(session).release_held_by("b") == []
        assert LeaseRepository(session).release_held_by("a") == ["chip"]
    assert take(database, "b") == 2


def test_of_many_who_reach_for_a_chip_one_gets_it(database: Database) -> None:
    add_chip(database)
    tokens: list[int | None] = []
    start = threading.Barrier(8)

    def reach(name: str) -> None:
        start.wait()
        for _ in range(5):
            tokens.append(take(database, name))

    threads = [threading.Thread(target=reach, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 40
    assert [token for token in tokens if token is not None] == [1]
