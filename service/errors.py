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
    what = "teacher"


class TargetSetNotFoundError(NotFoundError):
    what = "target set"


class StudentNotFoundError(NotFoundError):
    what = "student"


class ChipNotFoundError(NotFoundError):
    what = "chip"


class WeightVersionNotFoundError(NotFoundError):
    what = "weight version"


class FingerprintNotFoundError(NotFoundError):
    what = "fingerprint"


class PolicyNotFoundError(NotFoundError):
    what = "policy for chip"


class JobNotFoundError(NotFoundError):
    what = "job"


class KeyNotFoundError(NotFoundError):
    what = "key"


class AgentNotFoundError(NotFoundError):
    what = "agent"


class ConflictError(ServiceError):
    """The request is valid, but the present state does not allow it."""


class NameTakenError(ConflictError):
    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"A {what} named '{name}' exists already; choose another name.")
        self.name = name


class InUseError(ConflictError):
    def __init__(self, what: str, resource_id: str, used_by: str) -> None:
        super().__init__(f"The {what} '{resource_id}' is used by {used_by} and cannot be deleted.")
        self.resource_id = resource_id


class ChipRetiredError(ConflictError):
    def __init__(self, chip_id: str) -> None:
        super().__init__(f"Chip {chip_id} is retired and takes no more jobs; choose another chip.")
        self.chip_id = chip_id


class ChipNotCalibratedError(ConflictError):
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
    def __init__(self, split: str) -> None:
        super().__init__(
            f"The split '{split}' has no samples. A target set needs calibration and test samples: "
            "upload a new one with at least one chunk of each."
        )
        self.split = split


class JobStateError(ConflictError):
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
    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"The stored block {sha256} is missing; restore the artifact directory from a backup."
        )
        self.sha256 = sha256


class ArtifactCorruptError(ServiceError):
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
    def __init__(self, backend: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no chip backend '{backend}'; use one of {', '.join(known)}, or install its "
            "driver."
        )
        self.backend = backend
        self.known = tuple(known)


class ChecksumMismatchError(RequestError):
    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"The bytes that arrived have SHA-256 {found}, but Content-Digest announced "
            f"{expected}; send them again."
        )
        self.expected = expected
        self.found = found


class DigestMissingError(RequestError):
    def __init__(self) -> None:
        super().__init__(
            "An upload needs the header 'Content-Digest: sha-256=:BASE64:' with the SHA-256 of "
            "its bytes."
        )


class TooLargeError(RequestError):
    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The upload is larger than {limit} bytes; send it in smaller chunks, or raise "
            "TANDEMCAL_MAX_UPLOAD_BYTES."
        )
        self.limit = limit


class IdempotencyKeyMissingError(RequestError):
    def __init__(self) -> None:
        super().__init__(
            "This request needs an Idempotency-Key header, so that sending it again creates no "
            "second job."
        )


class IdempotencyMismatchError(RequestError):
    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key '{key}' was used before with another body; choose a new key."
        )
        self.key = key


class UnauthenticatedError(RequestError):
    def __init__(self) -> None:
        super().__init__("Send a valid key: 'Authorization: Bearer KEY'.")


class ForbiddenError(RequestError):
    def __init__(self, needed: str) -> None:
        super().__init__(f"This key lacks the scope '{needed}'; use a key that has it.")
        self.needed = needed


class CrossSiteError(RequestError):
    def __init__(self) -> None:
        super().__init__(
            "A browser session can change things only from the service's own pages; use those."
        )


class NotReadyError(ServiceError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"The service is not ready: {reason}; try again shortly.")
        self.reason = reason
