"""Parts of a fleet die or freeze at random; every job ends as it should, and nothing is doubled."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import make_url

from service.bench.call_log import LoggedCall, read_calls
from service.db.migrate import upgrade
from service.db.tables import Event, Job, WeightVersion
from service.states import TERMINAL, JobStatus
from tests.chaos.storm import LONG, SHORT, Fault, Scale, Wish, blows, wishes
from tests.chaos.town import Town, a_town, storming
from tests.integration.jobs_lab import Seeded, until
from tests.postgres import as_text, embedded_server

SEED = int(os.environ.get("TANDEMCAL_CHAOS_SEED", "1"))
SCALE = LONG if os.environ.get("TANDEMCAL_CHAOS") == "long" else SHORT
_LAST_ATTEMPT = 3


class After(NamedTuple):
    """What a storm left."""

    asked: list[Wish]
    jobs: list[Job]
    events: list[Event]
    versions: list[WeightVersion]
    holders: list[str]
    calls: list[LoggedCall]


@pytest.fixture(scope="module")
def after(
    seeded_lab: tuple[Path, Seeded], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[After]:
    with embedded_server() as server:
        template = make_url(as_text(server.create()))
        upgrade(as_text(template))
        root = tmp_path_factory.mktemp("storm")
        with a_town(server, str(template.database), seeded_lab, root, SCALE) as town:
            yield ride_out(town, SEED, SCALE)


def ride_out(town: Town, seed: int, scale: Scale) -> After:
    """Ask for all jobs while it storms, and wait until the last has ended."""
    asked = wishes(seed, scale)
    with storming(town, blows(seed, scale)):
        ids = [town.ask_for(wish, f"wish {number}") for number, wish in enumerate(asked)]

    def over() -> bool:
        return all(job.status in TERMINAL for job in town.jobs(ids))

    until(over, "every job has ended", scale.patience)
    until(lambda: not holders(town), "every chip is free", scale.patience)
    return After(
        asked,
        town.jobs(ids),
        town.events(),
        town.versions(),
        holders(town),
        read_calls(town.calls),
    )


def holders(town: Town) -> list[str]:
    return [str(lease.holder) for lease in town.leases() if lease.holder is not None]


def test_every_job_ends_as_it_should(after: After) -> None:
    for wish, job in zip(after.asked, after.jobs, strict=True):
        if job.status == JobStatus.FAILED:
            broken = [e for e in after.events if e.job_id == job.id and e.type == "job.interrupted"]
            assert len(broken) == _LAST_ATTEMPT, job.reason
        elif job.status == JobStatus.CANCELLED:
            assert wish.cancelled, job.reason
        else:
            assert job.status == JobStatus.SUCCEEDED, job.reason
    succeeded = sum(job.status == JobStatus.SUCCEEDED for job in after.jobs)
    assert succeeded > 0.8 * sum(not wish.cancelled for wish in after.asked)


def test_no_two_holders_drove_one_chip(after: After) -> None:
    assert {call.token for call in after.calls}
    assert out_of_turn(after.calls) == []


def test_an_old_token_among_the_calls_would_be_seen(after: After) -> None:
    by_chip = Counter(call.chip for call in after.calls)
    chip = max(by_chip, key=lambda name: by_chip[name])
    last = max((call for call in after.calls if call.chip == chip), key=lambda call: call.began)
    late = last._replace(token=last.token - 1, began=last.ended + 1, ended=last.ended + 2)
    assert out_of_turn([*after.calls, late]) == [late]


def test_nothing_is_told_twice_or_left_out(after: After) -> None:
    for job in after.jobs:
        told = [event for event in after.events if event.job_id == job.id]
        assert max(Counter((event.type, event.key) for event in told).values()) == 1
        types = Counter(event.type for event in told)
        assert (types["job.queued"], types["job.ended"]) == (1, 1)
        assert told[-1].type == "job.ended"


def test_every_version_was_published_once(after: After) -> None:
    published = Counter(event.job_id for event in after.events if event.type == "weights.published")
    assert published == Counter(version.job_id for version in after.versions)
    numbers: dict[str, list[int]] = {}
    for version in after.versions:
        numbers.setdefault(version.chip_id, []).append(version.version)
    for found in numbers.values():
        assert sorted(found) == list(range(1, len(found) + 1))
    promised = [job.id for job in after.jobs if (job.result or {}).get("published")]
    assert sorted(promised) == sorted(version.job_id for version in after.versions)


def test_no_lease_is_left(after: After) -> None:
    assert after.holders == []


def test_the_same_seed_is_the_same_storm() -> None:
    assert blows(SEED, SCALE) == blows(SEED, SCALE)
    assert wishes(SEED, SCALE) == wishes(SEED, SCALE)
    assert blows(SEED, SCALE) != blows(SEED + 1, SCALE)
    assert {blow.fault for blow in blows(SEED, SCALE)} == set(Fault)


def out_of_turn(calls: list[LoggedCall]) -> list[LoggedCall]:
    """Calls that began after a newer holder's, or before an older one's had ended."""
    wrong: list[LoggedCall] = []
    newest: dict[str, LoggedCall] = {}
    for call in sorted(calls, key=lambda call: call.began):
        before = newest.setdefault(call.chip, call)
        overlaps = call.token > before.token and call.began < before.ended
        if call.token < before.token or overlaps:
            wrong.append(call)
        else:
            newest[call.chip] = call
    return wrong
