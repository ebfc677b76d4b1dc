"""Webhooks of a real service: whatever happens to service and receiver, every event arrives."""

import time

from tests.integration.jobs_lab import Lab, Service, until
from tests.webhook_receiver import Receiver, receiving

QUICK = {"TANDEMCAL_WEBHOOK_RETRY_S": "0.2"}


def made_by(receiver: Receiver, job_id: str) -> list[str]:
    """The types of the events of this job that have arrived, each once."""
    found = {one.id: one.event for one in receiver.received}
    return [event["type"] for event in found.values() if event["job_id"] == job_id]


def test_events_of_jobs_arrive_although_receiver_and_service_are_killed(lab: Lab) -> None:
    receiver, service = Receiver(), Service(lab, **QUICK)
    chip = lab.chip("one")
    with receiving(receiver):
        port = int(receiver.url.rpartition(":")[2])
        answer = service.http.post("/v1/webhooks", json={"url": f"{receiver.url}/hook?lab=1"})
        secret = answer.json()["secret"]
        first = service.evaluate(chip)
        until(lambda: "job.ended" in made_by(receiver, first), "the first job's end arrives")
    second = service.evaluate(chip)
    lab.ended(second)
    path = f"/v1/webhooks/{answer.json()['id']}"
    until(lambda: service.http.get(path).json()["attempts"] > 0, "the receiver is missed")
    service.kill()
    with receiving(receiver, port):
        again = Service(lab, **QUICK)
        third = again.evaluate(chip)
        until(lambda: "job.ended" in made_by(receiver, third), "the third job's end arrives")
        again.stop()
    for job_id in (first, second, third):
        told = [event.type for event in lab.events(job_id)]
        wanted = [type for type in told if type not in ("job.progress", "job.log")]
        assert made_by(receiver, job_id) == wanted
    assert all(one.is_signed_with(secret) for one in receiver.received)
    assert all(one.path == "/hook?lab=1" for one in receiver.received)


def test_a_service_stops_in_time_while_a_receiver_hangs(lab: Lab) -> None:
    receiver, service = Receiver(), Service(lab, **QUICK)
    receiver.answer = lambda _: time.sleep(60)
    with receiving(receiver):
        assert service.http.post("/v1/webhooks", json={"url": receiver.url}).is_success
        lab.ended(service.evaluate(lab.chip("one")))
        until(lambda: receiver.received, "the receiver has been called")
        began = time.monotonic()
        assert service.stop() in (0, -15)
        assert time.monotonic() - began < 30
