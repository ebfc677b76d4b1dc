"""A small network, its blocks as they are uploaded, and a service to upload them to."""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from uuid_utils import uuid7

from service.api.context import Context, utc_now
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.schema import metadata
from service.jobs.kinds import train
from service.jobs.kinds.spec import ResultStore
from service.jobs.messages import Ended
from service.states import JobStatus
from tests.recording import RecordingEngine

STUDENT_BLOCK = (Path(__file__).parent / "data" / "lab-student.safetensors").read_bytes()
NETWORK: dict[str, Any] = {
    "input_shape": [1, 4, 4],
    "layers": [
        {
            "kind": "conv2d",
            "name": "conv",
            "in_channels": 1,
            "out_channels": 3,
            "kernel": [3, 3],
            "padding": [1, 1],
            "ceiling": 2.0,
        },
        {"kind": "avg_pool2d", "name": "pool", "kernel": [2, 2], "stride": [2, 2]},
        {"kind": "linear", "name": "readout", "in_features": 12, "out_features": 5},
    ],
}


def small_weights() -> dict[str, Any]:
    """Tensors that fit `NETWORK`."""
    rng = np.random.default_rng(1)
    return {
        "conv.weight": rng.normal(size=(3, 1, 3, 3)).astype(np.float32),
        "conv.bias": np.zeros(3, np.float32),
        "readout.weight": rng.normal(size=(5, 12)).astype(np.float32),
        "readout.bias": np.zeros(5, np.float32),
    }


def small_samples(count: int = 6) -> dict[str, Any]:
    """Inputs and labels that fit `NETWORK`."""
    rng = np.random.default_rng(2)
    return {
        "inputs": rng.random((count, 1, 4, 4), dtype=np.float32),
        "labels": np.arange(count, dtype=np.int64) % 5,
    }


def teacher_block(
    weights: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] = NETWORK,
    name: str = "small teacher",
) -> bytes:
    """A teacher as it is uploaded."""
    metadata = {"name": name, "network": json.dumps(network)}
    return safetensors.numpy.save(dict(weights or small_weights()), metadata)


def upload_headers(block: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(block).digest()).decode()
    return {
        "Content-Type": "application/vnd.safetensors",
        "Content-Digest": f"sha-256=:{digest}:",
    }


class World:
    """A running service with a database of its own, and what stands in it."""

    def __init__(self, client: TestClient, engine: RecordingEngine, key: str) -> None:
        self.client = client
        self.engine = engine
        self.key = key

    @property
    def context(self) -> Context:
        context: Context = self.client.app.state.context  # type: ignore[attr-defined]
        return context

    def stored(self) -> dict[str, int]:
        """How much of everything there is: rows by table, files, and jobs with the engine."""
        with self.context.database.reading() as session:
            rows = {
                table.name: session.scalar(select(func.count()).select_from(table)) or 0
                for table in metadata().sorted_tables
            }
        files = self.context.settings.artifacts_dir.rglob("*")
        counted = {"files": sum(path.is_file() for path in files)}
        return rows | counted | {"enqueued": len(self.engine.queued)}

    def upload_teacher(self, block: bytes | None = None) -> Any:
        block = block if block is not None else teacher_block()
        answer = self.client.post("/v1/teachers", content=block, headers=upload_headers(block))
        assert answer.status_code == 201, answer.text
        return answer.json()

    def register_chip(self, name: str = "bench 1", **settings: Any) -> Any:
        body = {"name": name, "settings": {"preset": "ideal", "seed": 1} | settings}
        answer = self.client.post("/v1/chips", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def announce_targets(self, teacher_id: str, chunks: int = 2) -> Any:
        body = {"name": "small targets", "teacher_id": teacher_id, "chunks": chunks}
        answer = self.client.post("/v1/target-sets", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def put_chunk(self, target_set_id: str, index: int, split: str, block: bytes) -> Any:
        return self.client.put(
            f"/v1/target-sets/{target_set_id}/chunks/{index}",
            params={"split": split},
            content=block,
            headers=upload_headers(block),
        )

    def complete_targets(self, teacher_id: str) -> Any:
        """A target set whose samples have arrived; the answer is its `collect` job."""
        target_set = self.announce_targets(teacher_id, chunks=2)
        block = safetensors.numpy.save(small_samples())
        for index, split in enumerate(("calibration", "test")):
            assert self.put_chunk(target_set["id"], index, split, block).status_code == 200
        answer = self.post_once(f"/v1/target-sets/{target_set['id']}/complete")
        assert answer.status_code == 202, answer.text
        return answer.json()

    def post_once(self, path: str, key: str | None = None) -> Any:
        """POST without a body, under a new Idempotency-Key or this one."""
        return self.client.post(path, headers={"Idempotency-Key": key or str(uuid7())})

    def ready_targets(self, frames: int | None = None) -> str:
        """The id of a target set that a worker has made ready."""
        job = self.complete_targets(self.upload_teacher()["id"])
        with self.context.database.writing() as session:
            jobs = JobRepository(session)
            jobs.start(job["id"], 1, "worker", utc_now())
            summary = {"teacher_accuracy": {"test": 0.9}, "frames": frames}
            TargetSetRepository(session).set_ready(job["id"], 1, summary, "0" * 64)
            jobs.end(job["id"], 1, JobStatus.SUCCEEDED, None, summary, utc_now())
        return str(job["target_set_id"])

    def trained_student(self, targets: str | None = None, **request: Any) -> str:
        """The id of a student that a worker has made."""
        body = {"kind": "train", "target_set_id": targets or self.ready_targets()}
        job = self.submit(body | request)
        block = self.context.artifacts.put(STUDENT_BLOCK)
        with self.context.database.writing() as session:
            jobs = JobRepository(session)
            jobs.start(job["id"], 1, "worker", utc_now())
            accuracy = {"teacher": 0.9, "golden": 0.88}
            result = {"rule": "ltl-offline", "accuracy": accuracy}
            ended = Ended(status=JobStatus.SUCCEEDED, result=result, blocks={"student": block})
            to = ResultStore(session, jobs.get(job["id"]), 1, utc_now(), self.context.artifacts)
            stored = train.store(to, ended)
            jobs.end(job["id"], 1, JobStatus.SUCCEEDED, None, accuracy, utc_now())
            return str(stored["student_id"])

    def submit(self, body: Mapping[str, Any], key: str | None = None) -> Any:
        headers = {"Idempotency-Key": key or str(uuid7())}
        answer = self.client.post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def calibrate(self, chip_id: str, student_id: str, **settings: Any) -> Any:
        return self.submit(
            {
                "kind": "calibrate",
                "chip_id": chip_id,
                "student_id": student_id,
                "settings": settings,
            }
        )

    def drive(self, job_id: str) -> int:
        """Begin a job with a chip, as a worker does: the token of its lease."""
        with self.context.database.writing() as session:
            jobs = JobRepository(session)
            chip_id = str(jobs.get(job_id).chip_id)
            hour = timedelta(hours=1)
            token = LeaseRepository(session).take(chip_id, "worker", job_id, hour, utc_now())
            assert token is not None
            jobs.start(job_id, token, "worker", utc_now())
        return token
