"""The chip of an agent: which lease token may use it, and each call handled exactly once.

Calls are handled one at a time. The last answers are kept, and a repeated request gets the same
answer, so a driver may ask again whenever an answer did not arrive.
"""

import json
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import structlog
import torch

from ltl_core.chip import ChipBackend, ChipInfo
from ltl_core.errors import CalibrationError, ChipUnavailableError, LeaseLostError
from service.bench.agent.call_log import CallLog
from service.bench.agent.journal import About, AnsweredCall, CallAnswer, Journal
from service.bench.agent.persistence import ANSWERS_KEPT, persistence_for, request_digest
from service.bench.driver_lines import driver_line, package_of
from service.bench.protocol.faults import fault_to_json
from service.bench.protocol.frames import encode_frame
from service.bench.protocol.verbs import VERBS
from service.bench.protocol.wire import Body, MalformedBodyError, Message, decode, encode

OK = 200
_REFUSED, _FAILED = 422, 500
_STATUS = {LeaseLostError: 409, ChipUnavailableError: 503, MalformedBodyError: 400}
_FORGOTTEN_IDS = 10_000  # request ids whose answers were dropped: such a call is not handled again

Emit = Callable[[Body], None]


class Call(NamedTuple):
    """A request to the chip as it arrived."""

    verb: str
    token: int  # of the caller's lease
    request_id: str
    content: bytes
    digest: str  # the content's `Content-Digest`, which has been checked


def ignore(_frame: Body) -> None:
    """Drop a frame: the caller waits for the whole answer."""


class ChipServer:
    """Owns the chip and its journal, and restores both after the agent's process ended."""

    def __init__(
        self,
        chip: ChipBackend,
        journal: Journal,
        aging: float = 1.0,
        log: CallLog | None = None,
    ) -> None:
        self._chip, self._journal = chip, journal
        self._persistence = persistence_for(chip, journal, aging)
        self._log = log or CallLog()
        self._busy = threading.Lock()
        self._answered: OrderedDict[str, AnsweredCall] = OrderedDict()
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._token = journal.about().token
        for answered in self._persistence.restore(
            lambda call: handle_verb(chip, call.verb, call.content)
        ):
            self._remember(answered)

    @property
    def chip(self) -> ChipBackend:
        """The chip itself, for reading; only `handle` checks the lease token."""
        return self._chip

    @property
    def info(self) -> ChipInfo:
        """Description of the chip. Raises ChipUnavailableError if the driver of the chip does."""
        return self._chip.info

    @property
    def about(self) -> About:
        """The agent's identity and its highest lease token."""
        with self._busy:
            return self._journal.about()

    def handle(self, call: Call, emit: Emit = ignore) -> CallAnswer:
        """Handle a call once; return its answer, or the earlier answer of a repeated request.

        `emit` gets each frame of a streamed answer as soon as it is known, but no frame of an
        earlier answer.
        """
        with self._busy:
            try:
                self._admit(call)
                digest = request_digest(call.verb, call.digest)
                earlier = self._earlier_answer(call.request_id, digest)
                return self._handle_new(call, digest, emit) if earlier is None else earlier
            except CalibrationError as error:
                return _fault_answer(error)

    def close(self) -> None:
        """Write the chip and the last answer to the journal and close it, after the open call."""
        with self._busy:
            self._persistence.close()

    def _admit(self, call: Call) -> None:
        """Raise MalformedBodyError or LeaseLostError unless this call may be handled."""
        if call.verb not in VERBS:
            raise MalformedBodyError(f"there is no verb '{call.verb}'")
        if call.token < self._token:
            raise LeaseLostError(self.info.chip_id, call.token)
        if call.token > self._token:
            self._journal.raise_token(call.token)
            self._token = call.token

    def _earlier_answer(self, request_id: str, digest: str) -> CallAnswer | None:
        if request_id in self._forgotten:
            raise MalformedBodyError("it was answered before, and that answer is no longer kept")
        answered = self._answered.get(request_id)
        if answered is not None and answered.request_digest != digest:
            raise MalformedBodyError("its request id was used before for another call")
        return None if answered is None else answered.answer

    def _handle_new(self, call: Call, digest: str, emit: Emit) -> CallAnswer:
        self._persistence.before_call()
        with self._log.record(self.info.chip_id, call.token, call.verb, call.request_id):
            answer = handle_verb(self._chip, call.verb, call.content, emit)
        if VERBS[call.verb].changes_chip:
            answered = AnsweredCall(call.request_id, digest, answer)
            self._persistence.after_call(answered, call.verb, call.content)
            self._remember(answered)
        return answer

    def _remember(self, answered: AnsweredCall) -> None:
        self._answered[answered.request_id] = answered
        while len(self._answered) > ANSWERS_KEPT:
            self._forgotten[self._answered.popitem(last=False)[0]] = None
        while len(self._forgotten) > _FORGOTTEN_IDS:
            self._forgotten.popitem(last=False)


def handle_verb(chip: ChipBackend, verb: str, content: bytes, emit: Emit = ignore) -> CallAnswer:
    """Call the chip with the content of a request; return its answer, or its error as an answer.

    `emit` gets each frame of a streamed answer at once; the returned answer holds all frames.
    """
    with torch.no_grad():
        try:
            found = VERBS[verb].handle(chip, decode(content))
            body = encode(found) if isinstance(found, Message) else _emit_frames(found, emit)
            return CallAnswer(OK, body)
        except ChipUnavailableError as error:
            return _fault_answer(_with_place(chip, error))
        except CalibrationError as error:
            return _fault_answer(error)
        except (
            Exception
        ) as error:  # a driver of silicon may raise anything; the job must hear of it
            return _failure_answer(chip, verb, error)


def _emit_frames(messages: Iterator[Message], emit: Emit) -> Body:
    parts: list[memoryview] = []
    for message in messages:
        frame = encode_frame(message)
        parts += frame.parts
        emit(frame)
    return Body(tuple(parts))


def _fault_answer(error: CalibrationError) -> CallAnswer:
    """Return an error of the port as an answer; its type decides the HTTP status."""
    found = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    return CallAnswer(next(found, _REFUSED), _json(fault_to_json(error)))


def _failure_answer(chip: ChipBackend, verb: str, error: Exception) -> CallAnswer:
    """Return any other error as an answer, and log it with its traceback."""
    structlog.get_logger(__name__).error(
        "chip agent: the chip's driver raised an unexpected error, the calling job fails",
        verb=verb,
        trace="".join(traceback.format_exception(error)),
    )
    detail = f"{verb} failed in the chip's agent{_place(chip, error)}: {error!r}"
    return CallAnswer(_FAILED, _json({"error": None, "detail": detail}))


def _with_place(chip: ChipBackend, error: ChipUnavailableError) -> ChipUnavailableError:
    """Return the error with the line of the driver; without one as it is."""
    place = _place(chip, error)
    return ChipUnavailableError(error.chip_id, f"{error.reason}{place}") if place else error


def _place(chip: ChipBackend, error: Exception) -> str:
    """Return the driver and its line that raised, in brackets; nothing if no driver did."""
    package = package_of(chip)
    line = None if package is None else driver_line(error, package)
    return "" if line is None else f" (driver {package}: {line})"


def _json(content: Mapping[str, object]) -> Body:
    return Body((memoryview(json.dumps(content).encode()),))
