"""Webhooks: nobody else is called, no receiver stops another, and bad requests are refused."""

import base64
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from service.jobs.webhooks import delivery
from tests.hostile.test_stored_secrets import is_in_files
from tests.hostile.webhook_lab import (
    Sending,
    audited,
    happen,
    make,
    shown,
    until_delivered,
)
from tests.webhook_receiver import Receiver, receiving, status
from tests.world import World


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
