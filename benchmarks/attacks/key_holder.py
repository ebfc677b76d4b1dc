"""A user with a key who asks for what no service can do: times of 1e308 s, seeds of 1e30."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx

from benchmarks.attacks.victim import Victim

_HOSTILE: tuple[dict[str, Any], ...] = (
    {"settings": {"settle_s": 1e308}},
    {"settings": {"seed": 10**30}},
    {"settings": {"budget": {"seconds": 1e308}}},
    {"not_before": "9999-12-31T23:59:59-14:00"},
)


@contextmanager
def key_holder(victim: Victim, answers: Counter[int]) -> Iterator[Callable[[], None]]:
    """Yield a function that sends one policy and one job with an absurd number."""
    headers = {"Authorization": f"Bearer {victim.service.key}"}
    with httpx.Client(base_url=victim.service.url, headers=headers, timeout=30) as client:
        yield _sender(client, victim.job_id, answers)


def _sender(client: httpx.Client, job_id: str, answers: Counter[int]) -> Callable[[], None]:
    numbers = count()
    job = client.get(f"/v1/jobs/{job_id}").json()
    about = {name: job[name] for name in ("kind", "chip_id", "student_id")}

    def send() -> None:
        number = next(numbers)
        hostile = about | _HOSTILE[number % len(_HOSTILE)]
        once = {"Idempotency-Key": f"hostile {number}"}
        policy = {"probe_every_s": 1e308}
        for answer in (
            client.post("/v1/jobs", json=hostile, headers=once),
            client.put(f"/v1/chips/{job['chip_id']}/policy", json=policy),
        ):
            answers[answer.status_code] += 1

    return send
