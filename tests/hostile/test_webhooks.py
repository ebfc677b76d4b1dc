"""Webhooks: every event arrives, signed, whatever the receiver does; and nobody else is called."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text, update

from service.api.context import utc_now
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.webhooks import WebhookRepository
from service.db.webhook_tables import Webhook
from service.jobs.webhooks import delivery
from service.jobs.webhooks.message import MESSAGE_MAX
from service.jobs.webhooks.sender import Retries, WebhookSender
from service.secret_cipher import SecretCipher
from tests.hostile.test_stored_secrets import is_in_files
from tests.webhook_receiver import Receiver, receiving, status
from tests.world import World

GIVEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOUR = timedelta(hours=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as one:
        yield one


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


@pytest.fixture
def sending(world: World) -> Iterator[Sending]:
    made = Sending(world)
    yield made
    made.sender.stop()


def shown(world: World, webhook: Any) -> Any:
    return world.client.get(f"/v1/webhooks/{webhook['id']}").json()


def audited(world: World) -> list[str]:
    items = world.client.get("/v1/audit", params={"limit": 200}).json()["items"]
    return [one["action"] for one in items if one["action"].startswith("webhook.")][::-1]


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


def test_a_secret_is_shown_once_and_stored_encrypted(world: World, receiver: Receiver) -> None:
    made = make(world, receiver)
    assert made["secret"].startswith("whsec_")
    (listed,) = world.client.get("/v1/webhooks").json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert not is_in_files(made["secret"], world.context.settings)
    assert not is_in_files(made["secret"].removeprefix("whsec_"), world.context.settings)
    assert is_in_files(receiver.url, world.context.settings)  # the control: the row is there


def test_every_change_leaves_an_event_and_takes_an_administrator(
    world: World, receiver: Receiver
) -> None:
    body = {"name": "operator", "scopes": ["read", "operate"]}
    key = world.client.post("/v1/keys", json=body).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    path = f"/v1/webhooks/{make(world, receiver)['id']}"
    for method, where in (
        ("GET", "/v1/webhooks"),
        ("POST", "/v1/webhooks"),
        ("GET", path),
        ("PATCH", path),
        ("POST", f"{path}/test"),
        ("DELETE", path),
    ):
        assert world.client.request(method, where, headers=headers, json={}).status_code == 403
    assert world.client.patch(path, json={"enabled": False}).json()["enabled"] is False
    assert world.client.post(f"{path}/test").json()["delivered"] is True
    assert world.client.delete(path).status_code == 204
    assert world.client.get(path).status_code == 404
    assert audited(world) == [
        f"webhook.{what}" for what in ("created", "changed", "tested", "deleted")
    ]


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


@pytest.mark.both_databases
def test_a_receiver_that_was_down_gets_everything_afterwards(
    world: World, sending: Sending
) -> None:
    down = Receiver()
    with receiving(down):
        made = make(world, down)
    port = int(down.url.rpartition(":")[2])
    wanted = happen(world, "job.queued", "job.started", "job.ended")
    for _ in range(3):
        sending.look()
        time.sleep(0.02)
    failing = shown(world, made)
    assert failing["attempts"] == 3
    assert "cannot be reached" in failing["error"]
    assert failing["failing_since"] is not None
    with receiving(down, port):
        until_delivered(sending, lambda: len(down.received) == 3)
    assert down.seqs() == wanted
    assert shown(world, made)["failing_since"] is None


def until_delivered(sending: Sending, done: Any) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        sending.look()
        time.sleep(0.02)


def test_what_fails_is_sent_again_with_the_same_id(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    make(world, receiver)
    receiver.answer = status(500)
    (first, _) = happen(world, "job.queued", "job.ended")
    sending.look()
    receiver.answer = status(200)
    until_delivered(sending, lambda: len(receiver.received) == 3)
    assert receiver.seqs()[:2] == [first, first]
    assert receiver.ids()[0] == receiver.ids()[1] != receiver.ids()[2]
    assert receiver.received[0].headers["webhook-timestamp"].isdigit()


def test_the_pause_doubles_up_to_hours() -> None:
    retries = Retries(timedelta(seconds=5), timedelta(days=5))
    pauses = [retries.pause(attempts).total_seconds() for attempts in range(1, 40)]
    assert 4.5 <= pauses[0] <= 5.5
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses[:11]))
    assert 5.4 * 3600 <= pauses[-1] <= 6.6 * 3600
    assert sum(pauses[:14]) > 12 * 3600


@pytest.mark.both_databases
def test_two_senders_send_each_event_once(world: World, receiver: Receiver) -> None:
    make(world, receiver)
    wanted = happen(world, *["job.queued"] * 40)
    senders = [Sending(world) for _ in range(4)]
    threads = [threading.Thread(target=one.look) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in senders:
        one.look()
        one.sender.stop()
    assert receiver.seqs() == wanted


def test_what_a_dead_sender_delivered_but_did_not_store_comes_again(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    made = make(world, receiver)
    happen(world, "job.ended")
    with world.context.database.writing() as session:  # a process takes its turn, and dies
        turn = WebhookRepository(session).begin_turn(made["id"], utc_now(), HOUR)
        assert turn is not None
    sending.look()
    assert receiver.received == []  # it may still be alive
    with world.context.database.writing() as session:
        session.execute(update(Webhook).values(leased_until=utc_now() - HOUR))
    sending.look()
    assert len(receiver.received) == 1
    with world.context.database.writing() as session:  # it wakes up, and its turn is over
        assert not WebhookRepository(session).failed(
            turn, "late", utc_now(), utc_now() + HOUR, first=utc_now()
        )
    assert shown(world, made)["attempts"] == 0


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    world: World, receiver: Receiver, sending: Sending, code: int
) -> None:
    with receiving(Receiver()) as secret_place:
        receiver.answer = status(code, Location=secret_place.url)
        made = make(world, receiver)
        happen(world, "job.ended")
        sending.look()
        assert len(receiver.received) == 1
        assert secret_place.received == []
        assert "redirects are not followed" in shown(world, made)["error"]


def hanging(_: BaseHTTPRequestHandler) -> None:
    time.sleep(30)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    while True:
        handler.wfile.write(b"X-Endless: 1\r\n")
        handler.wfile.flush()
        time.sleep(0.05)


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


@pytest.mark.parametrize("answer", [hanging, dripping, endless])
def test_a_bad_receiver_is_cut_and_stops_no_other(
    world: World, receiver: Receiver, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DELIVERY_S", 1.0)
    sending = Sending(world)
    with receiving(Receiver()) as bad:
        bad.answer = answer
        cut = make(world, bad)
        make(world, receiver)
        wanted = happen(world, "job.queued", "job.ended")
        began = time.monotonic()
        sending.sender.run_once()
        while len(receiver.received) < 2:
            assert time.monotonic() - began < 30
            time.sleep(0.01)
        sending.sender.wait()
        assert time.monotonic() - began < 10
        assert receiver.seqs() == wanted
        assert shown(world, cut)["attempts"] == 1
        assert shown(world, cut)["error"] is not None
        sending.sender.stop()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]/",
        "http://8.8.8.8/",
        "http://0.0.0.0:9000/",
        "http://127.0.0.1:22/",
        "http://127.0.0.1:8765/v1/jobs",
        "http://[::ffff:169.254.169.254]/",
        "http://user:pass@127.0.0.1:9000/",
        "http://127.0.0.1:9000/#part",
        "ftp://127.0.0.1:9000/",
    ],
)
def test_an_address_that_may_not_be_called_is_refused(world: World, url: str) -> None:
    answer = world.client.post("/v1/webhooks", json={"url": url})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")
    good = world.client.post("/v1/webhooks", json={"url": "http://127.0.0.1:9000/a?b=c"})
    path = f"/v1/webhooks/{good.json()['id']}"
    assert world.client.patch(path, json={"url": url}).status_code == 422
    assert world.client.get(path).json()["url"] == "http://127.0.0.1:9000/a?b=c"


def test_a_name_that_leads_elsewhere_later_is_not_called(
    world: World, receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(world, receiver, url=receiver.url.replace("127.0.0.1", "localhost"))
    happen(world, "job.ended")
    real = socket.getaddrinfo

    def elsewhere(host: Any, *rest: Any, **more: Any) -> Any:
        return real("169.254.169.254" if host == "localhost" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    sending.look()
    assert receiver.received == []
    assert "169.254.169.254" in shown(world, made)["error"]
    monkeypatch.undo()
    until_delivered(sending, lambda: receiver.received)  # the control


def test_one_that_fails_for_days_is_disabled_with_an_event(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    made = make(world, receiver)
    receiver.answer = status(500)
    happen(world, "job.ended")
    sending.look()
    assert shown(world, made)["enabled"]
    with world.context.database.writing() as session:
        session.execute(update(Webhook).values(failing_since=utc_now() - timedelta(days=5.1)))
    time.sleep(0.02)
    sending.look()
    assert not shown(world, made)["enabled"]
    assert audited(world)[-1] == "webhook.disabled"
    sent = len(receiver.received)
    sending.look()
    assert len(receiver.received) == sent
    receiver.answer = status(200)
    again = world.client.patch(f"/v1/webhooks/{made['id']}", json={"enabled": True}).json()
    assert (again["enabled"], again["failing_since"]) == (True, None)
    (new,) = happen(world, "job.queued")
    sending.look()
    assert receiver.seqs()[sent:] == [new]  # from the next event on


def test_one_that_is_gone_is_disabled_at_once(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    made = make(world, receiver)
    receiver.answer = status(410)
    happen(world, "job.ended")
    sending.look()
    assert not shown(world, made)["enabled"]


def test_an_event_that_is_refused_for_a_day_is_left_out(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    made = make(world, receiver)
    receiver.answer = status(400)
    (_, second) = happen(world, "job.queued", "job.ended")
    sending.look()
    with world.context.database.writing() as session:
        session.execute(update(Webhook).values(tried_since=utc_now() - timedelta(days=1.1)))
    time.sleep(0.02)
    sending.look()
    assert shown(world, made)["given_up"] == 1
    receiver.answer = status(200)
    sending.look()
    assert receiver.seqs()[-1] == second


def test_one_whose_secret_is_lost_is_disabled_until_it_gets_another(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    made = make(world, receiver)
    lost = SecretCipher([Fernet.generate_key().decode()])
    with world.context.database.writing() as session:
        session.execute(update(Webhook).values(encrypted_secret=lost.encrypt(GIVEN)))
    happen(world, "job.ended")
    sending.look()
    now = shown(world, made)
    assert (now["enabled"], "cannot be decrypted" in now["error"]) == (False, True)
    path = f"/v1/webhooks/{made['id']}"
    assert world.client.post(f"{path}/test").status_code == 409
    world.client.patch(path, json={"secret": GIVEN, "enabled": True})
    happen(world, "job.ended")
    sending.look()
    assert [one.is_signed_with(GIVEN) for one in receiver.received] == [True]


def test_a_damaged_webhook_stops_no_other(
    world: World, receiver: Receiver, sending: Sending
) -> None:
    damaged = make(world, receiver)
    make(world, receiver)
    with world.context.database.writing() as session:
        change = text("UPDATE webhooks SET events = '{' WHERE id = :id")
        session.execute(change, {"id": damaged["id"]})
    wanted = happen(world, "job.ended")
    sending.look()
    assert receiver.seqs() == wanted
    answer = world.client.get(f"/v1/webhooks/{damaged['id']}")
    assert answer.json()["type"] == "/problems/damaged"


@pytest.mark.parametrize("size", [24, 25, 26, 27, 62, 63, 64])
def test_a_secret_of_every_allowed_size_is_accepted(
    world: World, receiver: Receiver, size: int
) -> None:
    secret = "whsec_" + base64.b64encode(b"\xff" * size).decode()
    assert make(world, receiver, secret=secret)["secret"] == secret


@pytest.mark.parametrize("enabled", [0, 1, "true", "off"])
def test_a_number_or_text_is_no_yes_or_no(world: World, receiver: Receiver, enabled: Any) -> None:
    path = f"/v1/webhooks/{make(world, receiver)['id']}"
    assert world.client.patch(path, json={"enabled": enabled}).status_code == 422
    assert world.client.patch(path, json={"enabled": True}).status_code == 200  # the control


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_short"},
        {"secret": "a" * 60},
        {"secret": "whsec_" + "A" * 33},
        {"secret": "whsec_" + "A" * 31 + "="},
        {"secret": "whsec_" + "A" * 88},
        {"events": []},
        {"events": ["no type\n"]},
        {"url": "http://127.0.0.1:9000/" + "a" * 500},
        {"unknown": 1},
    ],
)
def test_every_field_has_bounds(world: World, wrong: dict[str, Any]) -> None:
    body = {"url": "http://127.0.0.1:9000/"} | wrong
    assert world.client.post("/v1/webhooks", json=body).status_code == 422
