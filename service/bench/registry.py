"""Opens and saves the chip of a job: finds the backend by its name."""

from collections.abc import Mapping
from typing import Any

from chip_sim.chip import make_chip
from ltl_core.chip import ChipBackend
from ltl_core.packing import pack, unpack
from service.artifacts import ArtifactStore
from service.bench.chip_ref import ChipRef
from service.bench.driver.http_chip import open_http_chip
from service.bench.driver.rpc_client import AgentAddress, Locate
from service.bench.drivers import HTTP, SIMULATED, Factory, find_driver
from service.bench.simulated import spec_of
from service.bench.stored import Stored


def open_chip(
    chip: ChipRef,
    backends: Mapping[str, str],
    artifacts: ArtifactStore,
    locate: Locate | None = None,
) -> ChipBackend:
    """Open a chip in its saved state, aged by the time since; behind an agent, for this lease.

    `backends` names further drivers as "module:factory". `locate` returns the newest settings of
    an agent that is not found at its address. Raises UnknownChipBackendError,
    ChipUnavailableError, LeaseLostError, and what the store and the chip's driver raise.
    """
    if chip.backend == HTTP:
        address = AgentAddress.model_validate(chip.settings)
        return open_http_chip(chip.chip_id, address, chip.token, locate)
    backend = find_factory(chip.backend, backends)(chip.chip_id, chip.settings)
    if isinstance(backend, Stored):
        if chip.state_sha256 is not None:
            tensors, _ = unpack(artifacts.read(chip.state_sha256))
            backend.restore(tensors)
        backend.advance(chip.idle_s)
    return backend


def save_chip(backend: ChipBackend, artifacts: ArtifactStore) -> str | None:
    """Save the state of a chip in software; return the block's SHA-256, or None for other chips."""
    if not isinstance(backend, Stored):
        return None
    # The id makes the block this chip's alone: a chip of the same seed may have an equal state.
    return artifacts.put(pack(backend.state(), {"chip_id": backend.info.chip_id}))


def find_factory(name: str, backends: Mapping[str, str]) -> Factory:
    """Return the function that makes a backend from a chip's id and its settings.

    Raises UnknownChipBackendError, and DriverFailedError if the driver cannot be imported.
    """
    return make_simulated if name == SIMULATED else find_driver(name, backends).load()


def make_simulated(chip_id: str, settings: Mapping[str, Any]) -> ChipBackend:
    """Make a simulated chip from the preset, the seed and the overrides in its settings.

    Raises UnknownPresetError and ValidationError.
    """
    return make_chip(chip_id, spec_of(settings), int(settings["seed"]))
