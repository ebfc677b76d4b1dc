"""Read the events of one job while faults are injected."""

import threading

import httpx

from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal

_PAUSE = 0.5  # s before it asks again after a failed answer


class Reader:
    """Reads a job's events to their end; after a failure it asks from the last one on."""

    def __init__(self, address: str, key: str, job_id: str) -> None:
        self.job_id = job_id
        self.read: list[int] = []
        self.reopened = 0
        self._address, self._key = address, key
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"reader {job_id}", daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> None:
        """Until `job.ended` was read."""
        self._thread.join(timeout)
        self._stopping.set()

    def _follow(self) -> None:
        with Tandemcal(self._address, self._key) as client:
            while not self._stopping.is_set():
                try:
                    last = self.read[-1] if self.read else 0
                    self.read += (event.seq for event in client.jobs.events(self.job_id, last))
                    return
                except (TandemcalError, httpx.TransportError):
                    self.reopened += 1
                    self._stopping.wait(_PAUSE)
