"""Registration of an agent with a service, and the heartbeats that keep its chip online."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import structlog
from fastapi import FastAPI

from ltl_core.chip_info import info_to_json
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.credential_file import CredentialFile
from service.bench.agent.server import Lifespan
from service.logs import printable
from service.version import code_version

_TIMEOUT = 5.0  # s for an answer of the service
_RETRY_UNREACHABLE = 2.0  # s until the next try if the service does not answer
_RETRY_REFUSED = 15.0  # s until the next try if it refuses: an operator must change something
_INTERVAL_MIN, _INTERVAL_MAX = 0.1, 60.0  # s between two heartbeats


class RegistrationSettings(NamedTuple):
    """The service with which an agent registers, and what it says about itself there."""

    service: str  # URL
    key: str  # an API key with the scope `agent`, or the join key
    name: str  # of the chip
    url: str  # at which workers reach the agent
    limits: dict[str, float]  # s: `answer_s` and `reach_s` of an AgentAddress
    credential_file: Path  # with the agent's own credential
    tls: ssl.SSLContext | None = None  # for a service at https; None: that of the system


def registration_lifespan(chip_server: ChipServer, settings: RegistrationSettings) -> Lifespan:
    """Return a lifespan that registers the agent and sends heartbeats while the agent serves."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(RegistrationLoop(chip_server, settings).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan


class RegistrationLoop:
    """Registers, then sends heartbeats; registers again if the service has lost the agent."""

    def __init__(self, chip_server: ChipServer, settings: RegistrationSettings) -> None:
        self._chip_server = chip_server
        self._settings = settings
        self._credential = CredentialFile(settings.credential_file)
        self._log = structlog.get_logger(__name__).bind(service=settings.service)
        self._agent_id: str | None = None  # None until registered
        self._last_warning = ""

    async def run(self) -> None:
        """Register and send heartbeats until the task is cancelled."""
        headers = {"Authorization": f"Bearer {self._settings.key}"}
        async with httpx.AsyncClient(
            base_url=self._settings.service,
            headers=headers,
            timeout=_TIMEOUT,
            verify=self._settings.tls or True,
        ) as client:
            while True:
                await asyncio.sleep(await self.step(client))

    async def step(self, client: httpx.AsyncClient) -> float:
        """Register or send one heartbeat; return the seconds until the next step."""
        try:
            answer = await self._send(client)
        except httpx.TransportError as error:
            detail = str(error) or type(error).__name__
            return self._warn(f"the service does not answer ({detail})")
        if answer.status_code == httpx.codes.NOT_FOUND and self._agent_id is not None:
            self._agent_id = None
            return 0.0
        if answer.is_error:
            retry = _RETRY_UNREACHABLE if answer.is_server_error else _RETRY_REFUSED
            return self._warn(f"the service refuses: {_detail(answer)}", retry)
        return self._accept(answer)

    async def _send(self, client: httpx.AsyncClient) -> httpx.Response:
        if self._agent_id is not None:
            return await client.post(f"/v1/agents/{self._agent_id}/heartbeat")
        return await client.post("/v1/agents", json=await asyncio.to_thread(self._registration))

    def _registration(self) -> dict[str, Any]:
        """Return the body of the registration; waits for the call that the chip handles."""
        about = self._chip_server.about
        credential = self._credential.read(self._settings.service)
        shown = {} if credential is None else {"credential": credential}
        return shown | {
            "agent_id": about.agent_id,
            "name": self._settings.name,
            "url": self._settings.url,
            "secret": about.secret,
            "signed": True,
            "version": code_version(),
            "limits": self._settings.limits,
            "info": info_to_json(self._chip_server.info),
            "token": about.token,
        }

    def _accept(self, answer: httpx.Response) -> float:
        """Take the agent's id from the answer; return the seconds until the next heartbeat."""
        try:
            payload = answer.json()
            agent_id, interval = str(payload["id"]), float(payload["heartbeat_s"])
        except (ValueError, KeyError, TypeError):
            return self._warn("the service's answer cannot be read", _RETRY_REFUSED)
        if self._agent_id is None or self._last_warning:
            chip_id = payload.get("chip_id")
            self._log.info("chip agent: registered", agent_id=agent_id, chip_id=chip_id)
        if isinstance(credential := payload.get("credential"), str):
            self._keep(credential)
        self._agent_id, self._last_warning = agent_id, ""
        return min(max(_INTERVAL_MIN, interval), _INTERVAL_MAX)

    def _keep(self, credential: str) -> None:
        try:
            self._credential.keep(self._settings.service, credential)
        except OSError as error:
            self._log.warning(
                "chip agent: its credential was not stored, it shows the one before again",
                error=str(error),
            )

    def _warn(self, reason: str, retry: float = _RETRY_UNREACHABLE) -> float:
        """Log the reason unless it was logged last; return `retry`, in seconds."""
        if reason != self._last_warning:
            self._log.warning(
                "chip agent: registration or heartbeat failed, jobs for this chip wait",
                reason=reason,
                retry_s=retry,
            )
            self._last_warning = reason
        return retry


def _detail(answer: httpx.Response) -> str:
    try:
        return printable(str(answer.json()["detail"]))
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
