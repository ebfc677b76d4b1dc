"""TLS between service and agents: each trusts one authority alone, and nothing else is called."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.app import create_app
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.journal import Journal
from service.bench.agent.process import server_config
from service.bench.agent.registration import RegistrationLoop, RegistrationSettings
from service.bench.agent.server import create_agent
from service.bench.agent.settings import AgentSettings
from service.bench.driver.connection import Connection, PostRequest, UnreachableError
from service.bench.driver.http_chip import open_http_chip
from service.bench.driver.rpc_client import AgentAddress
from service.errors import AgentUnreachableError
from service.networks import PRIVATE, AgentNetworks
from service.settings import Settings
from service.tls import TlsFilesError, client_context, server_context
from tests.hostile.raw_server import running
from tests.integration.tls_files import TlsFiles, make_tls_files
from tests.recording import RecordingEngine

SECRET = "s" * 43


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def port(files: TlsFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an agent with that certificate."""
    journal = Journal(tmp_path_factory.mktemp("agent") / "a.sqlite")
    chip_server = ChipServer(make_chip("bench-1", preset("pcm"), 7), journal, aging=0.0)
    tls = server_context(files.certificate, files.key)
    with running(server_config(create_agent(chip_server, SECRET), tls)) as found:
        yield found


def opened(port: int, **address: Any) -> float:
    """The clock of the agent's chip."""
    usual = {"url": f"https://127.0.0.1:{port}", "secret": SECRET, "signed": True, "reach_s": 0.1}
    chip = open_http_chip("bench-1", AgentAddress(**(usual | address)), 1)
    try:
        return chip.now()
    finally:
        chip.close()


def test_an_agent_of_the_pinned_authority_is_called(files: TlsFiles, port: int) -> None:
    assert opened(port, ca=files.authority) == 0.0


def test_an_agent_of_any_other_authority_is_not(files: TlsFiles, port: int, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for authority in (tmp_path / "other.pem", None):  # None: those of the operating system
        with pytest.raises(AgentUnreachableError, match="certificate verify failed"):
            opened(port, ca=authority)
    with pytest.raises(AgentUnreachableError, match="Hostname mismatch"):
        opened(port, ca=files.authority, url=f"https://localhost:{port}")
    with pytest.raises(AgentUnreachableError, match="TLS cannot be set up"):
        opened(port, ca=tmp_path / "missing.pem")


def test_with_a_pinned_authority_only_https_is_called(files: TlsFiles) -> None:
    connection = Connection("http://127.0.0.1:8770", AgentNetworks(PRIVATE), files.authority)
    with pytest.raises(UnreachableError, match="called by https alone"):
        connection.post(PostRequest("/v1/chip/now", b"", {}, time.monotonic() + 5))


def test_files_that_are_no_certificates_are_named(files: TlsFiles, tmp_path: Path) -> None:
    with pytest.raises(TlsFilesError, match="missing"):
        server_context(tmp_path / "missing", files.key)
    with pytest.raises(TlsFilesError, match="PEM"):
        client_context(files.key)
    with pytest.raises(ValueError, match="set together"):
        Settings(tls_certificate=files.certificate)
    with pytest.raises(ValueError, match="given together"):
        AgentSettings(tls_key=files.key)


def test_an_agent_registers_with_a_service_of_its_authority_alone(
    files: TlsFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    service = FastAPI()

    @service.post("/v1/agents")
    def register() -> dict[str, object]:
        heard.append("registration")
        return {"id": "a-1", "heartbeat_s": 60.0}

    async def try_for_a_moment(url: str, authority: Path) -> None:
        chip_server = ChipServer(
            make_chip("bench-1", preset("pcm"), 7), Journal(tmp_path / f"{authority.stem}.sqlite")
        )
        tls = client_context(authority)
        settings = RegistrationSettings(
            url, "key", "bench-1", "https://a", {}, tmp_path / "credential", tls
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(RegistrationLoop(chip_server, settings).run(), 0.5)
        chip_server.close()

    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    config = server_config(service, server_context(files.certificate, files.key))
    with running(config) as port:
        asyncio.run(try_for_a_moment(f"https://127.0.0.1:{port}", tmp_path / "other.pem"))
        assert heard == []
        assert "certificate verify failed" in capsys.readouterr().out
        asyncio.run(try_for_a_moment(f"https://127.0.0.1:{port}", files.authority))
    assert heard == ["registration"]


def test_an_agent_without_a_certificate_is_not_registered(
    settings: Settings, files: TlsFiles
) -> None:
    pinned = settings.model_copy(update={"agent_ca": files.authority})
    body = {"agent_id": "a", "name": "b", "secret": SECRET, "version": "1"}
    body |= {"info": info_to_json(info_of(preset("pcm"), "b"))}  # type: ignore[dict-item]
    with TestClient(create_app(pinned, RecordingEngine())) as client:
        client.headers["Authorization"] = f"Bearer {settings.key_file.read_text().strip()}"
        refused = client.post("/v1/agents", json=body | {"url": "http://127.0.0.1:8770"})
        taken = client.post("/v1/agents", json=body | {"url": "https://127.0.0.1:8770"})
    assert "https alone" in refused.json()["errors"][0]["message"]
    assert (refused.status_code, taken.status_code) == (422, 200)
