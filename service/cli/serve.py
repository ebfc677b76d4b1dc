"""`tandemcal up` and `tandemcal api`: run the service in this process."""

import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from rich.console import Console

from service.api.metrics import METRICS_ADVICE
from service.app import MakeEngine, create_app, leave_jobs_to_workers, run_jobs_here
from service.cli.environment import read_settings
from service.connection_guard import guarded
from service.jobs.queue.executor import refuse_second
from service.listening import (
    KEEP_ALIVE,
    SHUTDOWN_GRACE,
    SWITCH_INTERVAL,
    listen,
    spare_startup_objects,
)
from service.logs import configure_logging
from service.open_connections import ConnectionLimits
from service.private_files import keep_private
from service.settings import Settings
from service.startup import prepare
from service.tls import event_loop, server_context

_ADVICE = "Choose another port with --port or TANDEMCAL_PORT, or 0 for any."


def serve(host: str | None, port: int | None, console: Console) -> None:
    """Serve requests and run jobs. Raises PortTakenError, TlsFilesError, ExecutorRunningError."""
    settings = _settings(host, port)
    with _listening(settings) as listener:
        refuse_second(settings.database)
        _answer(settings, run_jobs_here, listener, console)


def serve_api(host: str | None, port: int | None, console: Console) -> None:
    """Serve requests; workers run the jobs. Raises PortTakenError and TlsFilesError."""
    settings = _settings(host, port)
    if settings.agent_networks is None:
        settings = settings.model_copy(update={"agent_networks": ()})
    with _listening(settings) as listener:
        _answer(settings, leave_jobs_to_workers, listener, console)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    configure_logging(settings.log_level, as_json=settings.log_json)
    keep_private(settings.data_dir)
    listener = listen(settings.host, settings.port, _ADVICE)
    try:
        if settings.metrics_port is not None:  # said here in a sentence, before anything starts
            listen(settings.host, settings.metrics_port, METRICS_ADVICE).close()
        yield listener
    finally:
        listener.close()


def _answer(
    settings: Settings, engine: MakeEngine, listener: socket.socket, console: Console
) -> None:
    """Serve until a signal ends the process."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    tls = _tls(settings)
    new_key = prepare(settings)
    config = server_config(create_app(settings, engine), settings, tls)
    scheme = "http" if tls is None else "https"
    _Server(config, console, _sentences(settings, new_key), scheme).run(sockets=[listener])


def server_config(app: FastAPI, settings: Settings, tls: ssl.SSLContext | None) -> uvicorn.Config:
    """Return how the service is served: within limits of connections, headers and time."""
    limits = ConnectionLimits(settings.max_connections, settings.max_connections_per_address)
    return uvicorn.Config(
        app,
        http=guarded(limits, tls),
        loop=event_loop(tls),
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of TLS; None for plain HTTP. Raises TlsFilesError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return server_context(settings.tls_certificate, settings.tls_key)


def _settings(host: str | None, port: int | None) -> Settings:
    """Read the settings; host and port of the command line override the environment."""
    settings = read_settings()
    chosen = {
        "host": settings.host if host is None else host,
        "port": settings.port if port is None else port,
    }
    return settings.model_copy(update=chosen)


def _sentences(settings: Settings, new_key: str | None) -> list[str]:
    """Say where the key is stored and, once, on a terminal, the key itself: a log would keep it."""
    if new_key is not None and sys.stdout.isatty():
        return [f"A key was created; it is shown only once: {new_key}", _kept(settings)]
    return [_kept(settings)] if settings.key_file.exists() else []


def _kept(settings: Settings) -> str:
    return f"The key to sign in with is stored in {settings.key_file}, readable by you alone."


class _Server(uvicorn.Server):
    """A server that prints its address once it answers."""

    def __init__(
        self, config: uvicorn.Config, console: Console, sentences: list[str], scheme: str
    ) -> None:
        super().__init__(config)
        self._console = console
        self._sentences = sentences
        self._scheme = scheme

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and sockets:
            spare_startup_objects()
            host, port = sockets[0].getsockname()[:2]
            where = f"[{host}]" if ":" in host else host
            self._say(f"Tandemcal answers at {self._scheme}://{where}:{port}")
            for sentence in self._sentences:
                self._say(sentence)

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)
