"""A service in this process with something of everything, to be fuzzed."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis.python import asgi

from service.app import create_app
from service.settings import Settings
from service.states import Scope
from tests.integration.registered_agents import introduction
from tests.integration.upkeep_lab import Fleet
from tests.recording import RecordingEngine
from tests.world import World

_MANY = 10**9  # requests and wrong keys: there is nothing to slow down


class FuzzedLab(NamedTuple):
    """The application, its document, and ids of what stands in it, by the parameter's name."""

    app: FastAPI
    client: TestClient  # with the first key
    document: dict[str, Any]
    ids: dict[str, list[str]]

    def make_key(self, scopes: Sequence[Scope]) -> str:
        """Make a key of these scopes."""
        body = {"name": "fuzz", "scopes": list(scopes)}
        answer = self.client.post("/v1/keys", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])


@contextmanager
def fuzzed_lab(migrated: Path, folder: Path) -> Iterator[FuzzedLab]:
    """Make the service and what stands in it; its engine starts no job."""
    shutil.copy(migrated, folder)
    settings = Settings(
        data_dir=folder,
        served_hosts=("testserver",),
        requests_per_s=_MANY,
        wrong_keys_per_minute=_MANY,
        agent_networks=("127.0.0.0/8",),
    )
    app = create_app(settings, RecordingEngine())
    # schemathesis starts the application in a loop of its own, and ends it.
    with asgi.get_client(cast(Any, app)):
        client = TestClient(app)
        key = settings.key_file.read_text().strip()
        client.headers["Authorization"] = f"Bearer {key}"
        try:
            ids = _stand_up(World(client, RecordingEngine(), key))
            document = client.get("/v1/openapi.json").json()
            yield FuzzedLab(app, client, document, ids)
        finally:
            asgi.shutdown_lifespans()


def _stand_up(world: World) -> dict[str, list[str]]:
    """Make two chips, one with weights, a policy and jobs in several states."""
    fleet = Fleet(world)
    chip, bare = fleet.chip("calibrated", probe_every_s=3600.0), world.register_chip("bare")["id"]
    waiting = world.calibrate(chip, fleet.student)["id"]
    running = world.calibrate(bare, fleet.student)["id"]
    world.drive(running)
    cancelled = world.calibrate(bare, fleet.student)["id"]
    world.client.post(f"/v1/jobs/{cancelled}/cancel")
    agent = world.client.post("/v1/agents", json=introduction(url="http://127.0.0.1:9000")).json()
    jobs = world.client.get("/v1/jobs").json()["items"]
    listed = {
        name: [one["id"] for one in world.client.get(path).json()["items"]]
        for name, path in _LISTS.items()
    }
    return listed | {
        "job_id": [waiting, running, cancelled, jobs[-1]["id"]],
        "chip_id": [chip, bare, agent["chip_id"]],
        "agent_id": [agent["id"]],
    }


_LISTS = {
    "teacher_id": "/v1/teachers",
    "target_set_id": "/v1/target-sets",
    "student_id": "/v1/students",
}
