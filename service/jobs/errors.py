"""What running jobs can run into."""

from service.errors import ServiceError


class ServiceStoppingError(BaseException):
    """The service is being stopped; the job goes on at its next start.

    No `Exception`: the engine must not take it for the job's answer.
    """


class ExecutorRunningError(ServiceError):
    """On SQLite one service process runs the jobs."""

    def __init__(self, database: str) -> None:
        super().__init__(
            f"Another Tandemcal service already runs the jobs of {database}; stop it first, "
            "or give this one a database of its own (TANDEMCAL_DATA_DIR)."
        )
        self.database = database


class UnknownBackendError(ServiceError):
    """No chip backend of that name is installed."""

    def __init__(self, backend: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"There is no chip backend '{backend}'; install its driver or use one of "
            f"{', '.join(known)}."
        )
        self.backend = backend
        self.known = known
