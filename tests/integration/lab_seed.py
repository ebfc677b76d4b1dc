"""What every lab of the tests of jobs starts with: a teacher, its targets and a student."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from uuid_utils import uuid7

from service.artifacts import ArtifactStore
from service.db import migrate
from service.db.base import Base
from service.db.session import Database
from service.db.tables import Job, Student, TargetSet, Teacher
from service.jobs.kinds.collect import collect
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.kinds.registry import KINDS
from service.jobs.messages import ChunkRef, ExecutorConfig, JobDescription
from service.settings import Settings
from service.states import JobStatus, Split, TargetSetState

STUDENT = Path(__file__).parents[1] / "data" / "lab-student.safetensors"
Json = dict[str, Any]

NETWORK: Json = {
    "input_shape": [6],
    "layers": [
        {"kind": "linear", "name": "hidden", "in_features": 6, "out_features": 8},
        {"kind": "linear", "name": "readout", "in_features": 8, "out_features": 3},
    ],
}


class Seeded(NamedTuple):
    """What every lab starts with."""

    teacher_id: str
    target_set_id: str
    student_id: str


def collected(root: Path) -> JobContext:
    """A teacher and its targets, made by the code that jobs run; ready for a training."""
    settings = Settings(data_dir=root)
    store = ArtifactStore(settings.artifacts_dir)
    description = JobDescription(
        config=ExecutorConfig(artifacts_dir=str(settings.artifacts_dir), threads=1),
        job_id=new_id(),
        kind="collect",
        work=KINDS["collect"].work_address,
        attempt=1,
        request={"settings": {}},
        network=NETWORK,
        weights_sha256=store.put(weights()),
        chunks=tuple(
            ChunkRef(split=split, sha256=store.put(samples(place)))
            for place, split in enumerate(Split)
        ),
        percentile=99.0,
    )
    made = collect(JobContext(store, NoLink(), description))
    training = {"settings": {"epochs": 2}}
    described = description.model_copy(update={"targets": made.blocks, "request": training})
    return JobContext(store, NoLink(), described)


def seed(root: Path) -> Seeded:
    """What `collected` makes, and a student from a file."""
    settings = Settings(data_dir=root)
    migrate.upgrade(settings.database)
    context = collected(root)
    student = context.artifacts.put(STUDENT.read_bytes())
    database = Database(settings.database)
    seeded = _store_rows(database, context.description, student)
    database.close()
    return seeded


def new_id() -> str:
    return str(uuid7())


def now() -> datetime:
    return datetime.now(UTC)


def weights() -> bytes:
    rng = np.random.default_rng(0)
    shapes = {
        "hidden.weight": (8, 6),
        "hidden.bias": (8,),
        "readout.weight": (3, 8),
        "readout.bias": (3,),
    }
    return safetensors.numpy.save(
        {name: rng.normal(0.2, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    )


def samples(place: int) -> bytes:
    rng = np.random.default_rng(100 + place)
    inputs = rng.random((96, 6)).astype(np.float32)
    return safetensors.numpy.save({"inputs": inputs, "labels": rng.integers(0, 3, 96)})


def _store_rows(database: Database, made: JobDescription, student_sha256: str) -> Seeded:
    blocks = {str(split): sha256 for split, sha256 in made.targets.items()}
    ids = Seeded(new_id(), new_id(), new_id())
    teacher = Teacher(
        id=ids.teacher_id,
        name="teacher",
        network=NETWORK,
        weights_sha256=made.weights_sha256,
        created_at=now(),
    )
    target_set = TargetSet(
        id=ids.target_set_id,
        name="targets",
        teacher_id=ids.teacher_id,
        state=TargetSetState.READY,
        chunks=2,
        percentile=99.0,
        summary={"blocks": blocks, "teacher_accuracy": {"test": 0.5}},
        activations_sha256=blocks[Split.CALIBRATION],
        created_at=now(),
    )
    trained = Job(
        id=new_id(),
        kind="train",
        status=JobStatus.SUCCEEDED,
        request={"settings": {}},
        teacher_id=ids.teacher_id,
        target_set_id=ids.target_set_id,
        priority=5,
        attempt=1,
        created_at=now(),
        ended_at=now(),
        code_version="test",
    )
    student = Student(
        id=ids.student_id,
        teacher_id=ids.teacher_id,
        target_set_id=ids.target_set_id,
        job_id=trained.id,
        rule="ltl-offline",
        accuracy={"teacher": 0.5, "golden": 0.5},
        sha256=student_sha256,
        created_at=now(),
    )
    rows: tuple[Base, ...] = (teacher, target_set, trained, student)
    with database.writing() as session:
        for row in rows:
            session.add(row)
            session.flush()
    return ids
