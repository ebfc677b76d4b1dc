"""Errors that the service raises; `service/api/errors.py` maps them to HTTP answers."""

from collections.abc import Sequence
from typing import NamedTuple

from ltl_core.errors import CalibrationError, LeaseLostError


class ServiceError(CalibrationError):
    """Base class of the service's own errors."""


class NotFoundError(ServiceError):
    """No resource of this kind has this id."""

    what = "resource"

    def __init__(self, resource_id: str) -> None:
        super().__init__(f"There is no {self.what} '{resource_id}'; list them to see which exist.")
        self.resource_id = resource_id


class TeacherNotFoundError(NotFoundError):
    """No teacher has this id."""

    what = "teacher"


class TargetSetNotFoundError(NotFoundError):
    """No target set has this id."""

    what = "target set"


class StudentNotFoundError(NotFoundError):
    """No student has this id."""

    what = "student"


class ChipNotFoundError(NotFoundError):
    """No chip has this id."""

    what = "chip"


class WeightVersionNotFoundError(NotFoundError):
    """The chip has no weight version of this number."""

    what = "weight version"


class FingerprintNotFoundError(NotFoundError):
    """The chip has no fingerprint of this id."""

    what = "fingerprint"


class PolicyNotFoundError(NotFoundError):
    """The chip has no policy."""

    what = "policy for chip"


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    what = "job"


class KeyNotFoundError(NotFoundError):
    """No API key has this id."""

    what = "key"


class AgentNotFoundError(NotFoundError):
    """No agent has this id."""

    what = "agent"


class ConflictError(ServiceError):
    """The request is valid, but the present state does not allow it."""


class NameTakenError(ConflictError):
    """Another resource of this kind has this name."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"A {what} named '{name}' exists already; choose another name.")
        self.name = name


class InUseError(ConflictError):
    """The resource cannot be deleted because another one uses it."""

    def __init__(self, what: str, resource_id: str, used_by: str) -> None:
        super().__init__(f"The {what} '{resource_id}' is used by {used_by} and cannot be deleted.")
        self.resource_id = resource_id


class ChipRetiredError(ConflictError):
    """The chip is retired and takes no jobs."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(f"Chip {chip_id} is retired and takes no more jobs; choose another chip.")
        self.chip_id = chip_id


class ChipNotCalibratedError(ConflictError):
    """The chip has no weights in force that a probe could be compared with."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(
            f"Chip {chip_id} has no weights in force, so there is nothing to compare it with; "
            "calibrate it first."
        )
        self.chip_id = chip_id


class TargetSetStateError(ConflictError):
    """The target set is not in the state that the request needs."""

    def __init__(self, target_set_id: str, state: str, needed: str) -> None:
        super().__init__(
            f"Target set {target_set_id} is {state}, but this request needs one that is {needed}."
        )
        self.target_set_id = target_set_id
        self.state = state


class ChunksMissingError(ConflictError):
    """A target set is declared complete, but some of its chunks have not been uploaded."""

    def __init__(self, missing: Sequence[int]) -> None:
        named = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        super().__init__(f"Chunks {named} have not been uploaded; upload them and try again.")
        self.missing = tuple(missing)


class SplitMissingError(ConflictError):
    """A target set has no samples in one of its splits."""

    def __init__(self, split: str) -> None:
        super().__init__(
            f"The split '{split}' has no samples. A target set needs calibration and test samples: "
            "upload a new one with at least one chunk of each."
        )
        self.split = split


class JobStateError(ConflictError):
    """The status of the job does not allow the request."""

    def __init__(self, job_id: str, status: str, advice: str) -> None:
        super().__init__(f"Job {job_id} is {status}: {advice}.")
        self.job_id = job_id
        self.job_status = status


class AttemptSupersededError(LeaseLostError):
    """A worker writes for a job that has ended, or that a later attempt drives."""

    def __init__(self, job_id: str, token: int) -> None:
        super().__init__(job_id, token)
        self.args = (f"Token {token} no longer drives job {job_id}; nothing was written.",)
        self.job_id = job_id


class ArtifactMissingError(ServiceError):
    """A stored block is missing in the artifact store."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"The stored block {sha256} is missing; restore the artifact directory from a backup."
        )
        self.sha256 = sha256


class ArtifactCorruptError(ServiceError):
    """A stored block does not match its SHA-256."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"The stored block {sha256} does not match its checksum; restore it from a backup."
        )
        self.sha256 = sha256


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


class UnknownChipBackendError(RequestError):
    """No chip backend of this name is installed."""

    def __init__(self, backend: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no chip backend '{backend}'; use one of {', '.join(known)}, or install its "
            "driver."
        )
        self.backend = backend
        self.known = tuple(known)


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


class NotReadyError(ServiceError):
    """The service cannot answer yet."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The service is not ready: {reason}; try again shortly.")
        self.reason = reason
