"""The process of a chip agent: locks a folder, opens the chip, listens on a port, serves calls."""

import socket
import ssl
import sys

import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from chip_sim.chip import make_chip
from chip_sim.spec_file import find_spec
from ltl_core.chip import ChipBackend
from service.bench.agent.call_log import CallLog
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.folder_lock import locked_folder
from service.bench.agent.journal import Journal
from service.bench.agent.registration import RegistrationSettings, registration_lifespan
from service.bench.agent.server import Lifespan, create_agent
from service.bench.agent.settings import AgentSettings
from service.bench.drivers import SIMULATED, find_driver
from service.bench.simulated import without_age_limit
from service.connection_guard import guarded
from service.errors import ServiceError
from service.listening import (
    KEEP_ALIVE,
    SHUTDOWN_GRACE,
    SWITCH_INTERVAL,
    PortTakenError,
    listen,
    spare_startup_objects,
)
from service.logs import configure_logging
from service.open_connections import ConnectionLimits
from service.tls import client_context, event_loop, server_context

# Workers hold one connection for each job; the rest is for health checks.
_LIMITS = ConnectionLimits(connections=128, connections_per_address=96)


class AgentPortTakenError(ServiceError):
    """Another process listens on the agent's port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"The agent cannot listen on {host}, port {port}; give another --port, or 0 for any."
        )


class JoinKeyError(ServiceError):
    """An agent that shall register with a service has no join key."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The agent cannot register: {reason}; give --join-key-file.")


def run_agent(settings: AgentSettings, console: Console) -> None:
    """Serve the chip of these settings until a signal ends the process.

    Raises AgentRunningError, JoinKeyError, AgentPortTakenError, TlsFilesError, and what
    `open_local_chip` raises.
    """
    with locked_folder(settings) as own:
        key = _join_key(own)
        chip = open_local_chip(own)
        journal = Journal(own.folder / "agent.sqlite")
        chip_server = ChipServer(chip, journal, own.aging, CallLog(own.call_log))
        listener = _listen(own)
        url = own.url(listener.getsockname()[1])
        registration = None if key is None else _registration(own, key, chip_server, url)
        sys.setswitchinterval(SWITCH_INTERVAL)
        configure_logging(own.log_level, as_json=own.log_json)
        app = create_agent(chip_server, chip_server.about.secret, own.threads, registration)
        greeting = f"Chip {own.name} ({chip.info.model}) answers at {url}"
        _Server(server_config(app, _tls(own)), console, greeting).run(sockets=[listener])


def open_local_chip(settings: AgentSettings) -> ChipBackend:
    """Open the chip of these settings: a simulated one, or one behind an installed driver.

    Raises UnknownPresetError, SpecFileError, OSError if a file with a spec cannot be read,
    UnknownChipBackendError, and DriverFailedError if the driver fails.
    """
    if settings.backend == SIMULATED:
        return make_chip(
            settings.name, without_age_limit(find_spec(settings.chip)), settings.chip_seed
        )
    return find_driver(settings.backend, {}).open(settings.name, settings.backend_settings)


def _listen(settings: AgentSettings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except PortTakenError as error:
        raise AgentPortTakenError(settings.host, settings.port) from error


def _join_key(settings: AgentSettings) -> str | None:
    """Return the join key, or None if the agent does not register. Raises JoinKeyError."""
    if settings.service is None:
        return None
    try:
        key = settings.key()
    except OSError as error:
        raise JoinKeyError(str(error)) from error
    if not key:
        raise JoinKeyError("it has no join key")
    return key


def _registration(settings: AgentSettings, key: str, chip_server: ChipServer, url: str) -> Lifespan:
    limits = {"answer_s": settings.answer_s, "reach_s": settings.reach_s}
    return registration_lifespan(
        chip_server,
        RegistrationSettings(
            str(settings.service),
            key,
            settings.name,
            url,
            limits,
            settings.folder / "credential",
            client_context(settings.service_ca),
        ),
    )


def _tls(settings: AgentSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return server_context(settings.tls_certificate, settings.tls_key)


def server_config(app: ASGIApp, tls: ssl.SSLContext | None = None) -> uvicorn.Config:
    """Return how the agent's app is served: within limits of connections, headers and time."""
    return uvicorn.Config(
        app,
        http=guarded(_LIMITS, tls),
        loop=event_loop(tls),
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
    )


class _Server(uvicorn.Server):
    """Prints the greeting as soon as the server has started."""

    def __init__(self, config: uvicorn.Config, console: Console, greeting: str) -> None:
        super().__init__(config)
        self._console, self._greeting = console, greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the server, then print the greeting."""
        await super().startup(sockets=sockets)
        if self.started:
            spare_startup_objects()
            self._console.print(self._greeting, highlight=False, markup=False, soft_wrap=True)
