"""Errors in requests: the request has to be changed before it is sent again."""

from collections.abc import Sequence
from typing import NamedTuple

from service.errors import ServiceError


class RequestError(ServiceError):
    """The request itself is wrong; it has to be changed before it is sent again."""


class FieldProblem(NamedTuple):
    """A JSON pointer (RFC 6901) to a wrong value, and a message that says what to change."""

    pointer: str
    message: str


class InvalidFieldsError(RequestError):
    """Fields are wrong in a way that the schema of the request cannot detect."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("; ".join(f"{pointer}: {message}" for pointer, message in problems))
        self.problems = problems


class ParameterError(RequestError):
    """A query parameter is wrong."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}.")
        self.parameter = parameter
        self.message = message


class UnknownParameterError(ParameterError):
    """The route takes no query parameter of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        takes = f"use {', '.join(known)}" if known else "this route takes none"
        super().__init__(name[:100], f"there is no such query parameter; {takes}")


class ForeignCursorError(ParameterError):
    """A cursor was not made by this list."""

    def __init__(self) -> None:
        super().__init__(
            "cursor", "this list made no such cursor; send `next_cursor` of its last page as it is"
        )


class PreconditionFailedError(RequestError):
    """The resource is not what the header `If-Match` says."""

    def __init__(self, current: str | None) -> None:
        found = f"its ETag is {current}" if current else "it does not exist"
        super().__init__(
            f"The resource has changed since it was read: {found}. Read it again, and send the "
            "change with its present ETag."
        )
        self.etag = current


class UnknownChipBackendError(RequestError):
    """No chip backend of this name is installed."""

    def __init__(self, backend: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no chip backend '{backend}'; use one of {', '.join(known)}, or install its "
            "driver."
        )
        self.backend = backend
        self.known = tuple(known)


class DriverLine(NamedTuple):
    """A place in a driver; the line is None where only the file is known."""

    function: str
    file: str
    line: int | None

    def __str__(self) -> str:
        """Return the function, the file and the line, as far as they are known."""
        parts = (self.function, self.file, self.line and f"line {self.line}")
        return ", ".join(str(part) for part in parts if part)


class DriverFailedError(RequestError):
    """A driver cannot be used: it is not imported, it raises, or it says what no chip may say."""

    def __init__(self, backend: str, reason: str, place: DriverLine | None = None) -> None:
        where = f" ({place})" if place is not None else ""
        super().__init__(
            f"The driver '{backend}' failed: {reason}{where}; correct it, and try again."
        )
        self.backend = backend
        self.reason = reason
        self.function: str | None = None if place is None else place.function
        self.file: str | None = None if place is None else place.file
        self.line: int | None = None if place is None else place.line


class JobTooLargeError(RequestError):
    """A job is estimated to need more memory than it may have."""

    def __init__(self, estimate_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"The job needs about {estimate_bytes / 2**30:.1f} GiB of memory, but may have "
            f"{limit_bytes / 2**30:.1f} GiB: make its batch, its time window or its samples "
            "smaller, or raise TANDEMCAL_JOB_MEMORY_BYTES."
        )
        self.estimate_bytes = estimate_bytes
        self.limit_bytes = limit_bytes


class ChecksumMismatchError(RequestError):
    """An upload does not match the checksum in its header."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"The bytes that arrived have SHA-256 {found}, but Content-Digest announced "
            f"{expected}; send them again."
        )
        self.expected = expected
        self.found = found


class DigestMissingError(RequestError):
    """An upload lacks the header `Content-Digest`."""

    def __init__(self) -> None:
        super().__init__(
            "An upload needs the header 'Content-Digest: sha-256=:BASE64:' with the SHA-256 of "
            "its bytes."
        )


class TooLargeError(RequestError):
    """A body is larger than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The upload is larger than {limit} bytes; send it in smaller chunks, or raise "
            "TANDEMCAL_MAX_UPLOAD_BYTES."
        )
        self.limit = limit


class BodyTooLargeError(RequestError):
    """A body that is no upload is larger than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes; only uploads may be.")
        self.limit = limit


class IdempotencyKeyMissingError(RequestError):
    """The request needs an Idempotency-Key."""

    def __init__(self) -> None:
        super().__init__(
            "This request needs an Idempotency-Key header, so that sending it again creates no "
            "second job."
        )


class IdempotencyMismatchError(RequestError):
    """The Idempotency-Key was used with another body."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key '{key}' was used before with another body; choose a new key."
        )
        self.key = key


class UnauthenticatedError(RequestError):
    """The request carries no valid key and no valid session."""

    def __init__(self) -> None:
        super().__init__("Send a valid key: 'Authorization: Bearer KEY'.")


class WrongHostError(RequestError):
    """The request is for another host."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"This service is not '{name[:100]}': use its address, or add the name to "
            "TANDEMCAL_SERVED_HOSTS."
        )


class TooManyRequestsError(RequestError):
    """A key or an address asks too often."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many requests; send the next one in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class ForbiddenError(RequestError):
    """The key lacks the scope that the request needs."""

    def __init__(self, needed: str) -> None:
        super().__init__(f"This key lacks the scope '{needed}'; use a key that has it.")
        self.needed = needed


class CrossSiteError(RequestError):
    """A page of another site asked for a change with the session cookie."""

    def __init__(self) -> None:
        super().__init__(
            "A browser session can change things only from the service's own pages; use those."
        )


class NotInNirError(RequestError):
    """A student cannot be expressed in NIR."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This student cannot be written as a NIR file. {reason}")
