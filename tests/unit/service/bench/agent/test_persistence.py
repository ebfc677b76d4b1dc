"""What outlives the process of an agent: the chip, its last answers, and its highest token."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import ChipBackend, Observable, Placement
from service.bench.agent.chip_server import Call, ChipServer
from service.bench.agent.journal import AnsweredCall, CallAnswer, Journal, KeptCall
from service.bench.agent.persistence import ANSWERS_KEPT, AnswerPersistence
from service.bench.protocol import messages
from service.bench.protocol.wire import Body, Message, decode, encode
from service.digests import content_digest
from tests.calls import CODES, IMAGES


def call(verb: str, message: Message, request_id: str, token: int = 1) -> Call:
    content = encode(message).whole()
    return Call(verb, token, request_id, content, content_digest(content))


def chip_server(folder: Path, chip: ChipBackend | None = None) -> ChipServer:
    made = chip or make_chip("bench-1", preset("pcm"), 7)
    return ChipServer(made, Journal(folder / "agent.sqlite"), aging=0.0)


def copied(folder: Path, name: str) -> Path:
    """The folder as a process that is killed now would leave it."""
    return Path(shutil.copytree(folder, folder.with_name(name)))


RUN = messages.run_request(IMAGES, {"hidden": Observable.SPIKES})


def test_a_killed_agent_repeats_the_calls_since_the_snapshot(
    tmp_path: Path, placement: Placement
) -> None:
    first = chip_server(tmp_path / "first")
    first.handle(call("place", messages.place_request(placement), "place"))
    first.handle(call("program", messages.program_request("hidden", CODES), "program"))
    answer = first.handle(call("run", RUN, "run"))
    killed = chip_server(copied(tmp_path / "first", "killed"))
    assert killed.chip.now() == first.chip.now() > 0
    assert killed.handle(call("run", RUN, "run")).body.whole() == answer.body.whole()
    following = [server.handle(call("run", RUN, "next")) for server in (first, killed)]
    assert following[0].body.whole() == following[1].body.whole() != answer.body.whole()
    first.close()
    killed.close()


def test_calls_before_the_snapshot_are_not_repeated(tmp_path: Path) -> None:
    first = chip_server(tmp_path / "first")
    first.handle(call("settle", messages.settle_request(5.0), "a"))
    assert [kept.request_id for kept in Journal(tmp_path / "first/agent.sqlite").calls()] == ["a"]
    first.close()
    journal = Journal(tmp_path / "first/agent.sqlite")
    assert journal.calls() == []
    assert [answered.request_id for answered in journal.answers()] == ["a"]
    journal.close()
    again = chip_server(tmp_path / "first")
    assert again.chip.now() == 5.0
    assert again.handle(call("settle", messages.settle_request(5.0), "a")).status == 200
    assert again.chip.now() == 5.0
    again.close()


def test_a_killed_agent_keeps_its_highest_token(tmp_path: Path) -> None:
    first = chip_server(tmp_path / "first")
    first.handle(call("now", Message(), "a", token=7))
    killed = chip_server(copied(tmp_path / "first", "killed"))
    assert killed.handle(call("now", Message(), "b", token=6)).status == 409
    assert killed.handle(call("now", Message(), "c", token=7)).status == 200
    first.close()
    killed.close()


def test_an_answer_that_is_no_longer_kept_is_not_given_twice(tmp_path: Path) -> None:
    server = chip_server(tmp_path)
    for number in range(ANSWERS_KEPT + 1):
        server.handle(call("settle", messages.settle_request(1.0), str(number)))
    late = server.handle(call("settle", messages.settle_request(1.0), "0"))
    assert (late.status, b"no longer kept" in late.body.whole()) == (400, True)
    kept = server.handle(call("settle", messages.settle_request(1.0), "1"))
    assert kept.status == 200
    assert server.chip.now() == ANSWERS_KEPT + 1
    server.close()


class Silicon:
    """A chip that keeps its state by itself, and counts how often it was left alone."""

    info = make_chip("bench-1", preset("pcm"), 1).info

    def __init__(self) -> None:
        self.settled = 0

    def settle(self, seconds: float) -> None:
        self.settled += int(seconds)


def test_silicon_gets_no_call_twice_over_a_restart(tmp_path: Path) -> None:
    silicon: Any = Silicon()
    first = chip_server(tmp_path / "first", silicon)
    for request_id in "abcdef":
        first.handle(call("settle", messages.settle_request(1.0), request_id))
    killed = chip_server(copied(tmp_path / "first", "killed"), silicon)
    assert silicon.settled == 6  # a restart repeats nothing
    assert killed.handle(call("settle", messages.settle_request(1.0), "f")).status == 200
    assert silicon.settled == 6
    killed.handle(call("settle", messages.settle_request(1.0), "g"))
    assert silicon.settled == 7
    first.close()
    killed.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "agent.sqlite")
    yield opened
    opened.close()


def answered(request_id: str, size: int) -> AnsweredCall:
    return AnsweredCall(request_id, "run x", CallAnswer(200, Body((memoryview(bytes(size)),))))


def test_an_answer_above_64_mib_is_not_written_to_disk(journal: Journal) -> None:
    persistence = AnswerPersistence(journal)
    persistence.after_call(answered("small", 10), "run", b"")
    persistence.after_call(answered("large", (64 << 20) + 1), "run", b"")
    assert [one.request_id for one in journal.answers()] == ["small"]


def test_the_journal_keeps_the_last_answers(journal: Journal) -> None:
    for number in range(5):
        journal.append_answer(answered(str(number), number), 3, 0.0)
    kept = journal.answers()
    assert [one.request_id for one in kept] == ["2", "3", "4"]
    assert [one.answer.body.size for one in kept] == [2, 3, 4]


class BreaksHalfWay(dict[str, torch.Tensor]):
    """The state of a chip that cannot be read to its end."""

    def items(self) -> Any:
        yield from super().items()
        raise OSError("half way")


def test_a_snapshot_that_fails_leaves_the_journal_as_it_was(journal: Journal) -> None:
    journal.save_snapshot({"g": torch.ones(2)})
    journal.append_call(KeptCall("a", "settle", b"", 0.0), 1.0)
    with pytest.raises(OSError, match="half way"):
        journal.save_snapshot(BreaksHalfWay({"g": torch.zeros(2)}))
    assert journal.snapshot()["g"].tolist() == [1, 1]
    assert [kept.request_id for kept in journal.calls()] == ["a"]
    assert journal.about().driven_at == 1.0


def test_answers_and_calls_have_one_text_for_a_request(tmp_path: Path) -> None:
    server = chip_server(tmp_path / "first")
    server.handle(call("settle", messages.settle_request(1.0), "a"))
    killed = chip_server(copied(tmp_path / "first", "killed"))  # it computes the digest anew
    other = killed.handle(call("settle", messages.settle_request(2.0), "a"))
    assert (other.status, killed.chip.now()) == (400, 1.0)
    assert decode(killed.handle(call("now", Message(), "b")).body.whole()).fields == {
        "chip_time_s": 1.0
    }
    server.close()
    killed.close()
