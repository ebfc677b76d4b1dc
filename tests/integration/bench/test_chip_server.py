"""The agent: which token may call, each call handled once, and errors that keep their type."""

import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.errors import ForeignStateError, NotPlacedError
from chip_sim.presets import preset
from ltl_core.chip import LayerCodes, Observable, Placement, Stimulus
from ltl_core.errors import (
    ChipUnavailableError,
    CodeRangeError,
    LayerShapeError,
    LeaseLostError,
    NonFiniteError,
)
from service.bench.agent.call_log import CallLog, read_calls
from service.bench.agent.chip_server import Call, ChipServer
from service.bench.agent.journal import Journal
from service.bench.driver.http_chip import HttpChip
from service.bench.protocol import messages
from service.bench.protocol.wire import encode
from service.digests import content_digest
from tests.agents import ServedAgent, serve_agent
from tests.calls import CODES, IMAGES
from tests.integration.bench.http_calls import call, clock


def prepared(chip: HttpChip, placement: Placement) -> HttpChip:
    chip.place(placement)
    chip.program("hidden", CODES)
    return chip


def test_an_older_token_is_refused_for_every_verb(agent: ServedAgent, placement: Placement) -> None:
    with agent.drive(3) as old:
        prepared(old, placement)
        with agent.drive(4) as new:
            assert new.program("hidden", CODES).cells == 0
            attempts = {
                "place": lambda: old.place(placement),
                "program": lambda: old.program("hidden", -CODES),
                "trim": lambda: old.trim("hidden", CODES[:, 0], CODES[:, 0]),
                "write": lambda: old.write({"hidden": LayerCodes(-CODES, *(CODES[:, 0],) * 2)}),
                "run": lambda: old.run(IMAGES, {"hidden": Observable.COUNTS}),
                "iter_layers": lambda: list(old.iter_layers(IMAGES, {"hidden": Observable.COUNTS})),
                "settle": lambda: old.settle(1.0),
                "probe": old.probe,
                "now": old.now,
            }
            for verb, attempt in attempts.items():
                with pytest.raises(LeaseLostError, match="token 3"):
                    attempt()
                assert new.program("hidden", CODES).cells == 0, verb


def test_the_highest_token_outlives_the_agent(tmp_path: Path) -> None:
    with serve_agent(tmp_path) as first, first.drive(7):
        pass
    with serve_agent(tmp_path) as again, pytest.raises(LeaseLostError), again.drive(6):
        pass


def test_every_call_that_was_done_is_logged_with_its_token(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    journal = Journal(tmp_path / "agent.sqlite")
    chip_server = ChipServer(make_chip("bench-1", preset("pcm"), 7), journal, 0.0, CallLog(path))
    settle = encode(messages.settle_request(1.0)).whole()
    for token, request_id in ((1, "a"), (1, "a"), (2, "b"), (1, "c"), (2, "d")):
        chip_server.handle(Call("settle", token, request_id, settle, content_digest(settle)))
    chip_server.close()
    calls = read_calls(path)
    assert [(call.token, call.request_id) for call in calls] == [(1, "a"), (2, "b"), (2, "d")]
    assert {(call.chip, call.verb) for call in calls} == {("bench-1", "settle")}
    assert all(one.ended <= next.began for one, next in pairwise(calls))


def test_a_repeated_call_is_done_once_and_answered_alike(agent: ServedAgent) -> None:
    first, again = (call(agent, "settle", messages.settle_request(100.0)) for _ in range(2))
    assert first.content == again.content
    assert clock(agent) == 100.0
    call(agent, "settle", messages.settle_request(100.0), Request_Id="two")
    assert clock(agent) == 200.0


def test_a_refusal_is_repeated_too(agent: ServedAgent) -> None:
    first, again = (
        call(agent, "program", messages.program_request("hidden", CODES)) for _ in range(2)
    )
    assert first.status_code == again.status_code == 422
    assert first.content == again.content


def test_one_request_id_means_one_call(agent: ServedAgent) -> None:
    assert call(agent, "settle", messages.settle_request(100.0)).status_code == 200
    assert call(agent, "settle", messages.settle_request(200.0)).status_code == 400
    assert clock(agent) == 100.0


@pytest.mark.parametrize("verb", ["run", "tell_layers"])
def test_an_answer_outlives_the_agent(tmp_path: Path, placement: Placement, verb: str) -> None:
    question = messages.run_request(IMAGES, {"hidden": Observable.SPIKES})
    with serve_agent(tmp_path) as first, first.drive() as chip:
        prepared(chip, placement)
        answer = call(first, verb, question)
        assert call(first, verb, question).content == answer.content
        stood = clock(first)
    with serve_agent(tmp_path) as again:
        assert call(again, verb, question).content == answer.content
        assert clock(again) == stood
        other = call(again, verb, question, Request_Id="two")
        assert other.content != answer.content
        assert clock(again) > stood


def test_a_chip_outlives_its_agent(tmp_path: Path, placement: Placement) -> None:
    nothing = torch.zeros(4, dtype=torch.int64)
    with serve_agent(tmp_path) as first, first.drive() as chip:
        prepared(chip, placement)
        chip.trim("hidden", nothing + 3, nothing)
        stood = chip.now()
    with serve_agent(tmp_path) as again, again.drive() as chip:
        assert chip.now() == stood
        assert chip.program("hidden", CODES).cells == 0
        answer = chip.run(IMAGES, {"hidden": Observable.SPIKES})
    twin = make_chip("twin", preset("pcm"), 7)
    twin.place(placement)
    twin.program("hidden", CODES)
    twin.trim("hidden", nothing + 3, nothing)
    expected = twin.run(IMAGES, {"hidden": Observable.SPIKES})
    found = answer.layers["hidden"].spikes
    assert found is not None
    assert torch.equal(found, expected.layers["hidden"].spikes)  # type: ignore[arg-type]


def test_another_chip_is_not_mistaken_for_it(tmp_path: Path, placement: Placement) -> None:
    with serve_agent(tmp_path) as first, first.drive() as chip:
        prepared(chip, placement)
    other = make_chip("bench-1", preset("pcm"), 8)
    with pytest.raises(ForeignStateError), serve_agent(tmp_path, other):
        pass


def test_an_idle_chip_ages_at_the_factor_that_was_set(tmp_path: Path) -> None:
    def clock_after(aging: float) -> float:
        journal = Journal(tmp_path / "agent.sqlite")
        chip_server = ChipServer(make_chip("bench-1", preset("pcm"), 7), journal, aging)
        stood = float(chip_server.chip.now())
        chip_server.close()
        return stood

    with serve_agent(tmp_path) as first, first.drive() as chip:
        chip.settle(5.0)
    with sqlite3.connect(tmp_path / "agent.sqlite") as journal:
        journal.execute("UPDATE about SET driven_at = driven_at - 1000")
    journal.close()
    assert clock_after(0.0) == 5.0
    assert clock_after(1.0) == pytest.approx(1005.0, abs=60.0)
    assert clock_after(10.0) == pytest.approx(10_005.0, abs=600.0)


def test_errors_of_the_port_keep_their_type_and_their_attributes(
    agent: ServedAgent, placement: Placement
) -> None:
    with agent.drive() as chip:
        prepared(chip, placement)
        with pytest.raises(CodeRangeError) as code_range:
            chip.program("hidden", CODES + 1000)
        assert (code_range.value.layer, code_range.value.highest) == ("hidden", 63)
        with pytest.raises(LayerShapeError) as shape:
            chip.program("hidden", CODES.T.contiguous())
        assert shape.value.expected == (4, 6)
        with pytest.raises(NotPlacedError) as absent:
            chip.run(IMAGES, {"attic": Observable.COUNTS})
        assert absent.value.reachable == ("hidden", "readout")
        nowhere = Stimulus(IMAGES.values * torch.nan, 12)
        with pytest.raises(NonFiniteError) as hole:
            chip.run(nowhere, {"hidden": Observable.COUNTS})
        assert hole.value.count == 30
        with pytest.raises(NonFiniteError) as hole:
            next(chip.iter_layers(nowhere, {"hidden": Observable.COUNTS}))
        assert hole.value.count == 30


def test_what_a_bench_raises_reaches_the_job(tmp_path: Path) -> None:
    with serve_agent(tmp_path, Broken()) as agent, agent.drive() as chip:  # type: ignore[arg-type]
        with pytest.raises(ChipUnavailableError, match="the supply is off") as unplugged:
            chip.now()
        assert unplugged.value.chip_id == "bench-1"
        with pytest.raises(ChipUnavailableError, match=r"settle failed.*division by zero"):
            chip.settle(1.0)


class Broken:
    """A chip whose driver raises."""

    info = make_chip("silicon", preset("pcm"), 1).info

    def now(self) -> float:
        raise ChipUnavailableError("silicon", "the supply is off")

    def settle(self, seconds: float) -> None:
        raise ZeroDivisionError(f"division by zero after {seconds} s")
