"""Answers without an end are cut at a number of bytes and at a time that the driver sets."""

import socket
import struct
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import Observable, Stimulus
from ltl_core.errors import ChipUnavailableError
from service.bench.driver import answer_limits
from service.bench.driver.rpc_client import AgentAddress, RpcClient
from service.bench.protocol.messages import recording_message, run_request
from service.bench.protocol.wire import MalformedBodyError, Message, decode, encode
from service.db.agent_tables import Agent
from service.digests import CONTENT_DIGEST, content_digest
from service.jobs.attempts.describe import agent_settings, executor_config
from service.settings import Settings
from tests.agents import CIPHER
from tests.calls import IMAGES, RECORD, small_placement
from tests.hostile.hostile_agent import SECRET, Answer, fault_of, pretending

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MANY = 2**16


def sending(start: bytes, parts: Iterator[bytes], pause: float = 0.0) -> Answer:
    """Send `start`, and then one part after the other for as long as the driver listens."""

    def answer(opened: socket.socket, _: bytes) -> None:
        opened.sendall(start)
        for part in parts:
            opened.sendall(part)
            time.sleep(pause)

    return answer


ENDLESS: dict[str, Answer] = {
    "bytes": sending(OK + b"\r\n", repeat(b"x" * MANY)),
    "a length that is announced": sending(
        OK + b"Content-Length: 99999999999\r\n\r\n", repeat(b"x" * MANY)
    ),
    "chunks": sending(CHUNKED, repeat(b"10000\r\n" + b"x" * MANY + b"\r\n")),
    "extensions of chunks": sending(CHUNKED, repeat(b"1;" + b"x" * 1000 + b"\r\ny\r\n")),
    "trailers": sending(CHUNKED + b"0\r\n", repeat(b"a: b\r\n" * 1000)),
    "interim answers": sending(b"", repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
    "interim headers": sending(b"HTTP/1.1 100 Continue\r\n", repeat(b"a: b\r\n" * 1000)),
    "a status": sending(b"HTTP/1.1 200 ", repeat(b"x" * MANY)),
    "headers": sending(OK, repeat(b"a: b\r\n" * 1000)),
    "a refusal": sending(b"HTTP/1.1 500 Oops\r\n\r\n", repeat(b"x" * MANY)),
}


class Peak:
    """The most memory of this process since now, beyond what it has now, bytes.

    `ru_maxrss` holds the peak of all tests before, under which a new one does not show.
    """

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = self._read()

    def grown(self) -> int:
        return self._read() - self._before

    @staticmethod
    def _read() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_a_peak_is_seen_though_there_was_a_higher_one_before() -> None:
    before = Peak()
    bytearray(200 * 2**20)
    assert before.grown() >= 150 * 2**20
    after = Peak()
    bytearray(60 * 2**20)
    assert after.grown() >= 50 * 2**20


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_answer_without_end_is_cut_at_our_number_of_bytes(answer: Answer) -> None:
    began, peak = time.monotonic(), Peak()
    with pretending(answer) as url:
        found = fault_of(url, answer_s=60.0)
    assert isinstance(found, ChipUnavailableError)
    assert time.monotonic() - began < 10.0  # and not only at the time limit
    assert peak.grown() < 50 * 2**20


SLOW: dict[str, Answer] = {
    "a byte at a time": sending(OK + b"Content-Length: 10000\r\n\r\n", repeat(b"x"), 0.02),
    "a status": sending(b"HTTP/1.1 200 ", repeat(b"x"), 0.02),
    "headers": sending(OK, repeat(b"a"), 0.02),
    "interim answers": sending(b"", repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), 0.02),
    "chunks": sending(CHUNKED, repeat(b"1\r\nx\r\n"), 0.02),
    "nothing": sending(b"", iter([b""]), 30.0),
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW.keys())
def test_an_answer_that_drips_is_cut_at_our_time(answer: Answer) -> None:
    began = time.monotonic()
    with pretending(answer) as url:
        found = fault_of(url, answer_s=0.3)
    assert "did not answer to 'info' in time" in str(found)
    assert 0.3 <= time.monotonic() - began < 2.0


def test_frames_without_end_are_cut() -> None:
    body = encode(Message({"layer": "hidden"})).whole()
    head = struct.pack("<Q32s", len(body), content_digest(body).encode()[:32])
    large = struct.pack("<Q32s", 2**30, bytes(32))
    limit = answer_limits.of_recording(IMAGES, RECORD, small_placement().network)
    for frames in (repeat((head + body) * 100), repeat(large + b"x" * MANY)):
        with pretending(sending(OK + b"\r\n", frames)) as url:
            client = RpcClient("bench-1", AgentAddress(url=url, secret=SECRET), 1)
            with pytest.raises(ChipUnavailableError):
                list(client.stream("tell_layers", run_request(IMAGES, RECORD), limit))


def test_a_whole_answer_is_read_up_to_its_limit() -> None:
    """The control: as many bytes as the limit has are read, and one more is not."""
    exact = b"x" * answer_limits.NO_TENSORS.whole

    def opened(content: bytes) -> str:
        head = f"Content-Length: {len(content)}\r\n{CONTENT_DIGEST}: {content_digest(content)}\r\n"
        with pretending(sending(OK + head.encode() + b"\r\n", iter([content]))) as url:
            return str(fault_of(url))

    assert "no safetensors block" in opened(exact)
    assert f"more than {len(exact)} bytes" in opened(exact + b"x")


def test_text_that_would_take_much_memory_is_not_read() -> None:
    deep = b"[]," * 2**20
    block = (len(deep)).to_bytes(8, "little") + deep
    with pytest.raises(MalformedBodyError, match="bytes of text"):
        decode(block, answer_limits.NO_TENSORS.text)


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("asked", list(Observable))
def test_an_honest_answer_is_within_its_limit(batch: int, asked: Observable) -> None:
    chip, placement = make_chip("bench-1", preset("pcm"), 7), small_placement()
    chip.place(placement)
    stimulus = Stimulus(torch.rand(batch, 6), 50)
    record = {"hidden": asked, "readout": Observable.MEMBRANE}
    size = encode(recording_message(chip.run(stimulus, record))).size
    limit = answer_limits.of_recording(stimulus, record, placement.network)
    assert size <= limit.whole
    assert limit.tensors <= 16 * 50 * batch * 7 + 1000  # a few times the tensors themselves


def test_the_limits_that_an_agent_asks_for_are_held_within_ours(tmp_path: Path) -> None:
    config = executor_config(Settings(data_dir=tmp_path))

    def granted(**asked: float) -> tuple[float, float]:
        about = {"url": "http://10.1.2.3:8770", "encrypted_secret": CIPHER.encrypt(SECRET)}
        agent = Agent(**about, limits=asked, signed=True)
        address = AgentAddress.model_validate(agent_settings(agent, config, CIPHER))
        return address.answer_s, address.reach_s

    assert granted(answer_s=86_400.0, reach_s=86_400.0) == (600.0, 600.0)
    assert granted(answer_s=12.0, reach_s=40.0) == (12.0, 40.0)
    assert granted(reach_s=0.1)[1] == 25.0  # until its silence is noticed
