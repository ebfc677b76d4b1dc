"""Every route that changes something runs in the threads of changes, and has the rules of keys."""

from inspect import iscoroutinefunction, unwrap
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from service.api.auth import needs_key
from service.api.threads import CHANGES, ServiceRouter
from service.app import create_app
from service.settings import Settings
from tests.recording import RecordingEngine

# They read a body as it arrives, wait for a driver, or for a batch, and choose the threads of each
# part.
BY_THEMSELVES = {"register_chip", "upload_teacher", "upload_chunk", "hear_agent", "submit_job"}


def own_threads(app: FastAPI) -> set[str]:
    """Names of the changing routes that do not run in the threads of changes."""
    return {name for name, endpoint in changing(app).items() if unwrap(endpoint) is endpoint}


def changing(app: FastAPI) -> dict[str, Any]:
    """The endpoints of the routes that change something, by name."""
    found = iter_route_contexts(app.routes)
    endpoints = [route.endpoint for route in found if CHANGES & set(route.methods or ())]
    return {endpoint.__name__: endpoint for endpoint in endpoints if endpoint is not None}


def add_change(router: APIRouter) -> Any:
    @router.post("/changes")
    def change(context: str) -> str:
        return context

    return change


def test_every_changing_route_runs_in_the_threads_of_changes(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), RecordingEngine())
    assert len(changing(app)) > 20
    assert own_threads(app) == BY_THEMSELVES
    assert all(iscoroutinefunction(changing(app)[name]) for name in BY_THEMSELVES)


@pytest.mark.parametrize(("router", "found"), [(APIRouter(), {"change"}), (ServiceRouter(), set())])
def test_a_changing_route_of_another_router_would_be_seen(
    router: APIRouter, found: set[str]
) -> None:
    app = FastAPI()
    add_change(router)
    app.include_router(router)
    assert own_threads(app) == found


@pytest.mark.parametrize(
    ("path", "closed"),
    [("/v1/jobs", True), ("/v1/openapi.json", True), ("/v1/session", False), ("/login", False)],
)
def test_all_of_the_api_but_signing_in_needs_a_key(path: str, closed: bool) -> None:
    assert needs_key(path) is closed
