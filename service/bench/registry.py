"""How a job reaches a chip: a backend by its name, bound to the lease under which it is driven."""

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from chip_sim.chip import make_chip
from ltl_core.chip import ChipBackend
from ltl_core.packing import pack, unpack
from service.artifacts import ArtifactStore
from service.bench.chip_ref import ChipRef
from service.bench.driver.http_chip import open_http_chip
from service.bench.driver.rpc_client import AgentAddress
from service.bench.simulated import spec_of
from service.bench.stored import Stored
from service.errors import UnknownChipBackendError

ENTRY_POINTS = "tandemcal.chip_backends"
SIMULATED = "simulated"
HTTP = "http"

Factory = Callable[[str, Mapping[str, Any]], ChipBackend]


def open_chip(chip: ChipRef, backends: Mapping[str, str], artifacts: ArtifactStore) -> ChipBackend:
    """The chip as it was left, older by the time since; one behind an agent is bound to the token.

    `backends` names further drivers as "module:factory". Raises UnknownChipBackendError.
    """
    if chip.backend == HTTP:
        address = AgentAddress.model_validate(chip.settings)
        return open_http_chip(chip.chip_id, address, chip.token)
    backend = find_factory(chip.backend, backends)(chip.chip_id, chip.settings)
    if isinstance(backend, Stored):
        if chip.state_sha256 is not None:
            tensors, _ = unpack(artifacts.read(chip.state_sha256))
            backend.restore(tensors)
        backend.advance(chip.idle_s)
    return backend


def save_chip(backend: ChipBackend, artifacts: ArtifactStore) -> str | None:
    """Keep the devices of a chip that lives in software; None for all others."""
    if not isinstance(backend, Stored):
        return None
    # Its id makes the block this chip's alone: one of the same kind and seed may stand the same.
    return artifacts.put(pack(backend.state(), {"chip_id": backend.info.chip_id}))


def find_factory(name: str, backends: Mapping[str, str]) -> Factory:
    """What makes a backend from a chip's id and its settings. Raises UnknownChipBackendError."""
    if name == SIMULATED:
        return make_simulated
    if name in backends:
        module, _, attribute = backends[name].partition(":")
        factory: Factory = getattr(importlib.import_module(module), attribute)
        return factory
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in installed:
        raise UnknownChipBackendError(name, (SIMULATED, HTTP, *sorted({*backends, *installed})))
    loaded: Factory = installed[name].load()
    return loaded


def make_simulated(chip_id: str, settings: Mapping[str, Any]) -> ChipBackend:
    """A chip of a preset, with a seed and changes to the preset."""
    return make_chip(chip_id, spec_of(settings), int(settings["seed"]))
