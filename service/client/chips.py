"""Chips, and the weights that calibrations published for them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.client.tensors import Array, unpack
from service.client.transport import Transport
from service.schemas.jobs import JobView
from service.schemas.resources import ChipView, WeightVersionView
from service.schemas.upkeep import FingerprintView, PolicyRequest, PolicyView


class Chips:
    """The drawer full of chips."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def register(
        self,
        name: str,
        *,
        preset: str,
        seed: int,
        overrides: Mapping[str, Any] | None = None,
    ) -> ChipView:
        """Add a simulated chip: one preset and one seed are one chip for ever."""
        settings = {"preset": preset, "seed": seed, "overrides": dict(overrides or {})}
        body = {"name": name, "backend": "simulated", "settings": settings}
        return self._transport.post("/v1/chips", body, ChipView)

    def register_backend(self, name: str, backend: str, settings: Mapping[str, Any]) -> ChipView:
        """Add a chip behind another backend, with that backend's settings."""
        body = {"name": name, "backend": backend, "settings": dict(settings)}
        return self._transport.post("/v1/chips", body, ChipView)

    def get(self, chip_id: str) -> ChipView:
        return self._transport.get(f"/v1/chips/{chip_id}", ChipView)

    def find(self, name: str) -> ChipView | None:
        """The chip with this name, if there is one."""
        return next(self.list(name=name), None)

    def list(self, *, name: str | None = None, health: str | None = None) -> Iterator[ChipView]:
        """All chips, or those with this name or health."""
        return self._transport.every("/v1/chips", ChipView, name=name, health=health)

    def rename(self, chip_id: str, name: str) -> ChipView:
        answer = self._transport.send("PATCH", f"/v1/chips/{chip_id}", json={"name": name})
        return ChipView.model_validate_json(answer.content)

    def retire(self, chip_id: str) -> None:
        """Take no more jobs for it; what happened to it stays on record."""
        self._transport.send("DELETE", f"/v1/chips/{chip_id}")

    def history(self, chip_id: str) -> Iterator[JobView]:
        """Its jobs, newest first."""
        return self._transport.every(f"/v1/chips/{chip_id}/history", JobView)

    def weights(self, chip_id: str) -> Iterator[WeightVersionView]:
        """Its weight versions, newest first."""
        return self._transport.every(f"/v1/chips/{chip_id}/weights", WeightVersionView)

    def fingerprints(self, chip_id: str) -> Iterator[FingerprintView]:
        """What its probes found, newest first."""
        return self._transport.every(f"/v1/chips/{chip_id}/fingerprints", FingerprintView)

    def policy(self, chip_id: str) -> PolicyView:
        """When it is probed and calibrated without being asked."""
        return self._transport.get(f"/v1/chips/{chip_id}/policy", PolicyView)

    def set_policy(self, chip_id: str, policy: PolicyRequest) -> PolicyView:
        """Probe and calibrate it by these rules from now on."""
        body = policy.model_dump(mode="json")
        answer = self._transport.send("PUT", f"/v1/chips/{chip_id}/policy", json=body)
        return PolicyView.model_validate_json(answer.content)

    def drop_policy(self, chip_id: str) -> None:
        """Leave it alone; what is queued stays."""
        self._transport.send("DELETE", f"/v1/chips/{chip_id}/policy")

    def read_weights(self, chip_id: str, version: int) -> dict[str, Array]:
        """The codes and trims of one version."""
        return unpack(self._download(chip_id, version))

    def download_weights(self, chip_id: str, version: int, path: Path) -> Path:
        """Write one version to a safetensors file."""
        path.write_bytes(self._download(chip_id, version))
        return path

    def _download(self, chip_id: str, version: int) -> bytes:
        return self._transport.download(f"/v1/chips/{chip_id}/weights/{version}/block")
