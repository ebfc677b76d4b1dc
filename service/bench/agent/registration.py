"""An agent tells the service that it is there, and goes on saying so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import httpx
import structlog
from fastapi import FastAPI

from ltl_core.chip_info import info_to_json
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.server import Lifespan
from service.version import code_version

_PATIENCE = 5.0  # s for an answer of the service
_AGAIN = 2.0  # s until the next try where the service does not answer
_REFUSED = 15.0  # s likewise where it says no: somebody has to change something first


class RegistrationSettings(NamedTuple):
    """Where and as whom an agent registers."""

    service: str
    key: str
    name: str
    url: str
    limits: dict[str, float]


def registration_lifespan(chip_server: ChipServer, settings: RegistrationSettings) -> Lifespan:
    """Registers as soon as the agent answers, and is heard of until it ends."""

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
    """Registers, then beats; registers again where the service has forgotten it."""

    def __init__(self, chip_server: ChipServer, settings: RegistrationSettings) -> None:
        self._chip_server = chip_server
        self._settings = settings
        self._log = structlog.get_logger(__name__).bind(service=settings.service)
        self._known_as: str | None = None
        self._last_reported = ""

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._settings.key}"}
        async with httpx.AsyncClient(
            base_url=self._settings.service, headers=headers, timeout=_PATIENCE
        ) as client:
            while True:
                await asyncio.sleep(await self._once(client))

    async def _once(self, client: httpx.AsyncClient) -> float:
        """One sign of life; the seconds until the next one is due."""
        try:
            answer = await self._speak(client)
        except httpx.TransportError as error:
            return self._warn(f"the service does not answer ({error or type(error).__name__})")
        if answer.status_code == httpx.codes.NOT_FOUND and self._known_as is not None:
            self._known_as = None
            return 0.0
        if answer.is_error:
            again = _AGAIN if answer.is_server_error else _REFUSED
            return self._warn(f"the service refuses: {_detail(answer)}", again)
        return self._heard(answer)

    async def _speak(self, client: httpx.AsyncClient) -> httpx.Response:
        if self._known_as is not None:
            return await client.post(f"/v1/agents/{self._known_as}/heartbeat")
        return await client.post("/v1/agents", json=await asyncio.to_thread(self._introduction))

    def _introduction(self) -> dict[str, Any]:
        about = self._chip_server.about
        return {
            "agent_id": about.agent_id,
            "name": self._settings.name,
            "url": self._settings.url,
            "secret": about.secret,
            "version": code_version(),
            "limits": self._settings.limits,
            "info": info_to_json(self._chip_server.info),
            "token": about.token,
        }

    def _heard(self, answer: httpx.Response) -> float:
        try:
            payload = answer.json()
            agent_id, interval = str(payload["id"]), float(payload["heartbeat_s"])
        except (ValueError, KeyError, TypeError):
            return self._warn("the service's answer cannot be read", _REFUSED)
        if self._known_as is None or self._last_reported:
            self._log.info("registered", agent_id=agent_id, chip_id=payload.get("chip_id"))
        self._known_as, self._last_reported = agent_id, ""
        return max(0.1, interval)

    def _warn(self, what: str, again: float = _AGAIN) -> float:
        """Say it once, not with every try."""
        if what != self._last_reported:
            self._log.warning("not registered", reason=what)
            self._last_reported = what
        return again


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
