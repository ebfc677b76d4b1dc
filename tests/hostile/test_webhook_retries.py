"""Webhooks whose receivers fail: what is sent again, and when one is given up."""

import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text, update

from service.api.context import utc_now
from service.db.repositories.webhooks import WebhookRepository
from service.db.webhook_tables import Webhook
from service.jobs.webhooks.sender import Retries
from service.secret_cipher import SecretCipher
from tests.hostile.webhook_lab import (
    GIVEN,
    HOUR,
    Sending,
    audited,
    happen,
    make,
    shown,
    until_delivered,
)
from tests.webhook_receiver import Receiver, receiving, status
from tests.world import World


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
