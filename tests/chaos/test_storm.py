"""Parts of a fleet die or freeze at random; every job ends as it should, and nothing is doubled.

TANDEMCAL_CHAOS=long is the large form, TANDEMCAL_CHAOS_SEED another schedule.
"""

import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from sqlalchemy import make_url

from service.bench.agent.call_log import LoggedCall
from service.db.migrate import upgrade
from service.jobs.attempts.attempt import INTERRUPTIONS_MAX
from service.states import JobStatus
from tests.chaos.fault_schedule import FAULTS, LONG, SHORT, fault_schedule, job_requests
from tests.chaos.fleet_under_test import fleet_under_test
from tests.chaos.outcome import Outcome, run_schedule
from tests.integration.jobs_lab import SeededLab
from tests.postgres import as_text, embedded_server

SEED = int(os.environ.get("TANDEMCAL_CHAOS_SEED", "1"))
SCALE = LONG if os.environ.get("TANDEMCAL_CHAOS") == "long" else SHORT


@pytest.fixture(scope="module")
def after(seeded_lab: SeededLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with embedded_server() as server:
        template = make_url(as_text(server.create()))
        upgrade(as_text(template))
        root = tmp_path_factory.mktemp("storm")
        with fleet_under_test(server, str(template.database), seeded_lab, root, SCALE) as fleet:
            yield run_schedule(fleet, SEED, SCALE)


def test_every_job_ends_as_it_should(after: Outcome) -> None:
    for request, job in zip(after.asked, after.jobs, strict=True):
        if job.status == JobStatus.FAILED:
            broken = [e for e in after.events_of(job.id) if e.type == "job.interrupted"]
            assert len(broken) == INTERRUPTIONS_MAX, job.reason
        elif job.status == JobStatus.CANCELLED:
            assert request.cancelled, job.reason
            assert job.cancel_requested_at is not None
        else:
            assert job.status == JobStatus.SUCCEEDED, job.reason
            assert "accuracy" in (job.result or {})
    succeeded = sum(job.status == JobStatus.SUCCEEDED for job in after.jobs)
    assert succeeded > 0.8 * sum(not request.cancelled for request in after.asked)


def test_no_two_holders_drove_one_chip(after: Outcome) -> None:
    assert {call.token for call in after.calls}
    assert overlapping_calls(after.calls) == []


def test_an_old_token_among_the_calls_would_be_seen(after: Outcome) -> None:
    by_chip = Counter(call.chip for call in after.calls)
    chip = max(by_chip, key=lambda name: by_chip[name])
    last = max((call for call in after.calls if call.chip == chip), key=lambda call: call.began)
    late = last._replace(token=last.token - 1, began=last.ended + 1, ended=last.ended + 2)
    assert overlapping_calls([*after.calls, late]) == [late]


def test_what_was_published_was_driven_under_its_token(after: Outcome) -> None:
    names = {chip_id: name for name, chip_id in after.chips.items()}
    wrote = {(call.chip, call.token) for call in after.calls if call.verb == "write"}
    assert {(names[version.chip_id], version.token) for version in after.versions} <= wrote


def test_nothing_is_told_twice_or_left_out(after: Outcome) -> None:
    for job in after.jobs:
        emitted = after.events_of(job.id)
        assert max(Counter((event.type, event.key) for event in emitted).values()) == 1
        assert [e.key for e in emitted if e.type == "job.queued"] == ["0"]
        started = [event.data["attempt"] for event in emitted if event.type == "job.started"]
        assert started == list(range(1, job.attempt + 1))
        ended = {"status": job.status, "reason": job.reason, "result": job.result}
        assert [e.data for e in emitted if e.type == "job.ended"] == [ended]
        assert emitted[-1].type == "job.ended"


def test_readers_were_told_every_event_once_and_in_order(after: Outcome) -> None:
    assert after.readers
    for reader in after.readers:
        assert reader.read == [event.seq for event in after.events_of(reader.job_id)]


def test_every_version_was_published_once(after: Outcome) -> None:
    published = Counter(event.job_id for event in after.events if event.type == "weights.published")
    assert published == Counter(version.job_id for version in after.versions)
    promised = [job.id for job in after.jobs if (job.result or {}).get("published")]
    assert sorted(promised) == sorted(version.job_id for version in after.versions)
    for chip in after.chips.values():
        found = sorted(
            (version.version, version.token)
            for version in after.versions
            if version.chip_id == chip
        )
        assert [number for number, _ in found] == list(range(1, len(found) + 1))
        assert all(older[1] < newer[1] for older, newer in pairwise(found))
    for version in after.versions:
        assert hashlib.sha256(zlib.decompress(version.block)).hexdigest() == version.sha256


def test_the_disk_was_full_for_a_while(after: Outcome) -> None:
    if not after.disk_can_be_filled:
        pytest.skip("no right to mount a small disk")
    assert after.filled > 0


def test_no_lease_is_left(after: Outcome) -> None:
    assert after.holders == []


def test_the_same_seed_gives_the_same_faults_and_jobs() -> None:
    assert fault_schedule(SEED, SCALE) == fault_schedule(SEED, SCALE)
    assert job_requests(SEED, SCALE) == job_requests(SEED, SCALE)
    assert fault_schedule(SEED, SCALE) != fault_schedule(SEED + 1, SCALE)
    assert job_requests(SEED, SCALE) != job_requests(SEED + 1, SCALE)
    assert {event.fault for event in fault_schedule(SEED, SCALE)} == set(FAULTS)


def overlapping_calls(calls: list[LoggedCall]) -> list[LoggedCall]:
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
