"""How a chip and its last answers outlive the agent's process.

A chip of silicon keeps its cells by itself, so only the answers are kept. A chip in software is
kept as a snapshot, written now and then, and as the calls that changed it since. Repeating those
calls gives the same chip and the same answers, to the bit.
"""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from ltl_core.chip import ChipBackend
from service.bench.agent.journal import AnsweredCall, CallAnswer, Journal, KeptCall
from service.bench.stored import Stored
from service.bench.wall_time import WallTime
from service.digests import content_digest

ANSWERS_KEPT = 4  # answers that can be given again; a driver has one call open at a time
_ANSWER_KEPT_MAX = 64 << 20  # bytes; a larger answer of a silicon chip is kept in memory alone
_SNAPSHOT_INTERVAL = 2.0  # s of work that a restart may have to repeat
_SNAPSHOT_SHARE = 50  # work between two snapshots, in multiples of the time to write one

Replay = Callable[[KeptCall], CallAnswer]


class SoftwareChip(ChipBackend, Stored, Protocol):
    """A chip that lives in software: its state can be saved and restored."""


class ChipPersistence(Protocol):
    """Keeps one chip and its last answers over restarts of its agent."""

    def restore(self, replay: Replay) -> Iterator[AnsweredCall]:
        """Bring the chip to its last state; yield the last answers, oldest first.

        `replay` repeats a call on the chip.
        """
        ...

    def before_call(self) -> None:
        """Prepare for a call that is about to be handled."""
        ...

    def after_call(self, answered: AnsweredCall, verb: str, content: bytes) -> None:
        """Keep a call that may have changed the chip, before its answer is sent."""
        ...

    def close(self) -> None:
        """Write what is left to write, and close the journal."""
        ...


def persistence_for(chip: ChipBackend, journal: Journal, aging: float) -> ChipPersistence:
    """Return the persistence that this kind of chip needs."""
    if isinstance(chip, Stored):
        return SoftwareChipPersistence(chip, journal, aging)
    return AnswerPersistence(journal)


def request_digest(verb: str, digest: str) -> str:
    """Return what tells two requests apart: the verb and the `Content-Digest` of the content."""
    return f"{verb} {digest}"


class AnswerPersistence:
    """Keeps the last answers of a chip of silicon, which keeps its cells by itself."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def restore(self, replay: Replay) -> Iterator[AnsweredCall]:  # noqa: ARG002
        """Yield the last answers, oldest first; there is no call to repeat."""
        yield from self._journal.answers()

    def before_call(self) -> None:
        """Do nothing: the chip's own clock runs on."""

    def after_call(self, answered: AnsweredCall, verb: str, content: bytes) -> None:  # noqa: ARG002
        """Keep the answer unless it is larger than 64 MiB."""
        _keep_answer(self._journal, answered)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


class SoftwareChipPersistence:
    """Keeps a chip in software; its clock follows wall time times `aging`, agent or not."""

    def __init__(self, chip: SoftwareChip, journal: Journal, aging: float) -> None:
        self._chip, self._journal, self._aging = chip, journal, aging
        self._wall_time = WallTime(chip, 0.0)
        self._last: AnsweredCall | None = None
        self._chip_time, self._began = 0.0, 0.0
        self._work = 0.0  # s of calls since the last snapshot
        self._snapshot_due = _SNAPSHOT_INTERVAL  # s of calls until the next snapshot

    def restore(self, replay: Replay) -> Iterator[AnsweredCall]:
        """Load the snapshot, repeat the calls since, and let the chip age; yield the answers.

        Raises ForeignStateError if the journal holds another chip.
        """
        yield from self._journal.answers()
        if snapshot := self._journal.snapshot():
            self._chip.restore(snapshot)
        for call in self._journal.calls():
            self._chip.advance(max(0.0, call.chip_time - self._chip.now()))
            digest = request_digest(call.verb, content_digest(call.content))
            yield AnsweredCall(call.request_id, digest, replay(call))
        if (driven_at := self._journal.about().driven_at) is not None:
            self._chip.advance(max(0.0, time.time() - driven_at) * self._aging)
        self._wall_time = WallTime(self._chip, self._aging)

    def before_call(self) -> None:
        """Write a snapshot if one is due, and let the chip catch up with wall time.

        A snapshot drops the calls before it. It is written here and not after a call, because a new
        call shows that the driver has received the answer to the last one.
        """
        if self._work >= self._snapshot_due:
            self._save_snapshot()
        self._wall_time.follow()
        self._chip_time = self._chip.now()
        self._began = time.monotonic()

    def after_call(self, answered: AnsweredCall, verb: str, content: bytes) -> None:
        """Keep the call, so that a restart can repeat it."""
        self._last = answered
        kept = KeptCall(answered.request_id, verb, content, self._chip_time)
        self._journal.append_call(kept, time.time())
        self._work += time.monotonic() - self._began

    def close(self) -> None:
        """Write a snapshot and the last answer, so that newer code never repeats older calls."""
        if self._last is not None:
            _keep_answer(self._journal, self._last)
            self._save_snapshot()
        self._journal.close()

    def _save_snapshot(self) -> None:
        began = time.monotonic()
        self._journal.save_snapshot(self._chip.state())
        took = time.monotonic() - began
        self._work, self._snapshot_due = 0.0, max(_SNAPSHOT_INTERVAL, _SNAPSHOT_SHARE * took)


def _keep_answer(journal: Journal, answered: AnsweredCall) -> None:
    if answered.answer.body.size <= _ANSWER_KEPT_MAX:
        journal.append_answer(answered, ANSWERS_KEPT, time.time())
