"""Webhooks: every event arrives once, signed, and of a bounded size."""

import json
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from service.api.context import utc_now
from service.db.repositories.events import EventRepository, Subject
from service.jobs.webhooks.message import MESSAGE_MAX
from tests.hostile.webhook_lab import (
    GIVEN,
    Sending,
    happen,
    make,
    shown,
)
from tests.webhook_receiver import Receiver, status
from tests.world import World


@pytest.mark.both_databases
def test_events_arrive_in_order_once_and_signed(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    happen(world, "job.queued")  # before there was a webhook
    made = make(world, receiver, secret=GIVEN)
    assert made["secret"] == GIVEN
    wanted = happen(world, "job.queued", "job.progress", "job.log", "job.ended")
    sending.look()
    sending.look()
    assert receiver.seqs() == [wanted[0], wanted[3]]  # not those that nobody asked for by name
    assert [one.event["type"] for one in receiver.received] == ["job.queued", "job.ended"]
    assert all(one.is_signed_with(GIVEN) for one in receiver.received)
    other = "whsec_" + "A" * 32
    assert not any(one.is_signed_with(other) for one in receiver.received)
    now = shown(world, made)
    assert (now["last_seq"], now["error"], now["attempts"]) == (wanted[3], None, 0)
    assert "secret" not in now


def told(world: World, data: dict[str, Any]) -> int:
    """Let a job end with this data; return the number of the event."""
    with world.context.database.writing() as session:
        events = EventRepository(session)
        key = str(time.monotonic_ns())
        events.append(Subject("job", "chip"), "job.ended", key, data, utc_now())
        return events.last()


@pytest.mark.parametrize(("size", "fits"), [(60_000, True), (66_000, False), (3_000_000, False)])
def test_a_message_has_a_bounded_size(
    world: World, receiver: Receiver, sending: Sending, size: int, fits: bool
) -> None:
    make(world, receiver)
    data = {"status": "succeeded", "result": {"layers": ["\u00e4" * (size // 2)]}, "reason": None}
    seq = told(world, data)
    sending.look()
    (one,) = receiver.received
    assert len(one.body) <= MESSAGE_MAX
    assert one.event["seq"] == seq
    assert one.event.get("omitted") == (None if fits else ["result"])
    assert one.event["data"] == (data if fits else {"status": "succeeded", "reason": None})
    assert (len(json.dumps(data, ensure_ascii=False).encode()) < MESSAGE_MAX) is fits  # the control


def test_many_large_fields_are_left_out_until_the_rest_fits(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    make(world, receiver)
    told(world, {f"{'n' * 5000}{n}": "x" * 30_000 for n in range(100)} | {"status": "failed"})
    sending.look()
    (one,) = receiver.received
    assert len(one.body) <= MESSAGE_MAX
    assert len(one.event["omitted"]) == 20
    assert one.event["data"]["status"] == "failed"


def sized(head: int, body: int) -> Any:
    """Answer 200 with so many bytes of headers and of content."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for number in range(head // 1000):
            handler.send_header(f"X-{number}", "a" * 990)
        handler.send_header("Content-Length", str(body))
        handler.end_headers()
        with suppress(ConnectionError):  # it is read no further
            handler.wfile.write(b"x" * body)

    return answer


@pytest.mark.parametrize(
    ("head", "body", "is_read"),
    [(50_000, 0, True), (0, 60_000, True), (80_000, 0, False), (0, 70_000, False)],
)
def test_little_of_an_answer_is_read(
    world: World, receiver: Receiver, sending: Sending, head: int, body: int, is_read: bool
) -> None:
    made = make(world, receiver)
    receiver.answer = sized(head, body)
    happen(world, "job.ended")
    sending.look()
    error = shown(world, made)["error"]
    assert error == (None if is_read else "its answer has more than 65536 bytes")


def test_the_types_that_are_asked_for_arrive(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    make(world, receiver, events=["job.progress", "weights.published"])
    wanted = happen(world, "job.queued", "job.progress", "job.ended")
    sending.look()
    assert receiver.seqs() == [wanted[1]]


def test_a_test_delivery_says_what_came_of_it(world: World, receiver: Receiver) -> None:
    made = make(world, receiver)
    path = f"/v1/webhooks/{made['id']}/test"
    assert world.client.post(path).json()["error"] is None
    (sent,) = receiver.received
    assert sent.event["type"] == "webhook.test"
    assert sent.is_signed_with(made["secret"])
    receiver.answer = status(503)
    failed = world.client.post(path).json()
    assert (failed["delivered"], failed["error"]) == (False, "it answered with status 503")
