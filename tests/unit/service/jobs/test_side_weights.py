"""A job puts the side weights of the version in force on its chip again, and no others."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ltl_core.errors import NoSideWeightsError
from ltl_core.packing import unpack
from ltl_core.student.side_codes import encode_side
from ltl_core.student.student import Student
from service.artifacts import ArtifactStore
from service.bench.chip_ref import ChipRef
from service.jobs.kinds.chip_session import JobChipSession
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.messages import ExecutorConfig, JobDescription
from tests.blobs import STUDENT

LAYER = "layer5"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def golden() -> Student:
    return Student.from_block(STUDENT.read_bytes())


def with_side() -> Student:
    columns, rows = golden().codes[LAYER].weight.shape
    side = encode_side(torch.ones(1, rows), torch.arange(columns).float().unsqueeze(1))
    assert side is not None
    return golden()._replace(side={LAYER: side})


def prepared(
    store: ArtifactStore, version: Student, preset: str = "pcm-side", state: str | None = None
) -> str:
    """Prepare a chip on which this version is in force; return the saved state."""
    description = JobDescription(
        config=ExecutorConfig(artifacts_dir=str(store), threads=1),
        job_id="job",
        kind="evaluate",
        work="",
        attempt=1,
        request={},
        student_sha256=store.put(STUDENT.read_bytes()),
        in_force_sha256=store.put(version.to_block()),
        chip=ChipRef(
            chip_id="chip",
            backend="simulated",
            settings={"preset": preset, "seed": 1},
            state_sha256=state,
            idle_s=0,
            token=1,
        ),
    )
    session = JobChipSession(JobContext(store, NoLink(), description))
    session.prepared()
    saved = session.saved_chip()
    assert saved is not None
    return saved


def side_of(store: ArtifactStore, state: str) -> dict[str, Tensor]:
    tensors, _ = unpack(store.read(state))
    return {name: tensor for name, tensor in tensors.items() if "side_up" in name}


def test_side_weights_of_the_version_are_set_again(store: ArtifactStore) -> None:
    (found,) = side_of(store, prepared(store, with_side())).values()
    assert torch.equal(found, with_side().side[LAYER].up)


def test_a_version_without_side_weights_takes_others_away(store: ArtifactStore) -> None:
    state = prepared(store, with_side())
    assert side_of(store, state)
    assert not side_of(store, prepared(store, golden(), state=state))


def test_a_chip_without_side_weights_cannot_hold_such_a_version(store: ArtifactStore) -> None:
    with pytest.raises(NoSideWeightsError):
        prepared(store, with_side(), preset="pcm")
