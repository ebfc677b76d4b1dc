"""Pages of problem types: what each means, and what to do. They need no key."""

from collections.abc import Mapping
from typing import NamedTuple


class ProblemPage(NamedTuple):
    """What the page of a problem type says."""

    meaning: str
    advice: str


PROBLEM_PAGES: Mapping[str, ProblemPage] = {
    "bad-request": ProblemPage(
        "The request cannot be read as HTTP or as the form that the route expects.",
        "Compare it with the OpenAPI document at /v1/openapi.json.",
    ),
    "capacity": ProblemPage(
        "The network needs more rows, columns or tiles than the chip has.",
        "Choose a larger chip or a smaller network, or allow more passes with passes_max.",
    ),
    "checksum-mismatch": ProblemPage(
        "The body that arrived does not have the SHA-256 that Content-Digest announces.",
        "Send the same body again; if it happens again, compute the digest of the bytes sent.",
    ),
    "chip-unavailable": ProblemPage(
        "The chip's agent or driver does not answer, or another run holds the chip.",
        "Look at the state of the chip and of its agent, wait Retry-After seconds, and try again.",
    ),
    "code-range": ProblemPage(
        "A weight code or a trim is outside the range that the chip accepts.",
        "Use a student whose codes fit the chip: compare its settings with the chip's info.",
    ),
    "conflict": ProblemPage(
        "The request is valid, but the present state of the resource does not allow it.",
        "Read the resource; detail says which state or which other resource is in the way.",
    ),
    "damaged": ProblemPage(
        "Stored data do not match their checksum, or hold a value that they may not have.",
        "Restore what detail names from a backup, or make it again.",
    ),
    "driver-failed": ProblemPage(
        "The driver of the chip failed when the service opened it.",
        "Read the line of the driver in detail, correct its settings, and register the chip again.",
    ),
    "forbidden": ProblemPage(
        "The key is valid, but it does not allow this request.",
        "Use a key with the scope that detail names, from the page of the same site.",
    ),
    "idempotency-mismatch": ProblemPage(
        "This Idempotency-Key was sent before with another body.",
        "Use a new key for a new request; use the same key only to repeat the same body.",
    ),
    "insufficient-storage": ProblemPage(
        "The disk of the service has no room for what the request stores.",
        "Free some space on the disk of the data folder, and send the request again.",
    ),
    "internal": ProblemPage(
        "The service failed because of a fault of its own.",
        "Look at the log of the service at this time; report the fault with its lines.",
    ),
    "invalid-request": ProblemPage(
        "Fields, parameters or tensors of the request are not as the API expects them.",
        "Correct the fields that errors names, each with its pointer or parameter.",
    ),
    "job-too-large": ProblemPage(
        "The job is estimated to need more memory than one job may have.",
        "Use a smaller batch or fewer samples, or raise TANDEMCAL_JOB_MEMORY_BYTES.",
    ),
    "lease-lost": ProblemPage(
        "Another run drives the chip, or the job is no longer the one that does.",
        "Do nothing for a job that goes on elsewhere; otherwise submit it again.",
    ),
    "method-not-allowed": ProblemPage(
        "There is such a path, but it does not take this method.",
        "Use one of the methods that the header Allow names.",
    ),
    "not-found": ProblemPage(
        "There is no resource of this id or name, or no such path.",
        "List the resources of this kind to see which exist.",
    ),
    "not-ready": ProblemPage(
        "The service is starting, or its database does not answer.",
        "Wait Retry-After seconds and try again; if it lasts, look at /readyz and at the log.",
    ),
    "precondition-failed": ProblemPage(
        "The resource has changed since it was read: its ETag is not that of If-Match.",
        "Read it again, make the change anew, and send it with the present ETag.",
    ),
    "rate-limited": ProblemPage(
        "More requests came from this address than are allowed in a time.",
        "Wait Retry-After seconds; send requests in larger batches or less often.",
    ),
    "too-large": ProblemPage(
        "The body is larger than the service accepts.",
        "Send smaller chunks, or raise TANDEMCAL_MAX_UPLOAD_BYTES for uploads.",
    ),
    "unauthenticated": ProblemPage(
        "The request has no key, or one that is unknown, revoked or expired.",
        "Send a valid key in the header Authorization: Bearer tcal_...",
    ),
    "unsupported-layer": ProblemPage(
        "The network has a layer that spiking chips of this service cannot run.",
        "Replace the layer that detail names by one of the kinds it lists.",
    ),
    "wrong-host": ProblemPage(
        "The header Host names a host that this service does not serve.",
        "Use its own address, or add the name to TANDEMCAL_SERVED_HOSTS.",
    ),
}
