"""How a chip and its last answers outlive the agent's process.

A chip of silicon keeps its cells itself, so only the answers are kept. One that lives in software
is written down as a whole now and then, and between that as the calls that changed it: repeated
from there they give the same chip, and the same answers, to the bit.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ltl_core.chip import ChipBackend
from service.bench.agent.journal import Journal, KeptCall, KeptReply
from service.bench.agent.performing import CallAnswer, perform
from service.bench.protocol.wire import Body
from service.bench.stored import Stored
from service.bench.wall_time import WallTime
from service.digests import content_digest

ANSWERS = 4  # that can be given again; a driver has one question open at a time
_KEPT_BYTES = 64 << 20  # an answer of silicon that is larger is kept in memory alone
_WHOLE_EVERY = 2.0  # s of work that a restart may have to repeat
_WHOLE_SHARE = 50  # and at least so many times what writing the chip down takes


class AnsweredCall(NamedTuple):
    """A call and its answer."""

    request_id: str
    asked: str  # verb and digest of the question
    answer: CallAnswer


class SoftwareChip(ChipBackend, Stored, Protocol):
    """A chip that lives in software."""


class ChipPersistence(Protocol):
    """Of one chip."""

    def recall(self) -> Iterator[AnsweredCall]:
        """Bring the chip to where it was; the last answers, oldest first."""
        ...

    def before(self) -> None:
        """A call is about to be done."""
        ...

    def after(self, done: AnsweredCall, verb: str, content: bytes) -> None:
        """A call that may have changed the chip was done, and is not answered yet."""
        ...

    def close(self) -> None: ...


def persistence_for(chip: ChipBackend, journal: Journal, aging: float) -> ChipPersistence:
    """As the chip needs it."""
    if isinstance(chip, Stored):
        return SoftwareChipPersistence(chip, journal, aging)
    return AnswerPersistence(journal)


def what_was_asked(verb: str, content: bytes) -> str:
    """The same for the same question."""
    return f"{verb} {content_digest(content)}"


def keep_answer(journal: Journal, done: AnsweredCall) -> None:
    """Unless it is too large."""
    if done.answer.body.size <= _KEPT_BYTES:
        body = done.answer.body.whole()
        reply = KeptReply(done.request_id, done.asked, done.answer.status, body)
        journal.keep_reply(reply, ANSWERS, time.time())


def recalled(journal: Journal) -> Iterator[AnsweredCall]:
    """The answers that were kept."""
    for request_id, asked, status, body in journal.replies():
        yield AnsweredCall(request_id, asked, CallAnswer(status, Body((memoryview(body),))))


class AnswerPersistence:
    """Keeps answers."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def recall(self) -> Iterator[AnsweredCall]:
        return recalled(self._journal)

    def before(self) -> None:
        """Its own clock goes on."""

    def after(self, done: AnsweredCall, verb: str, content: bytes) -> None:  # noqa: ARG002
        keep_answer(self._journal, done)

    def close(self) -> None:
        self._journal.close()


class SoftwareChipPersistence:
    """Keeps the chip. Its clock follows wall time times `aging`, also while no agent runs."""

    def __init__(self, chip: SoftwareChip, journal: Journal, aging: float) -> None:
        self._chip, self._journal, self._aging = chip, journal, aging
        self._wall_time = WallTime(chip, 0.0)
        self._last: AnsweredCall | None = None
        self._chip_time, self._began = 0.0, 0.0
        self._work = 0.0  # s since the chip was written down as a whole
        self._whole_due = _WHOLE_EVERY

    def recall(self) -> Iterator[AnsweredCall]:
        """Raises ForeignStateError where another chip was kept here."""
        yield from recalled(self._journal)
        if kept := self._journal.tensors():
            self._chip.restore(kept)
        for call in self._journal.calls():
            self._chip.advance(max(0.0, call.chip_time - self._chip.now()))
            answer = perform(self._chip, call.verb, call.content)
            yield AnsweredCall(call.request_id, what_was_asked(call.verb, call.content), answer)
        if (left := self._journal.about().driven_at) is not None:
            self._chip.advance(max(0.0, time.time() - left) * self._aging)
        self._wall_time = WallTime(self._chip, self._aging)

    def before(self) -> None:
        """Writes the chip down here: the answer to the call before must have arrived."""
        if self._work >= self._whole_due:
            self._write_down()
        self._wall_time.follow()
        self._chip_time = self._chip.now()
        self._began = time.monotonic()

    def after(self, done: AnsweredCall, verb: str, content: bytes) -> None:
        self._last = done
        kept = KeptCall(done.request_id, verb, content, self._chip_time)
        self._journal.keep_call(kept, time.time())
        self._work += time.monotonic() - self._began

    def close(self) -> None:
        """The next start may run newer code: it finds the chip as a whole, and the last answer."""
        if self._last is not None:
            keep_answer(self._journal, self._last)
            self._write_down()
        self._journal.close()

    def _write_down(self) -> None:
        began = time.monotonic()
        self._journal.keep_chip(self._chip.state())
        took = time.monotonic() - began
        self._work, self._whole_due = 0.0, max(_WHOLE_EVERY, _WHOLE_SHARE * took)
