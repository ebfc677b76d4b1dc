"""The line from a driver to its agent: asks again where no answer came, and doubts what came."""

import itertools
import json
import socket
import time
import uuid
import weakref
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import httpx
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from ltl_core.errors import ChipUnavailableError, LeaseLostError
from service.bench.faults import fault_from_json
from service.bench.wire import MEDIA_TYPE, MalformedBodyError, Message, decode, digest_of, encode

DIGEST, TOKEN, REQUEST_ID = "Content-Digest", "Lease-Token", "Request-Id"
_PAUSE, _PAUSE_MAX = 0.05, 2.0  # s between two tries, doubled each time
_BROKEN_MAX = 4  # answers that break off or arrive damaged before the line is given up
_CONNECT = 5.0  # s
_ANSWER_MAX = 2 << 30  # bytes


class AgentAddress(BaseModel):
    """Where the agent of a chip answers, and how long it may take."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    secret: str = Field(repr=False)
    answer_s: PositiveFloat = 300.0  # an answer that takes longer is given up
    reach_s: PositiveFloat = 30.0  # so long is an agent called that cannot be reached


class _Question(NamedTuple):
    """One call, the same in every try."""

    verb: str
    content: bytes
    headers: dict[str, str]
    deadline: float  # on the monotonic clock, s


class _BrokenError(Exception):
    """An answer that did not arrive as it was sent."""


class Line:
    """Kept open between calls. Used by one thread."""

    def __init__(self, chip_id: str, address: AgentAddress, token: int) -> None:
        self._chip_id, self._address, self._token = chip_id, address, token
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(socket_options=_socket_options(), trust_env=False),
            base_url=address.url,
            headers={"Authorization": f"Bearer {address.secret}", TOKEN: str(token)},
        )
        weakref.finalize(self, self._client.close)  # the port has no verb for hanging up

    def ask(self, verb: str, message: Message, patience: float = 0.0) -> Message:
        """The answer. `patience` is what this call may take beyond the usual time, s.

        Raises what the chip refused, LeaseLostError, ChipUnavailableError, MalformedBodyError.
        """
        question = self._question(verb, message, patience)
        silent_since, broken = None, 0
        for pause in _pauses():
            try:
                return self._read(verb, *self._try(question))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                silent_since = time.monotonic() if silent_since is None else silent_since
                until = min(silent_since + self._address.reach_s, question.deadline)
                if time.monotonic() + pause > until:
                    self._give_up(f"its agent cannot be reached at {self._address.url}", error)
            except (httpx.TransportError, _BrokenError) as error:
                silent_since, broken = None, broken + 1
                if isinstance(error, httpx.TimeoutException):
                    self._give_up(f"its agent did not answer to '{verb}' in time", error)
                if broken == _BROKEN_MAX:
                    self._give_up(f"the answers of its agent to '{verb}' break off", error)
            time.sleep(pause)
        raise AssertionError("the pauses never end")

    def close(self) -> None:
        self._client.close()

    def _question(self, verb: str, message: Message, patience: float) -> _Question:
        content = encode(message).whole()
        headers = {
            "Content-Type": MEDIA_TYPE,
            DIGEST: digest_of(content),
            REQUEST_ID: uuid.uuid4().hex,
        }
        return _Question(
            verb, content, headers, time.monotonic() + self._address.answer_s + patience
        )

    def _try(self, question: _Question) -> tuple[int, bytes]:
        """Status and bytes, as they were sent. Raises TransportError and _BrokenError."""
        left = max(0.001, question.deadline - time.monotonic())
        with self._client.stream(
            "POST",
            f"/v1/chip/{question.verb}",
            content=question.content,
            headers=question.headers,
            timeout=httpx.Timeout(left, connect=min(left, _CONNECT)),
        ) as response:
            content = _received(response, question.deadline)
        if response.headers.get(DIGEST) != digest_of(content):
            raise _BrokenError(f"status {response.status_code} without its checksum")
        return response.status_code, content

    def _read(self, verb: str, status: int, content: bytes) -> Message:
        if status == httpx.codes.OK:
            return decode(content)
        try:
            told = json.loads(content)
            detail, named = str(told["detail"]), told["error"]
        except (ValueError, KeyError, TypeError):
            raise MalformedBodyError(f"status {status} without a reason") from None
        if named == DIGEST:
            raise _BrokenError(detail)
        match fault_from_json(told):
            case LeaseLostError():
                raise LeaseLostError(self._chip_id, self._token)
            case ChipUnavailableError(reason=str() as reason):
                raise ChipUnavailableError(self._chip_id, reason)
            case None:
                raise ChipUnavailableError(
                    self._chip_id, f"its agent did not do '{verb}': {detail.rstrip('.')}"
                )
            case error:
                raise error

    def _give_up(self, what: str, error: Exception) -> NoReturn:
        reason = str(error) or type(error).__name__
        raise ChipUnavailableError(self._chip_id, f"{what} ({reason})") from error


def _received(response: httpx.Response, deadline: float) -> bytes:
    parts, size = [], 0
    for part in response.iter_raw():
        size += len(part)
        if size > _ANSWER_MAX:
            raise _BrokenError(f"more than {_ANSWER_MAX} bytes")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("it trickled", request=response.request)
        parts.append(part)
    return b"".join(parts)


def _pauses() -> Iterator[float]:
    for doublings in itertools.count():
        yield min(_PAUSE * 2 ** min(doublings, 10), _PAUSE_MAX)


def _socket_options() -> list[tuple[int, int, int]]:
    """Send at once, and notice within half a minute when the other machine is gone."""
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    if hasattr(socket, "TCP_KEEPIDLE"):
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
        ]
    return options
