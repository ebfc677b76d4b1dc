"""Errors of the client: the service answered with a problem, did not answer, or a job failed."""

from collections.abc import Mapping
from typing import Any

import httpx

Problem = Mapping[str, Any]


class TandemcalError(Exception):
    """The service answered with a problem (RFC 9457), or in another way than expected."""

    def __init__(self, status: int, problem: Problem) -> None:
        self.status = status
        self.problem = dict(problem)
        self.type = str(problem.get("type", "about:blank"))
        self.title = str(problem.get("title", f"HTTP status {status}"))
        self.detail = str(problem.get("detail", self.title))
        super().__init__(_sentence(self.detail, problem.get("errors")))

    @property
    def slug(self) -> str:
        """Last part of the type of the problem, such as `not-found`."""
        return self.type.rsplit("/", 1)[-1]


class ServiceUnreachableError(TandemcalError):
    """The service did not answer, after all tries."""

    def __init__(self, address: str, reason: str) -> None:
        detail = (
            f"The service at {address} does not answer ({reason}). Check that it is running "
            "and that the address is right; `tandemcal up` starts a service."
        )
        super().__init__(0, {"title": "No answer", "detail": detail})


class JobEndedError(TandemcalError):
    """A job that was waited for did not succeed."""

    def __init__(self, job_id: str, status: str, reason: str | None) -> None:
        detail = f"Job {job_id} {status}: {reason or 'no reason was given'}"
        super().__init__(0, {"title": f"Job {status}", "detail": detail})
        self.job_id = job_id
        self.job_status = status
        self.reason = reason


class DownloadError(TandemcalError):
    """A download does not match the checksum that the service sent with it."""

    def __init__(self, path: str) -> None:
        detail = f"The bytes from {path} do not match their checksum; download them again."
        super().__init__(0, {"title": "Checksum mismatch", "detail": detail})


def problem_of(response: httpx.Response) -> TandemcalError:
    """Build the error for an answer with a status of 400 or above."""
    try:
        body = response.json()
    except ValueError:
        body = {"detail": response.text[:500] or response.reason_phrase}
    problem = body if isinstance(body, dict) else {"detail": str(body)}
    return TandemcalError(response.status_code, problem)


def _sentence(detail: str, errors: object) -> str:
    """Return the detail, and what it does not say yet of the single errors."""
    if not isinstance(errors, list):
        return detail
    entries = [entry for entry in errors if isinstance(entry, dict)]
    said = [(_place(entry), str(entry.get("message", ""))) for entry in entries]
    parts = [f"{place}: {message}" for place, message in said if message not in detail]
    return f"{detail} ({'; '.join(parts)})" if parts else detail


def _place(entry: Problem) -> str:
    return str(entry.get("pointer") or entry.get("parameter") or "the body")
