"""One chip at its bench: who may drive it, what was answered, what is kept. One call at a time."""

import json
import threading
import time
import traceback
from collections.abc import Mapping
from typing import NamedTuple

import structlog
import torch
from torch import Tensor

from ltl_core.chip import ChipBackend, ChipInfo
from ltl_core.errors import CalibrationError, ChipUnavailableError, LeaseLostError
from service.bench.call_log import CallLog
from service.bench.faults import fault_to_json
from service.bench.journal import About, Journal, Reply
from service.bench.registry import Stored
from service.bench.verbs import VERBS
from service.bench.wall_time import WallTime
from service.bench.wire import Body, MalformedBodyError, decode, digest_of, encode

_REFUSED = 422
_STATUS = {LeaseLostError: 409, ChipUnavailableError: 503, MalformedBodyError: 400}
_FAILED = 500
_KEPT_BYTES = 64 << 20  # an answer that is larger can be repeated until the agent ends


class Call(NamedTuple):
    """A question as it arrived."""

    verb: str
    token: int
    request_id: str
    content: bytes


class Answer(NamedTuple):
    """200 with a message, or the error in JSON."""

    status: int
    body: Body


class Station:
    """Owns the chip. A chip that lives in software goes on from where it was left.

    Its clock follows wall time times `aging`, also over the time in which no agent ran.
    """

    def __init__(
        self,
        chip: ChipBackend,
        journal: Journal,
        aging: float = 1.0,
        log: CallLog | None = None,
    ) -> None:
        self._chip = chip
        self._journal = journal
        self._log = log or CallLog()
        self._busy = threading.Lock()
        self._last: tuple[str, str, Answer] | None = None  # request id, digest of what was asked
        self._kept: dict[str, Tensor] = journal.tensors()
        self._token = journal.about().token
        if isinstance(chip, Stored) and self._kept:
            chip.restore(self._kept)
            chip.advance(_seconds_since(journal.about().driven_at) * aging)
        self._wall_time = WallTime(chip, aging)

    @property
    def chip(self) -> ChipBackend:
        """Not to be driven past the token."""
        return self._chip

    @property
    def info(self) -> ChipInfo:
        return self._chip.info

    @property
    def about(self) -> About:
        with self._busy:
            return self._journal.about()

    def call(self, call: Call) -> Answer:
        """Do it once. A question asked again gets the answer that it got before."""
        with self._busy:
            try:
                return self._admitted(call)
            except CalibrationError as error:
                return _fault(error)

    def close(self) -> None:
        with self._busy:
            self._journal.close()

    def _admitted(self, call: Call) -> Answer:
        if call.verb not in VERBS:
            raise MalformedBodyError(f"there is no verb '{call.verb}'")
        if call.token < self._token:
            raise LeaseLostError(self.info.chip_id, call.token)
        if call.token > self._token:
            self._hand_over(call.token)
        asked = f"{call.verb} {digest_of(call.content)}"
        if (before := self._answered(call.request_id, asked)) is not None:
            return before
        with self._log.noting(self.info.chip_id, call.token, call.verb, call.request_id):
            answer = self._perform(call)
        if VERBS[call.verb].changes:
            self._keep(call.request_id, asked, answer)
        return answer

    def _hand_over(self, token: int) -> None:
        """The next holder; those before are not obeyed any more."""
        self._journal.take_token(token)
        self._token = token

    def _answered(self, request_id: str, asked: str) -> Answer | None:
        if self._last is not None and self._last[0] == request_id:
            known, answer = self._last[1:]
        elif (reply := self._journal.reply(request_id)) is not None:
            known, answer = reply.asked, Answer(reply.status, Body((memoryview(reply.body),)))
        else:
            return None
        if known != asked:
            raise MalformedBodyError("its request id was used before for another call")
        return answer

    def _perform(self, call: Call) -> Answer:
        with torch.no_grad():
            self._wall_time.follow()
            try:
                answer = VERBS[call.verb].perform(self._chip, decode(call.content))
                return Answer(200, encode(answer))
            except CalibrationError as error:
                return _fault(error)
            except Exception as error:  # a driver of silicon may raise anything; the job is told
                structlog.get_logger(__name__).error(
                    "a call failed",
                    verb=call.verb,
                    trace="".join(traceback.format_exception(error)),
                )
                return _failure(f"{call.verb} failed in the chip's agent: {error!r}")

    def _keep(self, request_id: str, asked: str, answer: Answer) -> None:
        self._last = (request_id, asked, answer)
        small = answer.body.size <= _KEPT_BYTES
        reply = Reply(asked, answer.status, answer.body.whole()) if small else None
        self._journal.keep(request_id, reply, self._changed(), time.time())

    def _changed(self) -> dict[str, Tensor | None]:
        """What is no longer as it was kept; None for what is gone."""
        if not isinstance(self._chip, Stored):
            return {}
        state, kept = self._chip.state(), self._kept
        self._kept = state
        gone: dict[str, Tensor | None] = dict.fromkeys(kept.keys() - state.keys())
        return gone | {
            name: tensor
            for name, tensor in state.items()
            if name not in kept or not _same(tensor, kept[name])
        }


def _seconds_since(then: float | None) -> float:
    return 0.0 if then is None else max(0.0, time.time() - then)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _fault(error: CalibrationError) -> Answer:
    found = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    return Answer(next(found, _REFUSED), _json(fault_to_json(error)))


def _failure(detail: str) -> Answer:
    return Answer(_FAILED, _json({"error": None, "detail": detail}))


def _json(content: Mapping[str, object]) -> Body:
    return Body((memoryview(json.dumps(content).encode()),))
