"""What a foreign server answers in an agent's place is never quoted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import Response

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip_info import info_to_json
from ltl_core.errors import ChipUnavailableError, LeaseLostError
from service.bench.driver.answers import read_info
from service.bench.driver.http_chip import HttpChip
from service.bench.protocol.frames import encode_frame
from service.bench.protocol.proof import ANSWER_PROOF, prove_answer
from service.bench.protocol.wire import MalformedBodyError, Message, decode, encode
from service.digests import CONTENT_DIGEST, content_digest
from service.errors import AgentUnreachableError
from tests.agents import serve_agent
from tests.calls import CODES, IMAGES, LAYER, RECORD, small_placement
from tests.hostile.hostile_agent import (
    SECRET,
    fault_of,
    http_answer,
    pretending,
    refusal,
    saying,
)
from tests.proxies import Proxy, contents, drive_through

MARKER = "TOP-SECRET"
UNKNOWN = refusal("500 Oops", None, MARKER)
FOREIGN: dict[str, bytes] = {
    "another protocol": f"SSH-2.0-{MARKER}\r\n".encode(),
    "another version": f"HTTP/9.{MARKER} 200 OK\r\n\r\n".encode(),
    "a status of words": f"HTTP/1.1 {MARKER}\r\n\r\n".encode(),
    "a status with words": http_answer(f"500 {MARKER}", MARKER.encode()),
    "a header": http_answer("500 Oops", b"{}", f"Server: {MARKER}", f"{MARKER}: 1"),
    "a header without a name": f"HTTP/1.1 200 OK\r\n{MARKER}\r\n\r\n".encode(),
    "a chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MARKER}\r\n".encode(),
    "a page": http_answer("502 Bad gateway", f"<h1>{MARKER}</h1>".encode()),
    "a page without a checksum": f"HTTP/1.1 502 Bad gateway\r\n\r\n<h1>{MARKER}</h1>".encode(),
    "an interim answer": f"HTTP/1.1 100 {MARKER}\r\n\r\n".encode() + UNKNOWN,
    "a refusal": UNKNOWN,
    "a wrong secret": refusal("401 Unauthorized", None, MARKER),
    "a chip that does not answer": refusal("503 x", "ChipUnavailableError", MARKER, reason=MARKER),
    "a code out of range": refusal("422 x", "CodeRangeError", MARKER, layer=MARKER, lowest=MARKER),
    "a lease": refusal("409 x", "LeaseLostError", MARKER, chip_id=MARKER, token=MARKER),
    "a nested detail": refusal("500 x", MARKER, {"detail": MARKER}),  # type: ignore[arg-type]
    "deep JSON": http_answer("500 x", b"[" * 50_000),
    "no block": http_answer("200 OK", MARKER.encode() * 10),
    "a block of another schema": http_answer(
        "200 OK", (len(MARKER) + 6).to_bytes(8, "little") + f'{{"{MARKER}":1}}'.encode()
    ),
}


@pytest.mark.parametrize("answer", FOREIGN.values(), ids=FOREIGN.keys())
def test_no_word_of_a_foreign_server_is_quoted(answer: bytes) -> None:
    with pretending(saying(answer)) as url:
        found = fault_of(url)
    assert isinstance(found, ChipUnavailableError | LeaseLostError)
    assert MARKER not in f"{found} {vars(found)}"


def test_a_server_that_does_not_know_the_secret_is_not_the_agent() -> None:
    for answer in (UNKNOWN, FOREIGN["a lease"], http_answer("200 OK", encode(Message()).whole())):
        with pretending(saying(answer)) as url:
            found = fault_of(url, signed=True)
        assert isinstance(found, AgentUnreachableError)
        assert "a server that is not its agent answered (status" in str(found)


def test_an_agent_that_proves_itself_is_quoted_in_one_line() -> None:
    """The control: with the proof, the same refusal is the agent's own."""

    def answer(opened: Any, call: bytes) -> None:
        request_id = call.split(b"Request-Id: ")[1].split(b"\r\n")[0].decode()
        proof = f"{ANSWER_PROOF}: {prove_answer(SECRET, request_id)}"
        detail = f'{{"error": null, "detail": "{MARKER}\\n{"x" * 1000}"}}'.encode()
        opened.sendall(http_answer("500 Oops", detail, proof))

    with pretending(answer) as url:
        found = str(fault_of(url, signed=True))
    assert f"its agent did not do 'info': {MARKER} xxx" in found
    assert len(found) < 500


def test_a_signed_call_tells_no_server_the_secret() -> None:
    calls: list[bytes] = []
    for signed in (True, False):
        with pretending(lambda _, call: calls.append(call)) as url:
            fault_of(url, signed=signed)
    assert [SECRET.encode() in call for call in calls] == [False] * 4 + [True] * 4


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, HttpChip]]:
    folder: Path = tmp_path_factory.mktemp("agent")
    with serve_agent(folder, answer_s=10.0, reach_s=1.0) as agent:
        proxy = Proxy(agent)
        with drive_through(proxy) as chip:
            chip.place(small_placement())
            chip.program("hidden", CODES)
            yield proxy, chip


def marked(message: Message) -> Iterator[Message]:
    """Yield the message with the marker in each of its places, in turn."""
    fields, tensors = dict(message.fields), dict(message.tensors)
    for name in fields:
        for value in (MARKER, [MARKER], {MARKER: MARKER}):
            yield Message(fields | {name: value}, tensors)
    for name in tensors:
        rest = {other: tensors[other] for other in tensors if other != name}
        yield Message(fields, {**rest, MARKER: tensors[name]})
        yield Message(fields, {**rest, MARKER: tensors[name] * torch.nan})
    for inner in [name for name, value in fields.items() if isinstance(value, dict)]:
        for name in fields[inner]:
            yield Message(fields | {inner: fields[inner] | {name: MARKER}}, tensors)
            yield Message(fields | {inner: fields[inner] | {name: {MARKER: 1}}}, tensors)
    yield Message(fields | {MARKER: MARKER}, {**tensors, MARKER: torch.zeros(3)})


def tampered(messages: Sequence[Message], *, framed: bool) -> Callable[[Response], Response]:
    """Replace the answer by these messages."""
    bodies = (encode_frame(one) if framed else encode(one) for one in messages)
    content = b"".join(body.whole() for body in bodies)
    return lambda _: Response(content, 200, {CONTENT_DIGEST: content_digest(content)})


ASKED: dict[str, Callable[[HttpChip], object]] = {
    "program": lambda chip: chip.program("hidden", CODES),
    "write": lambda chip: chip.write({"hidden": LAYER}),
    "run": lambda chip: chip.run(IMAGES, RECORD),
    "tell_layers": lambda chip: list(chip.iter_layers(IMAGES, RECORD)),
    "probe": lambda chip: chip.probe(),
    "now": lambda chip: chip.now(),
    "tuning": lambda chip: chip.tuning("hidden"),
    "convert": lambda chip: chip.convert("hidden", 0.5, 2),
    "excite": lambda chip: chip.excite("hidden", torch.zeros(12, 4), 2),
    "clipped": lambda chip: chip.clipped(IMAGES),
    "trim": lambda chip: chip.trim("hidden", LAYER.threshold, LAYER.bias),
}


@pytest.mark.parametrize("verb", ASKED)
def test_no_word_of_an_answer_that_is_wrong_is_quoted(
    proxied: tuple[Proxy, HttpChip], verb: str
) -> None:
    proxy, chip = proxied
    framed = verb == "tell_layers"
    seen: list[Message] = []
    told: list[str] = []

    def keep(response: Response) -> Response:
        raw = list(contents(response)) if framed else [bytes(response.body)]
        seen.extend(map(decode, raw))
        return response

    proxy.tamper(verb, keep, times=1)
    ASKED[verb](chip)
    for position, message in enumerate(seen[:]):
        for wrong in marked(message):
            changed = [*seen[:position], wrong, *seen[position + 1 :]]
            proxy.tamper(verb, tampered(changed, framed=framed))
            try:
                ASKED[verb](chip)
            except ChipUnavailableError as error:
                told.append(str(error))
    proxy.pass_all_on()
    assert told
    assert not [error for error in told if MARKER in error]


def test_no_word_of_a_chip_that_cannot_be_is_quoted() -> None:
    message = Message({"info": info_to_json(make_chip("bench-1", preset("pcm"), 7).info)})
    assert read_info(message, "bench-1").chip_id == "bench-1"
    told = []
    for wrong in marked(message):
        try:
            read_info(wrong, "bench-1")
        except MalformedBodyError as error:
            told.append(str(error))
    assert len(told) > 20
    assert not [error for error in told if MARKER in error]
