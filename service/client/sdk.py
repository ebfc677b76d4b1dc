"""The client of the service. It needs neither torch nor the packages of the server."""

from types import TracebackType

import httpx

from service.client.audit import Audit
from service.client.chips import Chips
from service.client.jobs import Jobs
from service.client.keys import Keys
from service.client.teachers import Students, TargetSets, Teachers
from service.client.transport import Retry, Transport
from service.client.webhooks import Webhooks
from service.schemas.resources import HealthView


class Tandemcal:
    """The client of one service.

    with Tandemcal("http://127.0.0.1:8765", key) as client:
        job = client.jobs.calibrate(chip_id, student_id)
        print(client.jobs.wait(job.id).result)
    """

    def __init__(
        self, base_url: str, key: str, *, timeout: float = 30.0, retry: Retry | None = None
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout
        )
        transport = Transport(self._http, retry or Retry())
        self._transport = transport
        self.jobs = Jobs(transport)
        self.teachers = Teachers(transport)
        self.target_sets = TargetSets(transport, self.jobs)
        self.students = Students(transport)
        self.chips = Chips(transport)
        self.keys = Keys(transport)
        self.audit = Audit(transport)
        self.webhooks = Webhooks(transport)

    def health(self) -> HealthView:
        """Return the state and the version of the service."""
        return self._transport.get("/healthz", HealthView)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Tandemcal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
