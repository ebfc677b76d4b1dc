"""The line from a driver to its agent: asks again where no answer came, and doubts what came."""

import itertools
import json
import time
import uuid
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from ltl_core.errors import ChipUnavailableError, LeaseLostError
from service.bench.driver.call_times import CallTimes
from service.bench.driver.connection import (
    Connection,
    RawAnswer,
    Reply,
    TooLateError,
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

_OK = 200
_PAUSE, _PAUSE_MAX = 0.05, 2.0  # s between two tries, doubled each time
_Found = TypeVar("_Found")
_BROKEN_MAX = 4  # answers that break off or arrive damaged before the line is given up


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

    @property
    def sent(self) -> tuple[str, bytes, dict[str, str], float]:
        """What the connection is given."""
        return f"/v1/chip/{self.verb}", self.content, self.headers, self.deadline


class RpcClient:
    """Kept open between calls. Used by one thread."""

    def __init__(self, chip_id: str, address: AgentAddress, token: int) -> None:
        self._chip_id, self._address, self._token = chip_id, address, token
        self._connection = Connection(address.url)
        self.times = CallTimes()
        weakref.finalize(self, self._connection.close)  # the port has no verb for hanging up

    def ask(self, verb: str, message: Message, patience: float = 0.0) -> Message:
        """The answer. `patience` is what this call may take beyond the usual time, s.

        Raises what the chip refused, LeaseLostError, ChipUnavailableError, MalformedBodyError.
        """
        question, began = self._question(verb, message, patience), time.monotonic()

        def asked() -> Message:
            answer = self._connection.post(*question.sent)
            self.times.add(verb, time.monotonic() - began)
            return self._read(verb, answer)

        return self._insist(question, asked)

    def listen(self, verb: str, message: Message) -> Generator[Message, None, None]:
        """The pieces of an answer that is payload bit by bit, each as soon as it is there.

        Raises as `ask` does, between two pieces also.
        """
        question, waited = self._question(verb, message, 0.0), 0.0
        reader = FrameReader(lambda: self._opened(question))
        try:
            while True:
                began = time.monotonic()
                content = self._insist(question, reader.next)
                waited += time.monotonic() - began
                if content is None:
                    break
                yield self._piece(verb, content)
            self.times.add(verb, waited)
        finally:
            reader.close()

    def close(self) -> None:
        self._connection.close()

    def _insist(self, question: _Question, attempt: Callable[[], _Found]) -> _Found:
        """Until there is an answer, the deadline is over, or the line is given up."""
        verb, silent_since, broken = question.verb, None, 0
        for pause in _pauses():
            try:
                return attempt()
            except UnreachableError as error:
                silent_since = time.monotonic() if silent_since is None else silent_since
                until = min(silent_since + self._address.reach_s, question.deadline)
                if time.monotonic() + pause > until:
                    self._give_up(f"its agent cannot be reached at {self._address.url}", error)
            except TooLateError as error:
                self._give_up(f"its agent did not answer to '{verb}' in time", error)
            except BrokenConnectionError as error:
                silent_since, broken = None, broken + 1
                if broken == _BROKEN_MAX:
                    self._give_up(f"the answers of its agent to '{verb}' break off", error)
            time.sleep(pause)
        raise AssertionError("the pauses never end")

    def _question(self, verb: str, message: Message, patience: float) -> _Question:
        content = encode(message).whole()
        headers = {
            "Authorization": f"Bearer {self._address.secret}",
            "Content-Type": MEDIA_TYPE,
            CONTENT_DIGEST: content_digest(content),
            LEASE_TOKEN: str(self._token),
            REQUEST_ID: uuid.uuid4().hex,
        }
        deadline = time.monotonic() + self._address.answer_s + patience
        return _Question(verb, content, headers, deadline)

    def _opened(self, question: _Question) -> Reply:
        """An answer that will come in pieces; one that is whole is a refusal."""
        reply = self._connection.ask(*question.sent)
        if reply.status != _OK:
            whole = RawAnswer(reply.status, reply.headers, reply.rest())
            reply.close()
            self._refused(question.verb, whole)
        return reply

    def _piece(self, verb: str, content: bytes) -> Message:
        """One message of many, or what the chip refused in the midst of them."""
        message = decode(content)
        if "refused" in message.fields:
            status, payload = message.field("status", int), message.field("refused", str)
            self._fault(verb, status, payload.encode())
        return message

    def _read(self, verb: str, answer: RawAnswer) -> Message:
        if answer.status != _OK:
            self._refused(verb, answer)
        _check_digest(answer)
        return decode(answer.content)

    def _refused(self, verb: str, answer: RawAnswer) -> NoReturn:
        _check_digest(answer)
        self._fault(verb, answer.status, answer.content)

    def _fault(self, verb: str, status: int, content: bytes) -> NoReturn:
        try:
            payload = json.loads(content)
            detail, named = str(payload["detail"]), payload["error"]
        except (ValueError, KeyError, TypeError):
            raise MalformedBodyError(f"status {status} without a reason") from None
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

    def _give_up(self, what: str, error: Exception) -> NoReturn:
        raise ChipUnavailableError(self._chip_id, f"{what} ({error})") from error


def _check_digest(answer: RawAnswer) -> None:
    if answer.headers.get(CONTENT_DIGEST) != content_digest(answer.content):
        raise BrokenConnectionError(f"status {answer.status} without its checksum")


def _pauses() -> Iterator[float]:
    for doublings in itertools.count():
        yield min(_PAUSE * 2 ** min(doublings, 10), _PAUSE_MAX)
