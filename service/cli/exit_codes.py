"""Exit codes of the command line: what a program may rely on."""

from enum import IntEnum

from service.client.errors import JobEndedError, ServiceUnreachableError, TandemcalError


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1  # the job, or the command itself
    USAGE = 2  # a wrong option, or no key
    REFUSED = 3  # the service answered, and refused
    NO_ANSWER = 4  # no service answers at the address


_OF_ERROR: tuple[tuple[type[TandemcalError], ExitCode], ...] = (  # the first that fits
    (ServiceUnreachableError, ExitCode.NO_ANSWER),
    (JobEndedError, ExitCode.FAILED),
    (TandemcalError, ExitCode.REFUSED),
)


def exit_code_of(error: TandemcalError) -> ExitCode:
    """Return the exit code of a command that ended with this error of the client."""
    return next(code for kind, code in _OF_ERROR if isinstance(error, kind))
