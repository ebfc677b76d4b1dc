"""Teachers, the samples they are asked about, and the students they make."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ltl_core.network.spec import NetworkSpec
from service.client.errors import JobEndedError
from service.client.jobs import Jobs
from service.client.tensors import Samples, chunk_count, cut, pack
from service.client.transport import Transport, upload_headers
from service.schemas.jobs import JobView
from service.schemas.resources import StudentView, TargetSetView, TeacherView


class Teachers:
    """Pre-trained networks, as `ltl_core.interop.from_torch.from_torch` reads them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(self, name: str, network: NetworkSpec, weights: Mapping[str, Any]) -> TeacherView:
        """Send a network with its weights; the service checks every shape before it keeps any."""
        block = pack(weights, {"name": name, "network": network.model_dump_json()})
        return self._transport.post_block("/v1/teachers", block, TeacherView)

    def get(self, teacher_id: str) -> TeacherView:
        return self._transport.get(f"/v1/teachers/{teacher_id}", TeacherView)

    def list(self) -> Iterator[TeacherView]:
        """Newest first."""
        return self._transport.every("/v1/teachers", TeacherView)


class Splits(NamedTuple):
    """What a chip is calibrated with, and what nothing but the measuring ever sees."""

    calibration: Samples
    test: Samples


class TargetSets:
    """Inputs, labels, and what the teacher's layers answer to them."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def upload(
        self,
        name: str,
        teacher_id: str,
        splits: Splits,
        *,
        percentile: float = 99.0,
        chunk_samples: int = 1024,
    ) -> TargetSetView:
        """Send the samples, let the teacher answer them, and wait until that is done."""
        body = {
            "name": name,
            "teacher_id": teacher_id,
            "chunks": chunk_count(splits._asdict(), chunk_samples),
            "percentile": percentile,
        }
        made = self._transport.post("/v1/target-sets", body, TargetSetView)
        return self.resume(made.id, splits, chunk_samples=chunk_samples)

    def resume(
        self, target_set_id: str, splits: Splits, *, chunk_samples: int = 1024
    ) -> TargetSetView:
        """Send what is still missing of an upload that broke off, and wait for the teacher."""
        missing = set(self.get(target_set_id).missing)
        for chunk in cut(splits._asdict(), chunk_samples):
            if chunk.number in missing:
                self._transport.send(
                    "PUT",
                    f"/v1/target-sets/{target_set_id}/chunks/{chunk.number}",
                    params={"split": chunk.split},
                    content=chunk.block,
                    headers=upload_headers(chunk.block),
                )
        return self._collect(target_set_id)

    def get(self, target_set_id: str) -> TargetSetView:
        return self._transport.get(f"/v1/target-sets/{target_set_id}", TargetSetView)

    def list(self) -> Iterator[TargetSetView]:
        """Newest first."""
        return self._transport.every("/v1/target-sets", TargetSetView)

    def _collect(self, target_set_id: str) -> TargetSetView:
        path = f"/v1/target-sets/{target_set_id}/complete"
        job = self._jobs.wait(self._transport.post(path, {}, JobView).id)
        if job.status != "succeeded":
            raise JobEndedError(job.id, job.status, job.reason)
        return self.get(target_set_id)


class Students:
    """Golden students: what `train` jobs make."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, student_id: str) -> StudentView:
        return self._transport.get(f"/v1/students/{student_id}", StudentView)

    def list(self) -> Iterator[StudentView]:
        """Newest first."""
        return self._transport.every("/v1/students", StudentView)

    def download_weights(self, student_id: str, path: Path) -> Path:
        """Write codes, scales and registers to a safetensors file."""
        path.write_bytes(self._transport.download(f"/v1/students/{student_id}/weights"))
        return path
