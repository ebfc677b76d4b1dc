"""Errors of running jobs."""

from service.errors import ConflictError, ServiceError


class ServiceStoppingError(BaseException):
    """The service is being stopped; the job goes on elsewhere, or at its next start.

    No `Exception`: the engine must not take it for the job's result.
    """


class JobTakenOverError(BaseException):
    """Another executor drives the job: this one's dispatch is void.

    No `Exception`, for the same reason: the job's result is for the other one to give.
    """


class ExecutorRunningError(ServiceError):
    """Another process already runs the jobs of this SQLite database."""

    def __init__(self, database: str) -> None:
        super().__init__(
            f"Another Tandemcal service already runs the jobs of {database}; stop it first, "
            "or give this one a database of its own (TANDEMCAL_DATA_DIR)."
        )
        self.database = database


class ExecutorNameTakenError(ServiceError):
    """Two workers were given one name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Another worker named {name} lives; give this one a name of its own "
            "(TANDEMCAL_EXECUTOR_ID), or none."
        )
        self.name = name


class UnknownJobKindError(ConflictError):
    """This process knows no kind of job of that name; a process of another release may."""

    def __init__(self, name: str) -> None:
        super().__init__(f"This release knows no job of kind '{name}'.")
        self.name = name
