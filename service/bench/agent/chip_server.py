"""One chip at its bench: who may drive it, and each call once. One call at a time."""

import threading
from collections import OrderedDict
from typing import NamedTuple

from ltl_core.chip import ChipBackend, ChipInfo
from ltl_core.errors import CalibrationError, LeaseLostError
from service.bench.agent.call_log import CallLog
from service.bench.agent.journal import About, Journal
from service.bench.agent.performing import CallAnswer, Emit, fault, ignore, perform
from service.bench.agent.persistence import ANSWERS, AnsweredCall, persistence_for, what_was_asked
from service.bench.protocol.verbs import VERBS
from service.bench.protocol.wire import MalformedBodyError

_IDS = 10_000  # of calls whose answers are forgotten: one that turns up late is not done again


class Call(NamedTuple):
    """A question as it arrived."""

    verb: str
    token: int
    request_id: str
    content: bytes


class ChipServer:
    """Owns the chip, and has it as it was left, whatever ended the process before."""

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
        self._done: OrderedDict[str, AnsweredCall] = OrderedDict()
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._token = journal.about().token
        for done in self._persistence.recall():
            self._remember(done)

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

    def call(self, call: Call, emit: Emit = ignore) -> CallAnswer:
        """Do it once. A question asked again gets the answer that it got before.

        The pieces of an answer are told as they come, but not of one that was given before.
        """
        with self._busy:
            try:
                return self._admitted(call, emit)
            except CalibrationError as error:
                return fault(error)

    def close(self) -> None:
        with self._busy:
            self._persistence.close()

    def _admitted(self, call: Call, emit: Emit) -> CallAnswer:
        if call.verb not in VERBS:
            raise MalformedBodyError(f"there is no verb '{call.verb}'")
        if call.token < self._token:
            raise LeaseLostError(self.info.chip_id, call.token)
        if call.token > self._token:
            self._journal.take_token(call.token)
            self._token = call.token
        asked = what_was_asked(call.verb, call.content)
        before = self._answered(call.request_id, asked)
        return self._perform(call, asked, emit) if before is None else before

    def _answered(self, request_id: str, asked: str) -> CallAnswer | None:
        if request_id in self._forgotten:
            raise MalformedBodyError("it was answered long ago")
        done = self._done.get(request_id)
        if done is not None and done.asked != asked:
            raise MalformedBodyError("its request id was used before for another call")
        return None if done is None else done.answer

    def _perform(self, call: Call, asked: str, emit: Emit) -> CallAnswer:
        self._persistence.before()
        with self._log.noting(self.info.chip_id, call.token, call.verb, call.request_id):
            answer = perform(self._chip, call.verb, call.content, emit)
        if VERBS[call.verb].changes:
            done = AnsweredCall(call.request_id, asked, answer)
            self._persistence.after(done, call.verb, call.content)
            self._remember(done)
        return answer

    def _remember(self, done: AnsweredCall) -> None:
        self._done[done.request_id] = done
        while len(self._done) > ANSWERS:
            self._forgotten[self._done.popitem(last=False)[0]] = None
        while len(self._forgotten) > _IDS:
            self._forgotten.popitem(last=False)
