"""A chip agent on a real socket, in this process, and the driver that drives it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
from cryptography.fernet import Fernet
from starlette.types import ASGIApp

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import ChipBackend
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.journal import Journal
from service.bench.agent.server import create_agent
from service.bench.driver.http_chip import HttpChip, open_http_chip
from service.bench.driver.rpc_client import AgentAddress
from service.db.repositories.agents import Registrant
from service.listening import listen
from service.secret_cipher import SecretCipher

CIPHER = SecretCipher([Fernet.generate_key().decode()])
ANYBODY = Registrant("key", is_admin=False, shown_sha256=None, next_sha256="0" * 64)
START_WITHIN = 20.0  # s


class ServedAgent(NamedTuple):
    """An agent on a socket: how to reach it, and its chip server."""

    address: AgentAddress
    chip_server: ChipServer

    @contextmanager
    def drive(self, token: int = 1) -> Iterator[HttpChip]:
        """Open a driver of the chip under this lease token."""
        chip = open_http_chip("bench-1", self.address, token)
        yield chip
        chip.close()


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve the app in a thread; yield its URL."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + START_WITHIN
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.002)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_WITHIN)


@contextmanager
def serve_agent(
    folder: Path, chip: ChipBackend | None = None, **limits: float
) -> Iterator[ServedAgent]:
    """Serve this chip, or one of the preset `pcm`, with the journal in the folder."""
    journal = Journal(folder / "agent.sqlite")
    secret = journal.about().secret
    chip_server = ChipServer(chip or make_chip("bench-1", preset("pcm"), 7), journal, aging=0.0)
    with serving(create_agent(chip_server, secret)) as url:
        yield ServedAgent(AgentAddress(url=url, secret=secret, **limits), chip_server)
