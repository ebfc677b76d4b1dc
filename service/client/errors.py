"""What the client raises: one class for every answer that is a problem, one for no answer."""

from collections.abc import Mapping
from typing import Any

import httpx

Problem = Mapping[str, Any]


class TandemcalError(Exception):
    """The service answered with a problem (RFC 9457), or did not answer as it should."""

    def __init__(self, status: int, problem: Problem) -> None:
        self.status = status
        self.problem = dict(problem)
        self.type = str(problem.get("type", "about:blank"))
        self.title = str(problem.get("title", f"HTTP status {status}"))
        self.detail = str(problem.get("detail", self.title))
        super().__init__(_sentence(self.detail, problem.get("errors")))

    @property
    def slug(self) -> str:
        """The last part of the problem's type, such as `not-found`."""
        return self.type.rsplit("/", 1)[-1]


class ServiceUnreachableError(TandemcalError):
    """No answer, after all tries."""

    def __init__(self, address: str, reason: str) -> None:
        detail = (
            f"The service at {address} does not answer ({reason}); "
            "is it running, and is the address right? `tandemcal up` starts it."
        )
        super().__init__(0, {"title": "No answer", "detail": detail})


class JobEndedError(TandemcalError):
    """A job that was waited for ended in another way than by success."""

    def __init__(self, job_id: str, status: str, reason: str | None) -> None:
        detail = f"Job {job_id} {status}: {reason or 'no reason was given'}"
        super().__init__(0, {"title": f"Job {status}", "detail": detail})
        self.job_id = job_id
        self.job_status = status
        self.reason = reason


class DownloadError(TandemcalError):
    """What arrived is not what the service said it sent."""

    def __init__(self, path: str) -> None:
        detail = f"The bytes from {path} do not match their checksum; download them again."
        super().__init__(0, {"title": "Checksum mismatch", "detail": detail})


def problem_of(response: httpx.Response) -> TandemcalError:
    """The error that an answer of 400 or above stands for."""
    try:
        body = response.json()
    except ValueError:
        body = {"detail": response.text[:500] or response.reason_phrase}
    problem = body if isinstance(body, dict) else {"detail": str(body)}
    return TandemcalError(response.status_code, problem)


def _sentence(detail: str, errors: object) -> str:
    if not isinstance(errors, list):
        return detail
    parts = [
        f"{entry.get('pointer', '')}: {entry.get('message', '')}"
        for entry in errors
        if isinstance(entry, dict)
    ]
    return f"{detail} ({'; '.join(parts)})" if parts else detail
