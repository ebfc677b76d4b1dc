"""The driver: asks again where that may help, and believes nothing that no chip could mean."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from chip_sim.chip import SimulatedChip
from chip_sim.presets import preset
from ltl_core.chip import LayerCodes, LayerRecording, Observable, Placement, Stimulus
from ltl_core.errors import ChipUnavailableError
from service.bench.driver import HttpChip, open_http_chip
from service.bench.frames import framed, read_frame
from service.bench.wire import Message, decode, digest_of, encode
from tests.agents import Bench, bench, serving

IMAGES = Stimulus(torch.rand(5, 6, generator=torch.Generator().manual_seed(1)), 12)
RECORD = {"hidden": Observable.WINDOW, "readout": Observable.MEMBRANE}
CODES = torch.arange(24).view(4, 6) - 12
LAYER = LayerCodes(CODES, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))

Tamper = Callable[[Response], Any]


class Proxy:
    """Stands between driver and agent, and hands on what it is told to make of an answer."""

    def __init__(self, agent: Bench) -> None:
        self.asked = 0
        self._callers: set[object] = set()
        self._agent = agent
        self._tamper: dict[str, tuple[int, Tamper]] = {}
        self.app = FastAPI()
        self.app.add_api_route("/v1/chip/{verb}", self._pass_on, methods=["POST"])

    def tamper(self, verb: str, how: Tamper, times: int = 10**9) -> None:
        self._tamper[verb] = (times, how)

    @property
    def lines(self) -> int:
        """How many connections there have been."""
        return len(self._callers)

    def be_honest(self) -> None:
        self._tamper.clear()

    async def _pass_on(self, verb: str, request: Request) -> Response:
        self.asked += 1
        self._callers.add(request.client)
        async with httpx.AsyncClient(base_url=self._agent.address.url) as client:
            content = await request.body()
            answer = await client.post(request.url.path, content=content, headers=request.headers)
        told = {
            name: answer.headers[name] for name in ("Content-Digest",) if name in answer.headers
        }
        response = Response(answer.content, answer.status_code, told)
        left, how = self._tamper.get(verb, (0, None))
        if how is None or left == 0:
            return response
        self._tamper[verb] = (left - 1, how)
        changed = how(response)
        return await changed if asyncio.iscoroutine(changed) else changed


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for all: no test leaves its chip in a state that another one minds."""
    with bench(tmp_path_factory.mktemp("agent"), answer_s=10.0, reach_s=1.0) as served:
        yield served


@pytest.fixture(scope="module")
def shared(agent: Bench, placement: Placement) -> Iterator[tuple[Proxy, HttpChip]]:
    proxy = Proxy(agent)
    with driven(proxy, agent) as chip:
        chip.place(placement)
        chip.program("hidden", CODES)
        yield proxy, chip


@pytest.fixture
def proxy(shared: tuple[Proxy, HttpChip]) -> Proxy:
    """It hands on what it gets, until it is told otherwise."""
    shared[0].be_honest()
    return shared[0]


@contextmanager
def driven(proxy: Proxy, agent: Bench, **limits: float) -> Iterator[HttpChip]:
    with serving(proxy.app) as url:
        address = agent.address.model_copy(update={"url": url, **limits})
        chip = open_http_chip("bench-1", address, 1)
        yield chip
        chip.close()


@pytest.fixture
def chip(shared: tuple[Proxy, HttpChip]) -> HttpChip:
    return shared[1]


def lie(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Tamper:
    """Another answer, under a checksum that is right."""

    def told(response: Response) -> Response:
        message = decode(bytes(response.body))
        fields, tensors = dict(message.fields), dict(message.tensors)
        change(fields, tensors)
        content = encode(Message(fields, tensors)).whole()
        return Response(content, 200, {"Content-Digest": digest_of(content)})

    return told


def put(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Tamper:
    """Another tensor in the place of this one."""

    def change(_fields: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors[name] = make(tensors[name])

    return lie(change)


def say(name: str, value: Any) -> Tamper:
    """Another field."""
    return lie(lambda fields, _tensors: fields.update({name: value}))


def drop(name: str) -> Tamper:
    return lie(lambda _fields, tensors: tensors.pop(name))


def in_piece(number: int, change: Tamper) -> Tamper:
    """This lie in one piece of many."""

    def told(response: Response) -> Response:
        pieces = [decode(content) for content in contents(response)]
        changed = change(Response(encode(pieces[number]).whole()))
        pieces[number] = decode(bytes(changed.body))
        return Response(b"".join(framed(piece).whole() for piece in pieces))

    return told


def contents(response: Response) -> Iterator[bytes]:
    read = io.BytesIO(bytes(response.body)).read
    while content := read_frame(read):
        yield content


def with_hole(tensor: torch.Tensor) -> torch.Tensor:
    holed = tensor.clone()
    holed.view(-1)[3] = torch.nan
    return holed


RUN_LIES: dict[str, tuple[Tamper, str]] = {
    "counts of another shape": (put("counts/hidden", lambda t: t[:4]), "counts/hidden.*shape"),
    "spikes of another shape": (put("spikes/hidden", lambda t: t[:, :, :3]), "spikes/hidden"),
    "spikes of one step more": (
        put("spikes/hidden", lambda t: torch.cat((t, t[:1]))),
        r"shape \[13, 5, 4\], not \[12, 5, 4\]",
    ),
    "counts as reals": (put("counts/hidden", lambda t: t.float()), "float32, not integers"),
    "spikes as bytes": (put("spikes/hidden", lambda t: t.to(torch.uint8)), "uint8, not bits"),
    "flags as reals": (put("window/hidden", lambda t: t.float()), "not bits"),
    "membranes as integers": (put("membrane/readout", lambda t: t.int()), "int32, not reals"),
    "more spikes than steps": (put("counts/hidden", lambda t: t + 13), "range 0 to 12"),
    "fewer spikes than none": (put("counts/hidden", lambda t: t - 13), "range 0 to 12"),
    "a membrane that is no number": (put("membrane/readout", with_hole), "NaN or infinite"),
    "an infinite membrane": (put("membrane/readout", lambda t: t / 0), "NaN or infinite"),
    "no spikes": (drop("spikes/hidden"), "lacks the tensor 'spikes/hidden'"),
    "no flags": (drop("window/hidden"), "lacks the tensor 'window/hidden'"),
    "a readout that fires": (
        lie(lambda _f, tensors: tensors.update({"counts/readout": tensors["counts/hidden"]})),
        "nobody asked for the counts of layer 'readout'",
    ),
    "a layer too many": (say("layers", ["hidden", "readout", "attic"]), "tells of layers"),
    "a layer too few": (say("layers", ["hidden"]), "tells of layers"),
    "no layers": (say("layers", None), "lacks the list 'layers'"),
    "a clock that is no number": (say("chip_time_s", float("nan")), "chip_time_s is nan"),
    "a clock of words": (say("chip_time_s", "late"), "chip_time_s is 'late'"),
    "a clock that goes back": (say("chip_time_s", 0.0), "clock went back"),
}


@pytest.mark.parametrize(("tamper", "reason"), RUN_LIES.values(), ids=RUN_LIES.keys())
def test_an_impossible_recording_is_not_believed(
    chip: HttpChip, proxy: Proxy, tamper: Tamper, reason: str
) -> None:
    assert chip.now() > 0
    chip.run(IMAGES, RECORD)
    proxy.tamper("run", tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer to 'run'.*{reason}") as lied:
        chip.run(IMAGES, RECORD)
    assert lied.value.chip_id == "bench-1"


OTHER_LIES: dict[str, tuple[str, Tamper, str]] = {
    "a map of another shape": ("program", put("failed", lambda t: t.T), "failed.*shape"),
    "a map of reals": ("program", put("failed", lambda t: t.float()), "not bits"),
    "more cells than there are": ("program", say("cells", 25), "cells is 25"),
    "fewer pulses than none": ("program", say("pulses", -1), "pulses is -1"),
    "cells in parts": ("program", say("cells", 1.5), "lacks the int 'cells'"),
    "a layer written too few": ("write", say("written", {}), "tells of layers"),
    "a map too many": (
        "write",
        lie(lambda _f, tensors: tensors.update({"attic": tensors["hidden"]})),
        "tells of layers",
    ),
    "a written map of another shape": ("write", put("hidden", lambda t: t.T), "failed.*shape"),
    "more written cells than there are": (
        "write",
        say("written", {"hidden": [25, 0]}),
        "cells is 25",
    ),
    "no pulses": ("write", say("written", {"hidden": [1]}), "what writing 'hidden' took"),
    "a layer without a rate": ("probe", drop("readout"), "tells of layers"),
    "rates of another shape": ("probe", put("hidden", lambda t: t[:2]), "hidden.*shape"),
    "rates above one": ("probe", put("hidden", lambda t: t + 2), "range 0 to 1"),
    "a rate that is no number": ("probe", put("readout", lambda t: t * torch.nan), "NaN"),
    "an infinite clock": ("now", say("chip_time_s", float("inf")), "chip_time_s is inf"),
    "a register out of range": (
        "tuning",
        put("threshold", lambda t: t + 10_000),
        "threshold.*leaves the range",
    ),
}


@pytest.mark.parametrize(("verb", "tamper", "reason"), OTHER_LIES.values(), ids=OTHER_LIES.keys())
def test_no_other_impossible_answer_is_believed(
    chip: HttpChip, proxy: Proxy, verb: str, tamper: Tamper, reason: str
) -> None:
    asked = {
        "program": lambda: chip.program("hidden", CODES),
        "write": lambda: chip.write({"hidden": LAYER}),
        "probe": chip.probe,
        "now": chip.now,
        "tuning": lambda: chip.tuning("hidden"),
    }[verb]
    asked()
    proxy.tamper(verb, tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer to '{verb}'.*{reason}"):
        asked()


def without(number: int) -> Tamper:
    """One piece fewer."""

    def told(response: Response) -> Response:
        pieces = [framed(decode(content)).whole() for content in contents(response)]
        del pieces[number]
        return Response(b"".join(pieces))

    return told


PIECES_LIES: dict[str, tuple[Tamper, str]] = {
    "spikes of another shape": (
        in_piece(0, put("spikes/hidden", lambda t: t[:, :, :3])),
        "spikes/hidden",
    ),
    "a membrane that is no number": (in_piece(1, put("membrane/readout", with_hole)), "NaN"),
    "another layer": (in_piece(0, say("layer", "attic")), "tell of layer 'hidden'"),
    "a layer too few": (without(0), "tell of layer 'hidden'"),
    "a layer too few at the end": (without(1), "lacks the str 'layer'"),
    "no end": (without(2), "does not end when it should"),
    "a clock that goes back": (in_piece(2, say("chip_time_s", 0.0)), "clock went back"),
}


@pytest.mark.parametrize(("tamper", "reason"), PIECES_LIES.values(), ids=PIECES_LIES.keys())
def test_an_impossible_piece_is_not_believed(
    chip: HttpChip, proxy: Proxy, tamper: Tamper, reason: str
) -> None:
    assert chip.now() > 0
    assert list(dict(chip.tell_layers(IMAGES, RECORD))) == list(RECORD)
    proxy.tamper("tell_layers", tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer.*{reason}"):
        list(chip.tell_layers(IMAGES, RECORD))


@pytest.mark.parametrize(
    ("name", "value"),
    [("tile_rows", 0), ("weight_code_max", "63"), ("observables", ["smell"]), ("time_step", 0.0)],
)
def test_a_chip_that_cannot_be_is_not_driven(
    proxy: Proxy, agent: Bench, name: str, value: object
) -> None:
    proxy.tamper("info", lie(lambda fields, _t: fields["info"].update({name: value})))
    with pytest.raises(ChipUnavailableError, match="'info'"), driven(proxy, agent):
        pass


def test_layers_are_written_in_one_call(chip: HttpChip, proxy: Proxy) -> None:
    asked = proxy.asked
    assert chip.write({"hidden": LAYER})["hidden"].cells == 0
    assert proxy.asked == asked + 1


def test_an_agent_of_before_is_asked_as_it_was(
    shared: tuple[Proxy, HttpChip], proxy: Proxy, agent: Bench
) -> None:
    del shared  # the network stands there
    proxy.tamper("info", lie(lambda fields, _t: fields.pop("verbs")))
    with driven(proxy, agent) as chip:
        asked = proxy.asked
        assert chip.write({"hidden": LAYER})["hidden"].cells == 0
        assert proxy.asked == asked + 2
        assert list(dict(chip.tell_layers(IMAGES, RECORD))) == list(RECORD)
        assert proxy.asked == asked + 3


def garbled(response: Response) -> Response:
    content = bytearray(response.body)
    content[-1] ^= 1
    return Response(bytes(content), 200, dict(response.headers))


def without_checksum(response: Response) -> Response:
    return Response(response.body, 200)


def of_a_stranger(_response: Response) -> Response:
    return Response("<h1>Bad gateway</h1>", 502)


def cut(response: Response) -> Response:
    content = bytes(response.body)

    async def half() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]

    return StreamingResponse(half(), 200, dict(response.headers))


DAMAGES = (garbled, without_checksum, of_a_stranger, cut)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_answer_is_asked_for_again_and_the_call_is_done_once(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    before = chip.now()
    expected = before + 12 * 5 * chip.info.time_step
    proxy.tamper("run", damage, times=2)
    asked = proxy.asked
    recording = chip.run(IMAGES, RECORD)
    assert proxy.asked == asked + 3
    assert recording.chip_time == pytest.approx(expected, rel=1e-12)
    assert chip.now() == recording.chip_time


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_agent_whose_answers_stay_damaged_is_given_up(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    proxy.tamper("run", damage)
    with pytest.raises(ChipUnavailableError, match="answers of its agent to 'run' break off"):
        chip.run(IMAGES, RECORD)


@pytest.mark.parametrize("damage", [garbled, of_a_stranger, cut])
def test_pieces_after_the_damage_are_asked_for_again(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    before = chip.now()
    proxy.tamper("tell_layers", damage, times=2)
    asked = proxy.asked
    told = list(chip.tell_layers(IMAGES, RECORD))
    assert [layer for layer, _ in told] == list(RECORD)
    assert proxy.asked == asked + 3
    assert chip.now() == pytest.approx(before + 12 * 5 * chip.info.time_step, rel=1e-12)
    proxy.tamper("tell_layers", damage)
    with pytest.raises(ChipUnavailableError, match="answers of its agent to 'tell_layers' break"):
        list(chip.tell_layers(IMAGES, RECORD))


def test_an_answer_does_not_go_on_with_another_story(chip: HttpChip, proxy: Proxy) -> None:
    proxy.tamper("tell_layers", cut, times=1)
    told = chip.tell_layers(IMAGES, RECORD)
    next(told)
    proxy.tamper("tell_layers", in_piece(0, put("spikes/hidden", lambda t: ~t)))
    with pytest.raises(ChipUnavailableError, match="begins with something else"):
        list(told)


def test_an_answer_that_nobody_wants_to_the_end_is_left(chip: HttpChip) -> None:
    told = chip.tell_layers(IMAGES, RECORD)
    next(told)
    told.close()
    before = chip.now()
    list(chip.tell_layers(IMAGES, RECORD))
    assert chip.now() > before


class Hesitant(SimulatedChip):
    """Goes on to the second layer when it may, and then does as it is told."""

    def __init__(self) -> None:
        super().__init__("bench-1", preset("pcm"), 7)
        self.may_go_on = threading.Event()
        self.breaks = False

    def tell_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        for number, told in enumerate(super().tell_layers(stimulus, record)):
            if number and not self.may_go_on.wait(10.0):
                raise ChipUnavailableError("bench-1", "nobody heard its first layer")
            if number and self.breaks:
                raise ChipUnavailableError("bench-1", "its supply broke down")
            yield told


def test_a_layer_is_heard_before_the_next_is_known(tmp_path: Path, placement: Placement) -> None:
    hesitant = Hesitant()
    with bench(tmp_path, hesitant) as agent, agent.drive() as chip:
        chip.place(placement)
        told = chip.tell_layers(IMAGES, RECORD)
        assert next(told)[0] == "hidden"
        hesitant.may_go_on.set()
        assert next(told)[0] == "readout"
        assert list(told) == []


def test_what_breaks_between_two_layers_reaches_the_job(
    tmp_path: Path, placement: Placement
) -> None:
    hesitant = Hesitant()
    hesitant.breaks = True
    hesitant.may_go_on.set()
    with bench(tmp_path, hesitant) as agent, agent.drive() as chip:
        chip.place(placement)
        told = chip.tell_layers(IMAGES, RECORD)
        assert next(told)[0] == "hidden"
        with pytest.raises(ChipUnavailableError, match="its supply broke down"):
            next(told)
        assert chip.now() >= 0


def in_chunks(response: Response) -> Response:
    """As an agent sends what it does not know the length of yet."""

    async def pieces() -> AsyncIterator[bytes]:
        for content in contents(response):
            yield framed(decode(content)).whole()

    return StreamingResponse(pieces(), 200)


async def late(response: Response) -> Response:
    await asyncio.sleep(60.0)
    return response


async def trickling(response: Response) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        for start in range(len(response.body)):
            yield bytes(response.body[start : start + 1])
            await asyncio.sleep(0.05)

    return StreamingResponse(drops(), 200, dict(response.headers))


@pytest.mark.parametrize("verb", ["run", "tell_layers"])
@pytest.mark.parametrize("delay", [late, trickling])
def test_an_answer_beyond_the_deadline_is_given_up(
    chip: HttpChip, proxy: Proxy, agent: Bench, delay: Tamper, verb: str
) -> None:
    assert chip.now() > 0  # the network stands there already
    with driven(proxy, agent, answer_s=2.0) as hurried:
        proxy.tamper(verb, delay)
        with pytest.raises(ChipUnavailableError, match=f"did not answer to '{verb}' in time"):
            list(hurried.tell_layers(IMAGES, RECORD)) if verb == "tell_layers" else hurried.run(
                IMAGES, RECORD
            )


def test_calls_share_one_connection(chip: HttpChip, proxy: Proxy) -> None:
    chip.now()
    lines = proxy.lines
    for _ in range(5):
        chip.now()
    assert proxy.lines == lines
    proxy.tamper("tell_layers", in_chunks)
    for _ in range(3):
        list(chip.tell_layers(IMAGES, RECORD))
    assert proxy.lines == lines
    proxy.tamper("now", cut, times=1)
    chip.now()
    assert proxy.lines == lines + 1


def test_an_agent_that_is_gone_is_given_up(tmp_path: Path) -> None:
    with bench(tmp_path, reach_s=0.2) as agent:
        chip = open_http_chip("bench-1", agent.address, 1)
    with pytest.raises(ChipUnavailableError, match="cannot be reached"):
        chip.now()
    chip.close()


def test_a_wrong_secret_is_told_as_such(agent: Bench) -> None:
    address = agent.address.model_copy(update={"secret": "another one"})
    with pytest.raises(ChipUnavailableError, match="refused: send the agent's secret"):
        open_http_chip("bench-1", address, 1)


def test_no_secret_is_shown_where_an_address_is(agent: Bench) -> None:
    assert agent.address.secret not in repr(agent.address)
