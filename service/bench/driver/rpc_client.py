"""Calls of an agent over HTTP: repeated until a whole answer arrives or the agent is given up."""

import json
import time
import uuid
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from ltl_core.errors import ChipUnavailableError, LeaseLostError
from service.bench.driver.call_times import CallTimes
from service.bench.driver.connection import (
    AnswerStream,
    AnswerTimeoutError,
    Connection,
    PostRequest,
    RawAnswer,
    UnreachableError,
)
from service.bench.driver.frame_reader import FrameReader
from service.bench.protocol.faults import fault_from_json
from service.bench.protocol.frames import BrokenConnectionError
from service.bench.protocol.wire import (
    LEASE_TOKEN,
    MEDIA_TYPE,
    REQUEST_ID,
    MalformedBodyError,
    Message,
    decode,
    encode,
)
from service.digests import CONTENT_DIGEST, content_digest
from service.networks import PRIVATE, AgentNetworks

_OK = 200
_PAUSE, _PAUSE_MAX = 0.05, 2.0  # s between two tries, doubled each time
_BROKEN_MAX = 4  # broken or damaged answers to one call before the agent is given up
_Result = TypeVar("_Result")


class AgentAddress(BaseModel):
    """Where the agent of a chip is reached, and how long a call may take."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    secret: str = Field(repr=False)
    answer_s: PositiveFloat = 300.0  # longest time for an answer
    reach_s: PositiveFloat = 30.0  # longest time without a connection
    networks: tuple[str, ...] = PRIVATE  # in which it may be called


class RpcClient:
    """Calls the verbs of one agent over a kept connection. Used by one thread."""

    def __init__(self, chip_id: str, address: AgentAddress, token: int) -> None:
        self._chip_id, self._address, self._token = chip_id, address, token
        self._connection = Connection(address.url, AgentNetworks(address.networks))
        self.times = CallTimes()
        weakref.finalize(self, self._connection.close)  # the port has no verb to close a chip

    def call(self, verb: str, message: Message, extra_s: float = 0.0) -> Message:
        """Call a verb and return its answer.

        `extra_s` is added to the longest time for an answer. Raises what the chip raised,
        LeaseLostError, ChipUnavailableError, and MalformedBodyError if the answer is no message.
        """
        request, began = self._request(verb, message, extra_s), time.monotonic()

        def attempt() -> Message:
            answer = self._connection.post(request)
            self.times.add(verb, time.monotonic() - began)
            return self._read(verb, answer)

        return self._retry(verb, request.deadline, attempt)

    def stream(self, verb: str, message: Message) -> Generator[Message, None, None]:
        """Call a verb with a streamed answer; yield each message of it as soon as it arrives.

        Raises what `call` raises, also between two messages.
        """
        request, waited = self._request(verb, message, 0.0), 0.0
        reader = FrameReader(lambda: self._open_answer(verb, request))
        try:
            while True:
                began = time.monotonic()
                content = self._retry(verb, request.deadline, reader.next)
                waited += time.monotonic() - began
                if content is None:
                    break
                yield self._read_frame(verb, content)
            self.times.add(verb, waited)
        finally:
            reader.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _retry(self, verb: str, deadline: float, attempt: Callable[[], _Result]) -> _Result:
        """Repeat `attempt` until it returns; raise ChipUnavailableError to give the agent up."""
        unreachable_since, broken, pauses = None, 0, _pauses()
        while True:
            pause = next(pauses)
            try:
                return attempt()
            except UnreachableError as error:
                unreachable_since = unreachable_since or time.monotonic()
                until = min(unreachable_since + self._address.reach_s, deadline)
                if time.monotonic() + pause > until:
                    self._give_up(f"its agent cannot be reached at {self._address.url}", error)
            except AnswerTimeoutError as error:
                self._give_up(f"its agent did not answer to '{verb}' in time", error)
            except BrokenConnectionError as error:
                unreachable_since, broken = None, broken + 1
                if broken == _BROKEN_MAX:
                    self._give_up(f"the answers of its agent to '{verb}' break off", error)
            time.sleep(pause)

    def _request(self, verb: str, message: Message, extra_s: float) -> PostRequest:
        content = encode(message).whole()
        headers = {
            "Authorization": f"Bearer {self._address.secret}",
            "Content-Type": MEDIA_TYPE,
            CONTENT_DIGEST: content_digest(content),
            LEASE_TOKEN: str(self._token),
            REQUEST_ID: uuid.uuid4().hex,
        }
        deadline = time.monotonic() + self._address.answer_s + extra_s
        return PostRequest(f"/v1/chip/{verb}", content, headers, deadline)

    def _open_answer(self, verb: str, request: PostRequest) -> AnswerStream:
        """Send the request and return the stream of frames; raise what the agent refused."""
        stream = self._connection.post_streamed(request)
        if stream.status != _OK:
            self._raise_refusal(verb, stream.read_rest())
        return stream

    def _read_frame(self, verb: str, content: bytes) -> Message:
        """Decode one message of a streamed answer; raise the error that ended it early."""
        message = decode(content)
        if "refused" in message.fields:
            status, refused = message.field("status", int), message.field("refused", str)
            self._raise_fault(verb, status, refused.encode())
        return message

    def _read(self, verb: str, answer: RawAnswer) -> Message:
        if answer.status != _OK:
            self._raise_refusal(verb, answer)
        _check_digest(answer)
        return decode(answer.content)

    def _raise_refusal(self, verb: str, answer: RawAnswer) -> NoReturn:
        _check_digest(answer)
        self._raise_fault(verb, answer.status, answer.content)

    def _raise_fault(self, verb: str, status: int, content: bytes) -> NoReturn:
        """Raise the error that an agent sent as JSON, under the chip id that the service knows."""
        try:
            payload = json.loads(content)
            detail, named = str(payload["detail"]), payload["error"]
        except (ValueError, KeyError, TypeError):
            raise MalformedBodyError(f"status {status} comes without a reason") from None
        if named == CONTENT_DIGEST:
            raise BrokenConnectionError(detail)
        match fault_from_json(payload):
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

    def _give_up(self, reason: str, error: Exception) -> NoReturn:
        raise ChipUnavailableError(self._chip_id, f"{reason} ({error})") from error


def _check_digest(answer: RawAnswer) -> None:
    """Raise BrokenConnectionError unless the content has the digest in the answer's head."""
    if answer.headers.get(CONTENT_DIGEST) != content_digest(answer.content):
        raise BrokenConnectionError(f"an answer with status {answer.status} has a wrong checksum")


def _pauses() -> Iterator[float]:
    pause = _PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _PAUSE_MAX)
