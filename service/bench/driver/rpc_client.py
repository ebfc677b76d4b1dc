"""Calls of an agent over HTTP: repeated until a whole answer arrives or the agent is given up."""

import time
import uuid
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from ltl_core.errors import ChipUnavailableError
from service.bench.driver.answer_limits import AnswerLimit
from service.bench.driver.bounded_reader import AnswerTimeoutError, AnswerTooLongError
from service.bench.driver.call_times import CallTimes
from service.bench.driver.connection import (
    AnswerStream,
    Connection,
    PostRequest,
    RawAnswer,
    UnreachableError,
)
from service.bench.driver.frame_reader import FrameReader
from service.bench.driver.refusals import NotItsAgentError, Refusal, error_of
from service.bench.protocol.errors import BrokenConnectionError
from service.bench.protocol.proof import ANSWER_PROOF, CallHead, is_proven, sign_call
from service.bench.protocol.wire import (
    LEASE_TOKEN,
    MEDIA_TYPE,
    REQUEST_ID,
    Message,
    decode,
    encode,
)
from service.digests import CONTENT_DIGEST, content_digest
from service.errors import AgentUnreachableError
from service.networks import PRIVATE, AgentNetworks

_OK = 200
_PAUSE, _PAUSE_MAX = 0.05, 2.0  # s between two tries, doubled each time
_BROKEN_MAX = 4  # broken or damaged answers to one call before the agent is given up
_Result = TypeVar("_Result")
Locate = Callable[[], Mapping[str, Any] | None]  # the newest settings of the agent's address


class AgentAddress(BaseModel):
    """Where the agent of a chip is reached, and how long a call may take."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    secret: str = Field(repr=False)
    signed: bool = False  # whether the agent knows signed calls; an older one is sent the secret
    answer_s: PositiveFloat = 300.0  # longest time for an answer
    reach_s: PositiveFloat = 30.0  # longest time without a connection
    networks: tuple[str, ...] = PRIVATE  # in which it may be called
    ca: Path | None = None  # authority of its certificate, and the only one; it needs https


class _Call:
    """One call, the same in every try but for the place where the agent is."""

    def __init__(self, verb: str, content: bytes, limit: AnswerLimit, deadline: float) -> None:
        self.verb, self.limit, self.deadline = verb, limit, deadline
        self.request_id = uuid.uuid4().hex
        self.proven = False  # whether a streamed answer comes from the agent for sure
        self._content, self._digest = content, content_digest(content)

    def request(self, address: AgentAddress, token: int) -> PostRequest:
        """Return the request to the agent at this address."""
        head = CallHead(self.verb, str(token), self.request_id, self._digest)
        bearer = f"Bearer {address.secret}"
        headers = {
            "Authorization": sign_call(address.secret, head) if address.signed else bearer,
            "Content-Type": MEDIA_TYPE,
            CONTENT_DIGEST: self._digest,
            LEASE_TOKEN: head.token,
            REQUEST_ID: self.request_id,
        }
        path = f"/v1/chip/{self.verb}"
        return PostRequest(path, self._content, headers, self.deadline, self.limit.whole)


class RpcClient:
    """Calls the verbs of one agent over a kept connection. Used by one thread."""

    def __init__(
        self, chip_id: str, address: AgentAddress, token: int, locate: Locate | None = None
    ) -> None:
        """`locate` is asked where the agent is now, while it is not found at its address."""
        self._chip_id, self._address, self._token = chip_id, address, token
        self._locate = locate or (lambda: None)
        networks = AgentNetworks(address.networks)
        self._connection = Connection(address.url, networks, address.ca)
        self.times = CallTimes()
        weakref.finalize(self, self._connection.close)  # the port has no verb to close a chip

    def call(
        self, verb: str, message: Message, limit: AnswerLimit, extra_s: float = 0.0
    ) -> Message:
        """Call a verb and return its answer.

        `limit` bounds the answer; `extra_s` is added to the longest time for it. Raises what the
        chip raised, LeaseLostError, ChipUnavailableError, and MalformedBodyError if the answer is
        no message.
        """
        call, began = self._new_call(verb, message, limit, extra_s), time.monotonic()

        def attempt() -> Message:
            answer = self._connection.post(call.request(self._address, self._token))
            self.times.add(verb, time.monotonic() - began)
            return self._read(call, answer)

        return self._retry(call, attempt)

    def stream(
        self, verb: str, message: Message, limit: AnswerLimit
    ) -> Generator[Message, None, None]:
        """Call a verb with a streamed answer; yield each message of it as soon as it arrives.

        Raises what `call` raises, also between two messages.
        """
        call, waited = self._new_call(verb, message, limit, 0.0), 0.0
        reader = FrameReader(lambda: self._open_answer(call))
        try:
            while True:
                began = time.monotonic()
                content = self._retry(call, reader.next)
                waited += time.monotonic() - began
                if content is None:
                    break
                yield self._read_frame(call, content)
            self.times.add(verb, waited)
        finally:
            reader.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _retry(self, call: _Call, attempt: Callable[[], _Result]) -> _Result:
        """Repeat `attempt` until it returns; raise ChipUnavailableError to give the agent up."""
        lost_since, broken, pauses = None, 0, _pauses()
        while True:
            pause, began = next(pauses), time.monotonic()
            try:
                return self._attempt(call, attempt)
            except (UnreachableError, NotItsAgentError) as error:
                lost_since = lost_since or began
                if time.monotonic() + pause > lost_since + self._address.reach_s:
                    self._give_up_unreachable(error)
                call.deadline += time.monotonic() - began + pause  # nobody was asked meanwhile
            except BrokenConnectionError as error:
                lost_since, broken = None, broken + 1
                if broken == _BROKEN_MAX:
                    reason = f"the answers of its agent to '{call.verb}' break off ({error})"
                    self._give_up(reason, error)
            time.sleep(pause)
            self._look_for_agent()

    def _attempt(self, call: _Call, attempt: Callable[[], _Result]) -> _Result:
        """Try once; raise ChipUnavailableError where the answer is beyond a limit of ours."""
        try:
            return attempt()
        except AnswerTimeoutError as error:
            self._give_up(f"its agent did not answer to '{call.verb}' in time", error)
        except AnswerTooLongError as error:
            longest = f"more than {call.limit.whole} bytes"
            self._give_up(f"its agent's answer to '{call.verb}' has {longest}", error)

    def _look_for_agent(self) -> None:
        """Call another address from now on, if the agent has registered one meanwhile."""
        if (found := self._locate()) is None:
            return
        address = AgentAddress.model_validate(found)
        if address.url != self._address.url:
            self._connection.move_to(address.url)
        self._address = address

    def _new_call(self, verb: str, message: Message, limit: AnswerLimit, extra_s: float) -> _Call:
        deadline = time.monotonic() + self._address.answer_s + extra_s
        return _Call(verb, encode(message).whole(), limit, deadline)

    def _open_answer(self, call: _Call) -> AnswerStream:
        """Send the request and return the stream of frames; raise what the agent refused."""
        stream = self._connection.post_streamed(call.request(self._address, self._token))
        proven = self._check_origin(call, stream.status, stream.header(ANSWER_PROOF))
        if stream.status != _OK:
            answer = stream.read_rest()
            _check_digest(answer)
            raise self._error(Refusal(call.verb, answer.status, answer.content, proven))
        call.proven = proven
        return stream

    def _read_frame(self, call: _Call, content: bytes) -> Message:
        """Decode one message of a streamed answer; raise the error that ended it early."""
        message = decode(content, call.limit.text)
        if "refused" in message.fields:
            status, refused = message.field("status", int), message.field("refused", str)
            raise self._error(Refusal(call.verb, status, refused.encode(), call.proven))
        return message

    def _read(self, call: _Call, answer: RawAnswer) -> Message:
        proven = self._check_origin(call, answer.status, answer.headers.get(ANSWER_PROOF, ""))
        _check_digest(answer)
        if answer.status != _OK:
            raise self._error(Refusal(call.verb, answer.status, answer.content, proven))
        return decode(answer.content, call.limit.text)

    def _check_origin(self, call: _Call, status: int, proof: str) -> bool:
        """Tell whether the agent answered. Raises NotItsAgentError if it would have proven it."""
        proven = is_proven(self._address.secret, call.request_id, proof)
        if self._address.signed and not proven:
            raise NotItsAgentError(f"a server that is not its agent answered (status {status})")
        return proven

    def _error(self, refusal: Refusal) -> Exception:
        return error_of(refusal, self._chip_id, self._token)

    def _give_up_unreachable(self, error: Exception) -> NoReturn:
        reason = f"its agent cannot be reached at {self._address.url} ({error})"
        raise AgentUnreachableError(self._chip_id, reason) from error

    def _give_up(self, reason: str, error: Exception) -> NoReturn:
        raise ChipUnavailableError(self._chip_id, reason) from error


def _check_digest(answer: RawAnswer) -> None:
    """Raise BrokenConnectionError unless the content has the digest in the answer's head."""
    if answer.headers.get(CONTENT_DIGEST) != content_digest(answer.content):
        raise BrokenConnectionError(f"an answer with status {answer.status} has a wrong checksum")


def _pauses() -> Iterator[float]:
    pause = _PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _PAUSE_MAX)
