"""HTTP requests to the service: retries, problems as errors, lists page by page."""

import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import httpx
from pydantic import BaseModel

from service.client.errors import (
    DownloadError,
    ServiceUnreachableError,
    TandemcalError,
    problem_of,
)
from service.digests import CONTENT_DIGEST, content_digest
from service.schemas.base import SAFETENSORS

View = TypeVar("View", bound=BaseModel)
_NAMED = 5  # rows that a warning names; a list may leave out many more


class Retry(NamedTuple):
    """How often a repeatable request is tried, and the pauses between the tries."""

    tries: int = 5
    first_pause: float = 0.2  # s, doubled each time
    longest_pause: float = 5.0  # s


class Transport:
    """Sends requests, and repeats them if no answer came or the service is not ready.

    GET, PUT, PATCH and DELETE are repeated as they are. A POST is repeated only with an
    Idempotency-Key, the same in every try, so that nothing is done twice.
    """

    def __init__(self, client: httpx.Client, retry: Retry) -> None:
        self._client = client
        self._retry = retry

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        **parts: Any,
    ) -> httpx.Response:
        """Send a request and return the answer, if its status is below 400.

        Raises TandemcalError for other answers, and ServiceUnreachableError for none.
        """
        repeatable = method != "POST" or "Idempotency-Key" in (headers or {})
        request = self._client.build_request(method, path, headers=dict(headers or {}), **parts)
        for pause in self._pauses(repeatable):
            response = self._try(request, last=pause is None)
            if response is not None and (pause is None or response.status_code not in (429, 503)):
                return _checked(response)
            time.sleep(_pause_asked_for(response, pause or 0.0))
        raise AssertionError("the last try returns or raises")

    def get(self, path: str, model: type[View], **params: Any) -> View:
        """Read one resource."""
        return model.model_validate_json(self.send("GET", path, params=_given(params)).content)

    def post(self, path: str, body: Mapping[str, Any], model: type[View]) -> View:
        """Create a resource once: every try carries the same new Idempotency-Key."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self.send("POST", path, json=body, headers=headers)
        return model.model_validate_json(answer.content)

    def post_block(
        self, path: str, block: bytes, model: type[View], media_type: str = SAFETENSORS
    ) -> View:
        """Create a resource from an upload, a safetensors block unless it is told, once."""
        headers = upload_headers(block, media_type) | {"Idempotency-Key": str(uuid.uuid4())}
        return model.model_validate_json(
            self.send("POST", path, content=block, headers=headers).content
        )

    def every(self, path: str, model: type[View], **params: Any) -> Iterator[View]:
        """Yield all items of a list, which is read page by page.

        Warns of what the service left out because its row in the database is damaged.
        """
        cursor: str | None = None
        while True:
            answer = self.send("GET", path, params=_given({**params, "cursor": cursor})).json()
            if unreadable := answer.get("unreadable"):
                warnings.warn(_left_out(path, unreadable), stacklevel=2)
            yield from (model.model_validate(item) for item in answer["items"])
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def download(self, path: str) -> bytes:
        """Download a safetensors block. Raises DownloadError if it does not match its digest."""
        answer = self.send("GET", path, headers={"Accept": SAFETENSORS})
        digest = answer.headers.get(CONTENT_DIGEST) or answer.headers.get("Repr-Digest")
        if digest is not None and digest != content_digest(answer.content):
            raise DownloadError(path)
        return answer.content

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], *, quiet: float
    ) -> Iterator[httpx.Response]:
        """Open an answer that is read while it arrives.

        Raises TandemcalError for a status of 400 or above, and httpx.TransportError after `quiet`
        seconds without a byte.
        """
        timeout = httpx.Timeout(quiet)
        with self._client.stream("GET", path, headers=dict(headers), timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                raise problem_of(answer)
            yield answer

    def _pauses(self, repeatable: bool) -> Iterator[float | None]:
        pause = self._retry.first_pause
        for _ in range(self._retry.tries - 1 if repeatable else 0):
            yield pause
            pause = min(2 * pause, self._retry.longest_pause)
        yield None

    def _try(self, request: httpx.Request, *, last: bool) -> httpx.Response | None:
        try:
            return self._client.send(request)
        except httpx.TransportError as error:
            if last:
                reason = str(error) or type(error).__name__
                raise ServiceUnreachableError(str(self._client.base_url), reason) from error
            return None


def upload_headers(data: bytes, media_type: str = SAFETENSORS) -> dict[str, str]:
    """Return the headers for an upload, which is a safetensors block unless it is told."""
    return {"Content-Type": media_type, CONTENT_DIGEST: content_digest(data)}


def _left_out(path: str, unreadable: Sequence[str]) -> str:
    """Say which rows a list does not show."""
    named = ", ".join(unreadable[:_NAMED])
    more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
    return (
        f"The list {path} leaves out {named}{more}: their rows in the service's database are "
        "damaged; its log says what they hold."
    )


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise problem_of(response)
    if response.has_redirect_location:
        raise TandemcalError(
            response.status_code,
            {"detail": "The service answered with a redirect; check its address."},
        )
    return response


def _pause_asked_for(response: httpx.Response | None, pause: float) -> float:
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return max(pause, min(float(asked), 30.0)) if asked.isdigit() else pause


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
