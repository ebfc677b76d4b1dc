"""Teachers, their target sets, and the students trained from them."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ltl_core.network.spec import NetworkSpec
from service.client.errors import JobEndedError
from service.client.jobs import Jobs
from service.client.lookup import Lookup
from service.client.tensors import (
    AnsweredSamples,
    Samples,
    check_counts,
    chunk_count,
    cut,
    pack,
    unlike_learned,
)
from service.client.transport import Transport, upload_headers
from service.schemas.jobs import JobView
from service.schemas.resources import (
    StudentView,
    TargetSetItem,
    TargetSetView,
    TeacherItem,
    TeacherView,
)

NIR_TIMEOUT = 150.0  # s; the service loads torch for it


class Teachers:
    """Pre-trained networks, as `ltl_core.interop.from_torch.from_torch` reads them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(
        self,
        name: str,
        network: Any,
        weights: Mapping[str, Any] | None = None,
        *,
        input_shape: tuple[int, ...] | None = None,
    ) -> TeacherView:
        """Upload a torch module with the shape of one sample, or a network with its weights.

        A module is read by `from_torch`, which raises UnsupportedLayerError for a layer that has no
        counterpart. The service checks all shapes before it stores any.
        """
        if input_shape is not None:
            network, weights = _imported(network, input_shape)
        if not isinstance(network, NetworkSpec) or weights is None:
            raise TypeError("give a torch module and its input_shape, or a network and its weights")
        block = pack(weights, {"name": name, "network": network.model_dump_json()})
        return self._transport.post_block("/v1/teachers", block, TeacherView)

    def register(
        self, name: str, network: Any, *, input_shape: tuple[int, ...] | None = None
    ) -> TeacherView:
        """Register a teacher by its network alone; no weights are sent.

        The network is one that `from_torch` returned, or a torch module with the shape of one
        sample. The samples of its target sets come as `AnsweredSplits`.
        """
        if input_shape is not None:
            network, _ = _imported(network, input_shape)
        if not isinstance(network, NetworkSpec):
            raise TypeError("give a network, or a torch module and its input_shape")
        body = json.dumps({"name": name, "network": network.model_dump(mode="json")}).encode()
        return self._transport.post_block("/v1/teachers", body, TeacherView, "application/json")

    def get(self, teacher_id: str) -> TeacherView:
        """Return one teacher, by id, short id or name. Raises TandemcalError if there is none."""
        found = Lookup(self._transport).teacher(teacher_id)
        return self._transport.get(f"/v1/teachers/{found}", TeacherView)

    def delete(self, teacher_id: str) -> None:
        """Delete a teacher. Raises TandemcalError (409) if a target set or an open job uses it."""
        found = Lookup(self._transport).teacher(teacher_id)
        self._transport.send("DELETE", f"/v1/teachers/{found}")

    def list(self, *, sort: str | None = None) -> Iterator[TeacherItem]:
        """Yield all teachers without their networks, newest first, or by `sort`, such as name."""
        return self._transport.every("/v1/teachers", TeacherItem, sort=sort)


def _imported(module: Any, input_shape: tuple[int, ...]) -> tuple[NetworkSpec, Mapping[str, Any]]:
    """Read a torch module; only this needs torch."""
    from ltl_core.interop.from_torch import from_torch

    imported = from_torch(module, input_shape)
    for note in imported.notes:
        warnings.warn(note, stacklevel=3)
    return imported.network, imported.weights


class Splits(NamedTuple):
    """Samples to calibrate with, and samples that are used for measurements alone."""

    calibration: Samples
    test: Samples


class AnsweredSplits(NamedTuple):
    """The same for a teacher that was registered by its network alone."""

    calibration: AnsweredSamples
    test: AnsweredSamples


class TargetSets:
    """Uploads samples, with what their teacher made of them where the service cannot run it."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._lookup = Lookup(transport)
        self._jobs = jobs

    def upload(
        self,
        name: str,
        teacher_id: str,
        splits: Splits | AnsweredSplits,
        *,
        percentile: float = 99.0,
        chunk_samples: int = 1024,
    ) -> TargetSetView:
        """Upload samples, and wait until the teacher has been run over them.

        Samples of a teacher that was registered by its network alone come as `AnsweredSplits`,
        whose activations and logits are taken instead. Raises JobEndedError if that job does not
        succeed, such as for activations that the network cannot have computed, and TandemcalError
        if inputs and what belongs to them differ in number.
        """
        check_counts(splits._asdict())
        if (sentence := unlike_learned(splits.calibration.inputs)) is not None:
            warnings.warn(sentence, stacklevel=2)
        body = {
            "name": name,
            "teacher_id": self._lookup.teacher(teacher_id),
            "chunks": chunk_count(splits._asdict(), chunk_samples),
            "percentile": percentile,
        }
        made = self._transport.post("/v1/target-sets", body, TargetSetView)
        return self.resume(made.id, splits, chunk_samples=chunk_samples)

    def resume(
        self, target_set_id: str, splits: Splits | AnsweredSplits, *, chunk_samples: int = 1024
    ) -> TargetSetView:
        """Upload the missing chunks of an interrupted upload, and wait as `upload` does.

        Raises JobEndedError if the job that runs the teacher does not succeed.
        """
        found = self.get(target_set_id)
        missing = set(found.missing)
        for chunk in cut(splits._asdict(), chunk_samples):
            if chunk.number in missing:
                self._transport.send(
                    "PUT",
                    f"/v1/target-sets/{found.id}/chunks/{chunk.number}",
                    params={"split": chunk.split},
                    content=chunk.block,
                    headers=upload_headers(chunk.block),
                )
        return self._collect(found.id)

    def get(self, target_set_id: str) -> TargetSetView:
        """Return one target set, by id, short id or name, which means the newest.

        Raises TandemcalError if there is none.
        """
        found = self._lookup.target_set(target_set_id)
        return self._transport.get(f"/v1/target-sets/{found}", TargetSetView)

    def delete(self, target_set_id: str) -> None:
        """Delete a target set. Raises TandemcalError (409) if a student or an open job uses it."""
        found = self._lookup.target_set(target_set_id)
        self._transport.send("DELETE", f"/v1/target-sets/{found}")

    def list(self, *, sort: str | None = None) -> Iterator[TargetSetItem]:
        """Yield all target sets, newest first, or by `sort`, such as name.

        `get` says which chunks are missing.
        """
        return self._transport.every("/v1/target-sets", TargetSetItem, sort=sort)

    def _collect(self, target_set_id: str) -> TargetSetView:
        path = f"/v1/target-sets/{target_set_id}/complete"
        job = self._jobs.wait(self._transport.post(path, {}, JobView).id)
        if job.status != "succeeded":
            raise JobEndedError(job.id, job.status, job.reason)
        return self.get(target_set_id)


class Students:
    """Reads golden students, the results of `train` jobs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, student_id: str) -> StudentView:
        """Return one student, by id, short id or name of its teacher, which means the newest.

        Raises TandemcalError if there is none.
        """
        return self._transport.get(self._path(student_id), StudentView)

    def delete(self, student_id: str) -> None:
        """Delete a student.

        Raises TandemcalError (409) if weights of a chip, a policy or an open job uses it.
        """
        self._transport.send("DELETE", self._path(student_id))

    def list(self) -> Iterator[StudentView]:
        """Yield all students, newest first."""
        return self._transport.every("/v1/students", StudentView)

    def download_weights(self, student_id: str, path: Path) -> Path:
        """Write codes, scales and registers of a student to a safetensors file; return its path."""
        path.write_bytes(self._transport.download(f"{self._path(student_id)}/weights"))
        return path

    def download_nir(self, student_id: str, path: Path) -> Path:
        """Write a student to a NIR file, which other frameworks read; return its path.

        Raises TandemcalError for a student that NIR cannot express.
        """
        answer = self._transport.send("GET", f"{self._path(student_id)}/nir", timeout=NIR_TIMEOUT)
        path.write_bytes(answer.content)
        return path

    def _path(self, student_id: str) -> str:
        return f"/v1/students/{Lookup(self._transport).student(student_id)}"
