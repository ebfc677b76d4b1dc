"""The module `service.client.chips` for asyncio, written by `async_source`."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from service.client.aio.threads import Threads
from service.client.chips import Chips
from service.client.tensors import Array
from service.schemas.jobs import JobView
from service.schemas.resources import ChipView, WeightVersionView
from service.schemas.upkeep import FingerprintView, PolicyRequest, PolicyView


class AsyncChips:
    """Registers chips; reads their history, weights, fingerprints and policies."""

    def __init__(self, client: Chips, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def register(
        self, name: str, *, preset: str, seed: int, overrides: Mapping[str, Any] | None = None
    ) -> ChipView:
        """Register a simulated chip. The same preset and seed always give the same chip."""
        return await self._threads.call(
            self._client.register, name, preset=preset, seed=seed, overrides=overrides
        )

    async def register_backend(
        self, name: str, backend: str, settings: Mapping[str, Any]
    ) -> ChipView:
        """Register a chip that another backend drives, with the settings of that backend."""
        return await self._threads.call(self._client.register_backend, name, backend, settings)

    async def get(self, chip_id: str) -> ChipView:
        """Return one chip. Raises TandemcalError if there is no chip of this id."""
        return await self._threads.call(self._client.get, chip_id)

    async def find(self, name: str) -> ChipView | None:
        """Return the chip with this name, or None."""
        return await self._threads.call(self._client.find, name)

    async def list(
        self, *, name: str | None = None, health: str | None = None, sort: str | None = None
    ) -> AsyncIterator[ChipView]:
        """Yield all chips, or those with this name or health, newest first."""
        async for one in self._threads.each(self._client.list, name=name, health=health, sort=sort):
            yield one

    async def rename(self, chip_id: str, name: str) -> ChipView:
        """Give a chip another name."""
        return await self._threads.call(self._client.rename, chip_id, name)

    async def retire(self, chip_id: str) -> None:
        """Retire a chip: it takes no more jobs, its history stays."""
        return await self._threads.call(self._client.retire, chip_id)

    async def history(
        self, chip_id: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncIterator[JobView]:
        """Yield the jobs of a chip, newest first: all, or those sent from `since` up to `until`."""
        async for one in self._threads.each(
            self._client.history, chip_id, since=since, until=until
        ):
            yield one

    async def weights(self, chip_id: str) -> AsyncIterator[WeightVersionView]:
        """Yield the weight versions of a chip, newest first."""
        async for one in self._threads.each(self._client.weights, chip_id):
            yield one

    async def fingerprints(self, chip_id: str) -> AsyncIterator[FingerprintView]:
        """Yield the fingerprints that probes of a chip measured, newest first."""
        async for one in self._threads.each(self._client.fingerprints, chip_id):
            yield one

    async def policy(self, chip_id: str) -> PolicyView:
        """Return the policy: when a chip is probed and calibrated automatically."""
        return await self._threads.call(self._client.policy, chip_id)

    async def set_policy(self, chip_id: str, policy: PolicyRequest) -> PolicyView:
        """Set the policy by which a chip is probed and calibrated from now on."""
        return await self._threads.call(self._client.set_policy, chip_id, policy)

    async def drop_policy(self, chip_id: str) -> None:
        """Delete the policy of a chip. Queued jobs stay."""
        return await self._threads.call(self._client.drop_policy, chip_id)

    async def read_weights(self, chip_id: str, version: int) -> dict[str, Array]:
        """Return the codes and trims of one version, by name of the array."""
        return await self._threads.call(self._client.read_weights, chip_id, version)

    async def download_weights(self, chip_id: str, version: int, path: Path) -> Path:
        """Write one version to a safetensors file, and return its path."""
        return await self._threads.call(self._client.download_weights, chip_id, version, path)
