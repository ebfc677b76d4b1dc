"""Blocks that were replaced are removed; progress is told at most twice a second."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.artifacts import ArtifactStore
from service.bench.chip_ref import ChipRef
from service.jobs.attempts.recorder import ProgressPace, SupersededBlocks
from service.jobs.messages import Checkpointed, Ended, ExecutorConfig, JobDescription
from service.states import JobStatus


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def superseded(store: ArtifactStore, chip_state: str | None) -> SupersededBlocks:
    chip = ChipRef(
        chip_id="c", backend="b", settings={}, state_sha256=chip_state, idle_s=0, token=1
    )
    config = ExecutorConfig(artifacts_dir="", threads=1)
    return SupersededBlocks(
        store,
        JobDescription(
            config=config, job_id="j", kind="k", work="m:f", attempt=1, request={}, chip=chip
        ),
    )


def blobs(store: ArtifactStore, *names: str) -> list[str]:
    return [store.put(name.encode()) for name in names]


def kept(store: ArtifactStore, *sha256s: str) -> list[bool]:
    return [store.has(sha256) for sha256 in sha256s]


def test_only_the_newest_checkpoint_and_state_stay(store: ArtifactStore) -> None:
    idle, first, state, second, moved = blobs(store, "idle", "first", "state", "second", "moved")
    left = superseded(store, idle)
    left.checkpoint_recorded(Checkpointed(sha256=first, step=1, chip_state_sha256=state))
    left.checkpoint_recorded(Checkpointed(sha256=second, step=2, chip_state_sha256=moved))
    assert kept(store, idle, first, state, second, moved) == [False, False, False, True, True]


def test_the_end_needs_no_checkpoint_but_the_chips_state(store: ArtifactStore) -> None:
    checkpoint, state = blobs(store, "checkpoint", "state")
    left = superseded(store, None)
    left.checkpoint_recorded(Checkpointed(sha256=checkpoint, step=1, chip_state_sha256=state))
    left.end_recorded(Ended(status=JobStatus.FAILED))
    assert kept(store, checkpoint, state) == [False, True]


def test_a_state_that_did_not_change_stays(store: ArtifactStore) -> None:
    (state,) = blobs(store, "state")
    superseded(store, state).end_recorded(
        Ended(status=JobStatus.SUCCEEDED, chip_state_sha256=state)
    )
    assert store.has(state)


def test_no_second_has_more_than_two_events_of_progress() -> None:
    pace, noon = ProgressPace(), datetime(2030, 1, 1, 12, tzinfo=UTC)
    sent = [noon + timedelta(seconds=0.07 * step) for step in range(200)]
    told = [time for time in sent if pace.tells(time)]
    for time in told:
        assert sum(time <= other < time + timedelta(seconds=1) for other in told) <= 2
    assert len(told) > 20  # 14 s of them


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    pace, noon = ProgressPace(), datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert pace.tells(noon)
    assert not pace.tells(noon + timedelta(seconds=0.4))
    assert pace.tells(noon - timedelta(hours=1))
