"""`/metrics` for Prometheus, without a key; the setting `metrics_port` gives it its own port."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest, start_http_server

from service.api.context import ContextDep
from service.db.session import Database
from service.metrics import make_registry
from service.settings import Settings

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(context: ContextDep) -> Response:
    """Return the state of jobs, chips, leases and workers in the text format of Prometheus."""
    return Response(generate_latest(context.metrics), media_type=CONTENT_TYPE_LATEST)


@contextmanager
def metrics_server(settings: Settings, database: Database) -> Iterator[None]:
    """Serve `/metrics` on its own port until the block ends; do nothing if no port is set."""
    if settings.metrics_port is None:
        yield
        return
    registry = make_registry(database)
    server, thread = start_http_server(settings.metrics_port, settings.host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
