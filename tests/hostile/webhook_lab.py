"""A receiver of webhooks and a sender of the test's own, with what happens to them."""

import time
from datetime import timedelta
from typing import Any

from service.api.context import utc_now
from service.db.repositories.events import EventRepository, Subject
from service.jobs.webhooks.sender import WebhookSender
from tests.webhook_receiver import Receiver
from tests.world import World

GIVEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


HOUR = timedelta(hours=1)


def make(world: World, receiver: Receiver, **asked: Any) -> Any:
    answer = world.client.post("/v1/webhooks", json={"url": receiver.url} | asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


def happen(world: World, *types: str) -> list[int]:
    """Let events happen; return their numbers."""
    numbers = []
    for number, type in enumerate(types):
        with world.context.database.writing() as session:
            events = EventRepository(session)
            key = f"{time.monotonic_ns()}-{number}"
            events.append(Subject("job", "chip"), type, key, {"a": 1}, utc_now())
            numbers.append(events.last())
    return numbers


class Sending:
    """A sender of the test's own, which looks when it is told to."""

    def __init__(self, world: World, **settings: Any) -> None:
        quick = {"webhook_retry_s": 0.001, **settings}
        chosen = world.context.settings.model_copy(update=quick)
        self.sender = WebhookSender(chosen, world.context.database, world.context.cipher)

    def look(self) -> None:
        self.sender.run_once()
        self.sender.wait()


def shown(world: World, webhook: Any) -> Any:
    return world.client.get(f"/v1/webhooks/{webhook['id']}").json()


def audited(world: World) -> list[str]:
    items = world.client.get("/v1/audit", params={"limit": 200}).json()["items"]
    return [one["action"] for one in items if one["action"].startswith("webhook.")][::-1]


def until_delivered(sending: Sending, done: Any) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        sending.look()
        time.sleep(0.02)
