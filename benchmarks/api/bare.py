"""A bare FastAPI route, in a process of its own: python -m benchmarks.api.bare."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.listening import listen


@contextmanager
def bare_service() -> Iterator[tuple[int, int]]:
    """Start the service; yield its port and its process id."""
    command = [sys.executable, "-m", "benchmarks.api.bare"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.terminate()


def _serve() -> None:
    app = FastAPI()

    @app.get("/v1/jobs/{job_id}")
    async def get_job(job_id: str) -> dict[str, str]:
        return {"id": job_id}

    listener = listen("127.0.0.1", 0)
    listener.listen()  # a client that comes before the server waits
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve()
