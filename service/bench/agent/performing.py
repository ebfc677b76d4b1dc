"""One call of a chip, from the bytes that came to the bytes that go."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import structlog
import torch

from ltl_core.chip import ChipBackend
from ltl_core.errors import CalibrationError, ChipUnavailableError, LeaseLostError
from service.bench.protocol.faults import fault_to_json
from service.bench.protocol.frames import encode_frame
from service.bench.protocol.verbs import VERBS
from service.bench.protocol.wire import Body, MalformedBodyError, Message, decode, encode

OK, FAILED, _REFUSED = 200, 500, 422
_STATUS = {LeaseLostError: 409, ChipUnavailableError: 503, MalformedBodyError: 400}


class CallAnswer(NamedTuple):
    """200 with a message, or the error in JSON."""

    status: int
    body: Body


Emit = Callable[[Body], None]


def ignore(_piece: Body) -> None:
    """Waits for it."""


def perform(chip: ChipBackend, verb: str, content: bytes, emit: Emit = ignore) -> CallAnswer:
    """Ask the chip; what it raises is an answer too.

    Of an answer in pieces each is told at once, and the answer holds them all.
    """
    with torch.no_grad():
        try:
            found = VERBS[verb].perform(chip, decode(content))
            whole = encode(found) if isinstance(found, Message) else _in_pieces(found, emit)
            return CallAnswer(OK, whole)
        except CalibrationError as error:
            return fault(error)
        except Exception as error:  # a driver of silicon may raise anything; the job is told
            trace = "".join(traceback.format_exception(error))
            structlog.get_logger(__name__).error("a call failed", verb=verb, trace=trace)
            detail = f"{verb} failed in the chip's agent: {error!r}"
            return CallAnswer(FAILED, _json({"error": None, "detail": detail}))


def _in_pieces(messages: Iterator[Message], emit: Emit) -> Body:
    parts: list[memoryview] = []
    for message in messages:
        piece = encode_frame(message)
        parts += piece.parts
        emit(piece)
    return Body(tuple(parts))


def fault(error: CalibrationError) -> CallAnswer:
    """An error of the port."""
    found = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    return CallAnswer(next(found, _REFUSED), _json(fault_to_json(error)))


def _json(content: Mapping[str, object]) -> Body:
    return Body((memoryview(json.dumps(content).encode()),))
