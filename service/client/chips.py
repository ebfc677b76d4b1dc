"""Chips, and the weights that calibrations published for them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from service.client.lookup import Lookup
from service.client.tensors import Array, unpack
from service.client.transport import Transport
from service.schemas.jobs import JobView
from service.schemas.resources import ChipView, WeightVersionView
from service.schemas.upkeep import FingerprintView, PolicyRequest, PolicyView


class Chips:
    """Registers chips; reads their history, weights, fingerprints and policies.

    A chip is named by its id, its short id or its name.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lookup = Lookup(transport)

    def register(
        self,
        name: str,
        *,
        preset: str,
        seed: int,
        overrides: Mapping[str, Any] | None = None,
    ) -> ChipView:
        """Register a simulated chip. The same preset and seed always give the same chip."""
        settings = {"preset": preset, "seed": seed, "overrides": dict(overrides or {})}
        body = {"name": name, "backend": "simulated", "settings": settings}
        return self._transport.post("/v1/chips", body, ChipView)

    def register_backend(self, name: str, backend: str, settings: Mapping[str, Any]) -> ChipView:
        """Register a chip that another backend drives, with the settings of that backend."""
        body = {"name": name, "backend": backend, "settings": dict(settings)}
        return self._transport.post("/v1/chips", body, ChipView)

    def get(self, chip_id: str) -> ChipView:
        """Return one chip. Raises TandemcalError if there is no chip of this id."""
        return self._transport.get(self._path(chip_id), ChipView)

    def find(self, name: str) -> ChipView | None:
        """Return the chip with this name, or None."""
        return next(self.list(name=name), None)

    def list(
        self, *, name: str | None = None, health: str | None = None, sort: str | None = None
    ) -> Iterator[ChipView]:
        """Yield all chips, or those with this name or health, newest first.

        `sort` is created_at, name, health or predicted_loss; with - in front, the largest first.
        """
        wanted = {"name": name, "health": health, "sort": sort}
        return self._transport.every("/v1/chips", ChipView, **wanted)

    def rename(self, chip_id: str, name: str) -> ChipView:
        """Give a chip another name."""
        answer = self._transport.send("PATCH", self._path(chip_id), json={"name": name})
        return ChipView.model_validate_json(answer.content)

    def retire(self, chip_id: str) -> None:
        """Retire a chip: it takes no more jobs, its history stays."""
        self._transport.send("DELETE", self._path(chip_id))

    def history(
        self, chip_id: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[JobView]:
        """Yield the jobs of a chip, newest first: all, or those sent from `since` up to `until`.

        Both times need a zone.
        """
        between = {"since": since and since.isoformat(), "until": until and until.isoformat()}
        return self._transport.every(f"{self._path(chip_id)}/history", JobView, **between)

    def weights(self, chip_id: str) -> Iterator[WeightVersionView]:
        """Yield the weight versions of a chip, newest first."""
        return self._transport.every(f"{self._path(chip_id)}/weights", WeightVersionView)

    def fingerprints(self, chip_id: str) -> Iterator[FingerprintView]:
        """Yield the fingerprints that probes of a chip measured, newest first."""
        return self._transport.every(f"{self._path(chip_id)}/fingerprints", FingerprintView)

    def policy(self, chip_id: str) -> PolicyView:
        """Return the policy: when a chip is probed and calibrated automatically."""
        return self._transport.get(f"{self._path(chip_id)}/policy", PolicyView)

    def set_policy(self, chip_id: str, policy: PolicyRequest) -> PolicyView:
        """Set the policy by which a chip is probed and calibrated from now on."""
        body = policy.model_dump(mode="json")
        answer = self._transport.send("PUT", f"{self._path(chip_id)}/policy", json=body)
        return PolicyView.model_validate_json(answer.content)

    def drop_policy(self, chip_id: str) -> None:
        """Delete the policy of a chip. Queued jobs stay."""
        self._transport.send("DELETE", f"{self._path(chip_id)}/policy")

    def read_weights(self, chip_id: str, version: int) -> dict[str, Array]:
        """Return the codes and trims of one version, by name of the array."""
        return unpack(self._download(chip_id, version))

    def download_weights(self, chip_id: str, version: int, path: Path) -> Path:
        """Write one version to a safetensors file, and return its path."""
        path.write_bytes(self._download(chip_id, version))
        return path

    def _path(self, chip_id: str) -> str:
        return f"/v1/chips/{self._lookup.chip(chip_id)}"

    def _download(self, chip_id: str, version: int) -> bytes:
        return self._transport.download(f"{self._path(chip_id)}/weights/{version}/block")
