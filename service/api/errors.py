"""Errors as HTTP answers (RFC 9457): the one table from exception to status and problem type."""

import errno
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import DataError, IntegrityError
from starlette.exceptions import HTTPException

from chip_sim.errors import UnknownPresetError
from ltl_core import errors as core
from service import damage_errors, errors, request_errors
from service.api.field_errors import errors_of_request, place_of
from service.api.methods import methods_of
from service.api.problem_size import within_limits
from service.db.outage import AWAY
from service.disk_space import StorageFullError, is_full
from service.logs import in_a_line
from service.schemas.resources import FieldError, Problem

MEDIA_TYPE = "application/problem+json"
ErrorPage = Callable[[Request, Problem], Response]  # what a browser is shown in place of JSON


class Kind(NamedTuple):
    """A family of problems: its HTTP status, the end of its `type`, and its title."""

    status: int
    slug: str
    title: str


_INVALID = Kind(422, "invalid-request", "The request is not valid")
_CONFLICT = Kind(409, "conflict", "The present state does not allow this")
_BUSY = Kind(503, "not-ready", "The service is not ready")
_FULL = Kind(507, "insufficient-storage", "The disk of the service is full")
_INTERNAL = Kind(500, "internal", "The service failed")

# The nearest base class in the table decides.
PROBLEMS: Mapping[type[Exception], Kind] = {
    errors.NotFoundError: Kind(404, "not-found", "The resource does not exist"),
    errors.ConflictError: _CONFLICT,
    request_errors.RequestError: _INVALID,
    request_errors.ChecksumMismatchError: Kind(
        400, "checksum-mismatch", "The checksum does not match"
    ),
    request_errors.TooLargeError: Kind(413, "too-large", "The upload is too large"),
    request_errors.BodyTooLargeError: Kind(413, "too-large", "The body is too large"),
    request_errors.JobTooLargeError: Kind(422, "job-too-large", "The job needs too much memory"),
    request_errors.DriverFailedError: Kind(422, "driver-failed", "The chip's driver failed"),
    request_errors.IdempotencyMismatchError: Kind(
        422, "idempotency-mismatch", "The Idempotency-Key was used with another body"
    ),
    request_errors.PreconditionFailedError: Kind(
        412, "precondition-failed", "The resource has changed"
    ),
    request_errors.UnauthenticatedError: Kind(401, "unauthenticated", "A key is needed"),
    request_errors.WrongHostError: Kind(421, "wrong-host", "The request is for another host"),
    request_errors.TooManyRequestsError: Kind(429, "rate-limited", "Too many requests"),
    request_errors.ForbiddenError: Kind(403, "forbidden", "The key does not allow it"),
    request_errors.CrossSiteError: Kind(403, "forbidden", "The request comes from another site"),
    errors.ForeignAgentError: Kind(403, "forbidden", "The agent belongs to another key"),
    errors.NotReadyError: _BUSY,
    errors.NirFailedError: _INTERNAL,
    damage_errors.DamagedError: Kind(500, "damaged", "Stored data are damaged"),
    StorageFullError: _FULL,
    core.NetworkError: _INVALID,
    core.TensorsError: _INVALID,
    core.SettingError: _INVALID,
    core.UnsupportedLayerError: Kind(422, "unsupported-layer", "A layer is not supported"),
    core.CapacityError: Kind(422, "capacity", "The network is larger than the chip"),
    core.CodeRangeError: Kind(422, "code-range", "A code is out of range"),
    core.ChipUnavailableError: Kind(503, "chip-unavailable", "The chip does not answer"),
    core.LeaseLostError: Kind(409, "lease-lost", "The chip lease is lost"),
    UnknownPresetError: _INVALID,
}
_POINTERS: Mapping[type[Exception], str] = {
    UnknownPresetError: "/settings/preset",
    request_errors.UnknownChipBackendError: "/backend",
    request_errors.DriverFailedError: "/backend",
}
_log = structlog.get_logger(__name__)


def add_error_handlers(app: FastAPI, page: ErrorPage) -> None:
    """Turn every error into an answer of the type `application/problem+json`.

    A browser that asks for a page outside the API gets `page` in its place.
    """
    app.state.error_page = page
    app.add_exception_handler(core.CalibrationError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(IntegrityError, _race)
    for away in AWAY:
        app.add_exception_handler(away, busy)
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(OSError, _storage)
    app.add_exception_handler(Exception, _unexpected)


def kind_of(error: Exception) -> Kind:
    """Return the problem type of an error: that of its class, or of the nearest base class."""
    found = (PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)
    return next(found, _INTERNAL)


def problem(
    request: Request,
    kind: Kind,
    detail: str,
    own: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the answer; `own` holds the fields that only this type of problem has."""
    body = Problem(
        type=f"/problems/{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.url.path,
        **(own or {}),
    )
    if _is_page(request):
        page: Response = request.app.state.error_page(request, body)
        page.headers.update(headers or {})
        return page
    content = within_limits(body.model_dump(mode="json", exclude_none=True))
    return JSONResponse(content, kind.status, dict(headers or {}), media_type=MEDIA_TYPE)


def answer_to(request: Request, error: Exception) -> Response:
    """Return the answer to an error of the table."""
    kind = kind_of(error)
    if isinstance(error, request_errors.UnauthenticatedError) and _is_page(request):
        return RedirectResponse(f"/login?next={quote(request.url.path)}", status_code=303)
    if kind.status >= 500:
        _log.error("api: request failed", path=request.url.path, error=repr(error))
    return problem(request, kind, str(error), _own_fields(error), _headers(kind, error))


async def _known(request: Request, error: Exception) -> Response:
    return answer_to(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    invalid = cast(RequestValidationError, error)
    found = errors_of_request(invalid)
    named = "; ".join(f"{place_of(one)}: {one.message}" for one in found[:5])
    return problem(
        request,
        _INVALID,
        f"Correct these fields and send the request again: {named}.",
        {"errors": found},
    )


async def _http(request: Request, error: Exception) -> Response:
    refused = cast(HTTPException, error)
    status = HTTPStatus(refused.status_code)
    slug = status.phrase.lower().replace(" ", "-")
    hint = "" if _is_page(request) else "; see /v1/openapi.json for what there is"
    detail = {
        404: f"There is nothing at {request.url.path}{hint}.",
        405: f"{request.url.path} does not accept {request.method}; see /v1/openapi.json.",
    }.get(status, str(refused.detail))
    headers = {"Allow": methods_of(request)} if status == 405 else refused.headers
    return problem(request, Kind(status, slug, status.phrase), detail, None, headers)


async def _race(request: Request, error: Exception) -> Response:
    _log.warning(
        "api: two requests wrote the same row, one is refused",
        path=request.url.path,
        error=repr(error),
    )
    detail = "Another request changed the same resource at the same time; read it and try again."
    return problem(request, _CONFLICT, detail)


async def _storage(request: Request, error: Exception) -> Response:
    """Answer a write to the disk that failed."""
    if isinstance(error, OSError) and is_full(error):
        _log.error("api: disk is full, request refused", path=request.url.path)
        detail = "The disk of the service is full; free some space, and send the request again."
        return problem(request, _FULL, detail)
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        _log.error("api: disk takes no write", path=request.url.path, error=repr(error))
        detail = "The data folder of the service cannot be written to; see its log."
        return problem(request, _BUSY, detail, None, _headers(_BUSY))
    raise error  # a fault of ours


async def busy(request: Request, error: Exception) -> Response:
    """Answer while the database does not: it is away, locked for long, or its disk is full."""
    if is_full(error):
        return await _storage(request, OSError(errno.ENOSPC, str(error)))
    _log.error(
        "api: database does not answer, request refused",
        path=request.url.path,
        error=in_a_line(error),
    )
    detail = "The database does not answer in time; try again shortly."
    return problem(request, _BUSY, detail, None, _headers(_BUSY))


async def _unstorable(request: Request, error: Exception) -> Response:
    _log.warning(
        "api: database refused a value, request refused",
        path=request.url.path,
        error=repr(error),
    )
    detail = "A value has a character or a size that the database cannot store; change the value."
    return problem(request, _INVALID, detail)


async def _unexpected(request: Request, error: Exception) -> Response:
    trace = "".join(traceback.format_exception(error))  # no local variables: they hold keys
    _log.error("api: request failed with an unexpected error", path=request.url.path, trace=trace)
    detail = "The service failed because of a fault of its own; its log shows the error."
    return problem(request, _INTERNAL, detail)


def _headers(kind: Kind, error: Exception | None = None) -> dict[str, str]:
    if isinstance(error, request_errors.TooManyRequestsError):
        return {"Retry-After": str(error.retry_after_s)}
    if kind.status == 401:
        return {"WWW-Authenticate": 'Bearer realm="tandemcal"'}
    return {"Retry-After": "2"} if kind.status in (503, 507) else {}


def _is_page(request: Request) -> bool:
    wants_html = "text/html" in request.headers.get("accept", "")
    return wants_html and not request.url.path.startswith("/v1")


def _own_fields(error: Exception) -> dict[str, Any]:
    if isinstance(error, request_errors.InvalidFieldsError):
        return {"errors": [FieldError(pointer=p, message=m) for p, m in error.problems]}
    if isinstance(error, request_errors.ParameterError):
        return {"errors": [FieldError(parameter=error.parameter, message=error.message)]}
    fields = {
        name: value for name, value in vars(error).items() if name not in Problem.model_fields
    }
    own = {name: value for name, value in fields.items() if _is_plain(value)}
    if pointer := _POINTERS.get(type(error)):
        own["errors"] = [FieldError(pointer=pointer, message=str(error))]
    return own


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, str | int | float | None)
