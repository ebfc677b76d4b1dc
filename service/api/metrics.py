"""`/metrics` for Prometheus, without a key; the setting `metrics_port` gives it its own port."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest, make_asgi_app

from service.api.context import ContextDep
from service.api.threads import ServiceRouter
from service.connection_guard import guarded
from service.db.session import Database
from service.listening import listen
from service.metrics import make_registry
from service.open_connections import ConnectionLimits
from service.settings import Settings

# A few scrapers ask now and then.
_LIMITS = ConnectionLimits(connections=32, connections_per_address=16)
_PAUSE = 0.01  # s between two looks whether the server answers
METRICS_ADVICE = "Choose another port for the metrics with TANDEMCAL_METRICS_PORT."
router = ServiceRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(context: ContextDep) -> Response:
    """Return the state of jobs, chips, leases and workers in the text format of Prometheus."""
    return Response(generate_latest(context.metrics), media_type=CONTENT_TYPE_LATEST)


@contextmanager
def metrics_server(settings: Settings, database: Database, kinds: Iterable[str]) -> Iterator[None]:
    """Serve `/metrics` on its own port until the block ends; do nothing if no port is set.

    Connections have the same guard as those of the API. Raises PortTakenError.
    """
    if settings.metrics_port is None:
        yield
        return
    listener = listen(settings.host, settings.metrics_port, METRICS_ADVICE)
    server = _server(make_asgi_app(make_registry(database, kinds)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="metrics")
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _server(app: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=guarded(_LIMITS),
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
