"""Requests for jobs over HTTP."""

from typing import Any

from httpx2 import Response
from uuid_utils import uuid7

from tests.world import World


def post(world: World, body: Any, key: str | None = None) -> Response:
    headers = {"Idempotency-Key": key or str(uuid7())}
    return world.client.post("/v1/jobs", json=body, headers=headers)


def calibration(world: World, **parts: Any) -> dict[str, Any]:
    return {
        "kind": "calibrate",
        "chip_id": world.register_chip()["id"],
        "student_id": world.trained_student(),
    } | parts
