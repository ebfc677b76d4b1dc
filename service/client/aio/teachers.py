"""The module `service.client.teachers` for asyncio, written by `async_source`."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from service.client.aio.threads import Threads
from service.client.teachers import AnsweredSplits, Splits, Students, TargetSets, Teachers
from service.schemas.resources import (
    StudentView,
    TargetSetItem,
    TargetSetView,
    TeacherItem,
    TeacherView,
)


class AsyncTeachers:
    """Pre-trained networks, as `ltl_core.interop.from_torch.from_torch` reads them."""

    def __init__(self, client: Teachers, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def upload(
        self,
        name: str,
        network: Any,
        weights: Mapping[str, Any] | None = None,
        *,
        input_shape: tuple[int, ...] | None = None,
    ) -> TeacherView:
        """Upload a torch module with the shape of one sample, or a network with its weights."""
        return await self._threads.call(
            self._client.upload, name, network, weights, input_shape=input_shape
        )

    async def register(
        self, name: str, network: Any, *, input_shape: tuple[int, ...] | None = None
    ) -> TeacherView:
        """Register a teacher by its network alone; no weights are sent."""
        return await self._threads.call(
            self._client.register, name, network, input_shape=input_shape
        )

    async def get(self, teacher_id: str) -> TeacherView:
        """Return one teacher, by id, short id or name. Raises TandemcalError if there is none."""
        return await self._threads.call(self._client.get, teacher_id)

    async def delete(self, teacher_id: str) -> None:
        """Delete a teacher. Raises TandemcalError (409) if a target set or an open job uses it."""
        return await self._threads.call(self._client.delete, teacher_id)

    async def list(self, *, sort: str | None = None) -> AsyncIterator[TeacherItem]:
        """Yield all teachers without their networks, newest first, or by `sort`, such as name."""
        async for one in self._threads.each(self._client.list, sort=sort):
            yield one


class AsyncTargetSets:
    """Uploads samples, with what their teacher made of them where the service cannot run it."""

    def __init__(self, client: TargetSets, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def upload(
        self,
        name: str,
        teacher_id: str,
        splits: Splits | AnsweredSplits,
        *,
        percentile: float = 99.0,
        chunk_samples: int = 1024,
    ) -> TargetSetView:
        """Upload samples, and wait until the teacher has been run over them."""
        return await self._threads.call(
            self._client.upload,
            name,
            teacher_id,
            splits,
            percentile=percentile,
            chunk_samples=chunk_samples,
        )

    async def resume(
        self, target_set_id: str, splits: Splits | AnsweredSplits, *, chunk_samples: int = 1024
    ) -> TargetSetView:
        """Upload the missing chunks of an interrupted upload, and wait as `upload` does."""
        return await self._threads.call(
            self._client.resume, target_set_id, splits, chunk_samples=chunk_samples
        )

    async def get(self, target_set_id: str) -> TargetSetView:
        """Return one target set, by id, short id or name, which means the newest."""
        return await self._threads.call(self._client.get, target_set_id)

    async def delete(self, target_set_id: str) -> None:
        """Delete a target set. Raises TandemcalError (409) if a student or an open job uses it."""
        return await self._threads.call(self._client.delete, target_set_id)

    async def list(self, *, sort: str | None = None) -> AsyncIterator[TargetSetItem]:
        """Yield all target sets, newest first, or by `sort`, such as name."""
        async for one in self._threads.each(self._client.list, sort=sort):
            yield one


class AsyncStudents:
    """Reads golden students, the results of `train` jobs."""

    def __init__(self, client: Students, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def get(self, student_id: str) -> StudentView:
        """Return one student, by id, short id or name of its teacher, which means the newest."""
        return await self._threads.call(self._client.get, student_id)

    async def delete(self, student_id: str) -> None:
        """Delete a student."""
        return await self._threads.call(self._client.delete, student_id)

    async def list(self) -> AsyncIterator[StudentView]:
        """Yield all students, newest first."""
        async for one in self._threads.each(self._client.list):
            yield one

    async def download_weights(self, student_id: str, path: Path) -> Path:
        """Write codes, scales and registers of a student to a safetensors file; return its path."""
        return await self._threads.call(self._client.download_weights, student_id, path)

    async def download_nir(self, student_id: str, path: Path) -> Path:
        """Write a student to a NIR file, which other frameworks read; return its path."""
        return await self._threads.call(self._client.download_nir, student_id, path)
