"""Calls of an agent by plain HTTP, with headers that a test chooses."""

from typing import Any

import httpx

from service.bench.protocol.wire import MEDIA_TYPE, Message, decode, encode
from service.digests import content_digest
from tests.agents import ServedAgent


def call(agent: ServedAgent, verb: str, message: Message, **headers: str) -> httpx.Response:
    """Make one call as a driver does, with the given headers in place of the usual ones."""
    content = encode(message).whole()
    usual = {
        "Authorization": f"Bearer {agent.address.secret}",
        "Content-Type": MEDIA_TYPE,
        "Content-Digest": content_digest(content),
        "Lease-Token": "1",
        "Request-Id": "one",
    }
    sent = {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(f"{agent.address.url}/v1/chip/{verb}", content=content, headers=sent)


def clock(agent: ServedAgent, token: str = "1") -> Any:
    answer = call(agent, "now", Message(), Lease_Token=token, Request_Id="look")
    return decode(answer.content).fields["chip_time_s"]
