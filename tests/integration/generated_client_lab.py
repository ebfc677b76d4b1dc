"""Calibrates a chip with the client that openapi-python-client generates, and nothing of ours.

Run as `python generated_client_lab.py URL KEY`, with `tandemcal_client` on the path.
"""

import base64
import hashlib
import json
import sys
import time
from io import BytesIO
from typing import Any
from uuid import uuid4

import numpy as np
import safetensors.numpy
from tandemcal_client import AuthenticatedClient
from tandemcal_client.api.chips import chips_download_weights, chips_register
from tandemcal_client.api.jobs import jobs_get, jobs_submit
from tandemcal_client.api.students import students_download
from tandemcal_client.api.target_sets import (
    target_sets_complete,
    target_sets_create,
    target_sets_upload_chunk,
)
from tandemcal_client.api.teachers import teachers_upload
from tandemcal_client.models import (
    Budget,
    CalibrateRequest,
    CalibrationSettings,
    ChipRequest,
    Data,
    JobView,
    SimulatedChipSettings,
    Split,
    StageName,
    TargetSetRequest,
    TrainingSettings,
    TrainRequest,
)
from tandemcal_client.types import File

NETWORK = {
    "input_shape": [6],
    "layers": [
        {"kind": "linear", "name": "hidden", "in_features": 6, "out_features": 8},
        {"kind": "linear", "name": "readout", "in_features": 8, "out_features": 3},
    ],
}
RANDOM = np.random.default_rng(3)


class Lab:
    """What a lab does, in the words of the generated client."""

    def __init__(self, url: str, key: str) -> None:
        self.client = AuthenticatedClient(url, token=key, raise_on_unexpected_status=True)

    def student(self) -> str:
        teacher = teachers_upload.sync(client=self.client, **upload(teacher_block()))
        body = TargetSetRequest(name="samples", teacher_id=teacher.id, chunks=2)
        targets = target_sets_create.sync(client=self.client, body=body)
        for index, split in enumerate((Split.CALIBRATION, Split.TEST)):
            target_sets_upload_chunk.sync(
                targets.id, index, client=self.client, split=split, **upload(samples_block())
            )
        job = target_sets_complete.sync(
            targets.id, client=self.client, idempotency_key=str(uuid4())
        )
        self.ended(job)
        settings = TrainingSettings(epochs=2)
        train = TrainRequest(kind="train", target_set_id=targets.id, settings=settings)
        return str(self.ended(self.submitted(train)).student_id)

    def calibrated(self, student_id: str) -> JobView:
        settings = SimulatedChipSettings(preset="pcm", seed=3)
        chip = chips_register.sync(
            client=self.client, body=ChipRequest(name="generated", settings=settings)
        )
        calibration = CalibrationSettings(
            budget=Budget(samples=320),
            batch=32,
            settle_s=0,
            target_points=None,
            stages=[StageName.TRIMS, StageName.CELLS],
            data=Data.LAB,
        )
        request = CalibrateRequest(
            kind="calibrate", chip_id=chip.name, student_id=student_id, settings=calibration
        )
        return self.ended(self.submitted(request))

    def submitted(self, request: Any) -> JobView:
        return jobs_submit.sync(client=self.client, body=request, idempotency_key=str(uuid4()))

    def ended(self, job: JobView) -> JobView:
        deadline = time.monotonic() + 240
        while not job.terminal and time.monotonic() < deadline:
            job = jobs_get.sync(job.id, client=self.client, wait=10)
        if job.status != "succeeded":
            raise RuntimeError(f"job {job.id} of kind {job.kind} is {job.status}: {job.reason}")
        return job


def upload(block: bytes) -> dict[str, Any]:
    digest = base64.b64encode(hashlib.sha256(block).digest()).decode()
    return {"body": File(payload=BytesIO(block)), "content_digest": f"sha-256=:{digest}:"}


def teacher_block() -> bytes:
    shapes = {
        "hidden.weight": (8, 6),
        "hidden.bias": (8,),
        "readout.weight": (3, 8),
        "readout.bias": (3,),
    }
    weights = {name: RANDOM.normal(0.2, 0.4, shape) for name, shape in shapes.items()}
    singles = {name: values.astype(np.float32) for name, values in weights.items()}
    about = {"name": "generated", "network": json.dumps(NETWORK)}
    return bytes(safetensors.numpy.save(singles, about))


def samples_block() -> bytes:
    inputs = RANDOM.random((96, 6), dtype=np.float32)
    return bytes(safetensors.numpy.save({"inputs": inputs, "labels": RANDOM.integers(0, 3, 96)}))


def main(url: str, key: str) -> None:
    lab = Lab(url, key)
    student_id = lab.student()
    job = lab.calibrated(student_id)
    result = job.result.to_dict()
    version = result["weights_version"]
    blocks = [students_download.sync(student_id, client=lab.client)]
    if version is not None:
        blocks.append(chips_download_weights.sync(job.chip_id, version, client=lab.client))
    loaded = [safetensors.numpy.load(block.payload.read()) for block in blocks]
    foreign = [name for name in sys.modules if name.split(".")[0] in ("service", "tandemcal")]
    arrays = [sorted(block) for block in loaded]
    print(json.dumps({"result": result, "arrays": arrays, "ours": foreign}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
