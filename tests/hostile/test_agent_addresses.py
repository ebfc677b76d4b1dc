"""Agents that give another address than their own, and secrets that are more than a secret."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip_info import info_to_json
from service.bench.driver.connection import Connection, PostRequest, UnreachableError
from service.networks import PRIVATE, AgentNetworks, ForbiddenAddressError
from tests.world import World

SECRET = "s" * 40
FORBIDDEN = [
    "http://169.254.169.254/latest/meta-data",
    "http://[fd00:ec2::254]:8770",
    "http://169.254.1.1:8770",
    "http://[fe80::1]:8770",
    "http://0.0.0.0:8770",
    "http://[::]:8770",
    "http://224.0.0.1:8770",
    "http://[ff02::1]:8770",
    "http://255.255.255.255:8770",
    "http://240.0.0.1:8770",
    "http://8.8.8.8:8770",
    "http://1.1.1.1:443",
    "http://[2606:4700::1111]:8770",
    "http://[::ffff:8.8.8.8]:8770",
    "http://[::ffff:169.254.169.254]:8770",
    "http://134744072:8770",  # 8.8.8.8 as one number
    "http://0x08080808:8770",
    "http://127.0.0.1:22",
    "http://127.0.0.1:25",
    "http://localhost:1",
    "http://10.0.0.1:179",
    "http://127.0.0.1:8765",  # the service itself
    "http://localhost:8765",
    "http://[::1]:8765",
    "http://[::ffff:127.0.0.1]:8765",
    "http://127.1.2.3:8765",
]


def registration(url: str, **changed: Any) -> dict[str, Any]:
    info = info_to_json(make_chip("bench-1", preset("ideal"), 1).info)
    body = {"agent_id": "agent-1", "name": "bench 1", "url": url, "secret": SECRET}
    return body | {"version": "1", "info": info} | changed


def test_an_address_that_is_no_agents_is_refused(world: World) -> None:
    for url in FORBIDDEN:
        answer = world.client.post("/v1/agents", json=registration(url))
        assert answer.status_code == 422, url
    assert world.stored()["agents"] == world.stored()["chips"] == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:8770", "https://10.1.2.3:8770"])
def test_private_addresses_are_accepted(world: World, url: str) -> None:
    assert world.client.post("/v1/agents", json=registration(url)).status_code == 200


@pytest.mark.parametrize("field", ["secret", "version"])
def test_what_becomes_a_header_takes_no_line_end(world: World, field: str) -> None:
    body = registration("http://127.0.0.1:8770")
    for end in ("\r\nX-Evil: 1", "\n", " b", "\x00", "\x7f", "é", "\u2028"):
        hostile = body | {field: SECRET + end}
        assert world.client.post("/v1/agents", json=hostile).status_code == 422, repr(end)
    assert world.client.post("/v1/agents", json=body | {field: SECRET}).status_code == 200


def post(networks: AgentNetworks, url: str) -> None:
    connection = Connection(url, networks)
    try:
        connection.post(PostRequest("/v1/chip/now", b"", {}, time.monotonic() + 5))
    finally:
        connection.close()


def resolving(*answers: str) -> Callable[..., list[Any]]:
    """Return a resolver that gives these addresses, one at each call."""
    left = list(answers)

    def resolve(_: str, port: int, **__: Any) -> list[Any]:
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    return resolve


def test_a_name_that_leads_elsewhere_later_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = AgentNetworks(PRIVATE)
    monkeypatch.setattr(socket, "getaddrinfo", resolving("127.0.0.1", "169.254.169.254"))
    assert networks.resolve("agent.example", 8770) == ["127.0.0.1"]
    with pytest.raises(UnreachableError, match=r"169\.254\.169\.254"):
        post(networks, "http://agent.example:8770")


def test_a_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[Any] = []

    def connect(address: tuple[str, int], _: float) -> socket.socket:
        called.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolving("127.0.0.1", "8.8.8.8"))
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(UnreachableError):
        post(AgentNetworks(PRIVATE), "http://agent.example:8770")
    assert called == [("127.0.0.1", 8770)]


def test_without_networks_nothing_is_called() -> None:
    with pytest.raises(ForbiddenAddressError, match="TANDEMCAL_AGENT_NETWORKS"):
        AgentNetworks(()).resolve("127.0.0.1", 8770)


def test_networks_of_the_lab_are_called_alone() -> None:
    networks = AgentNetworks(["10.1.0.0/16"])
    assert networks.resolve("10.1.2.3", 8770) == ["10.1.2.3"]
    with pytest.raises(ForbiddenAddressError):
        networks.resolve("10.2.2.3", 8770)
