"""What schemathesis cannot know of our requests: blocks of tensors, digests, addresses, waits."""

from typing import Any
from urllib.parse import urlsplit

import safetensors.numpy
import schemathesis
from hypothesis import strategies

from service.digests import CONTENT_DIGEST, content_digest
from service.schemas.base import SAFETENSORS
from tests.world import small_samples, teacher_block

_WAIT_S = 0.05  # a request that waits for a job waits no longer
_ELSEWHERE = "http://127.0.0.1:9000"
_SAMPLES = safetensors.numpy.save(small_samples())
_BLOCKS = (
    teacher_block(),
    teacher_block(name="\u202egnikcart"),
    teacher_block()[:-4],
    teacher_block(network={"input_shape": [1], "layers": []}),
    _SAMPLES,
    _SAMPLES[:8] + b"\0" + _SAMPLES[9:],
    b"\xff" * 8 + b"{}",
    b"",
)


def register() -> None:
    """Teach schemathesis to send blocks, and requests that reach what lies behind the checks."""
    blocks = strategies.sampled_from(_BLOCKS) | strategies.binary(max_size=64)
    schemathesis.openapi.media_type(SAFETENSORS, blocks)
    schemathesis.serializer(SAFETENSORS)(_serialize)
    schemathesis.hook("before_call")(before_call)


def _serialize(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: dict[str, Any]) -> None:
    """Correct a request before it is sent, so that it gets further than to the first check."""
    announced = CONTENT_DIGEST in case.headers
    if announced and isinstance(case.body, bytes) and len(case.body) % 8:  # else it is wrong
        case.headers[CONTENT_DIGEST] = content_digest(case.body)
    wait = _number((case.query or {}).get("wait"))
    if wait is not None and _WAIT_S < wait <= 60:  # else it is refused
        case.query["wait"] = _WAIT_S
    if isinstance(case.body, dict) and isinstance(url := case.body.get("url"), str):
        case.body["url"] = url if _is_here(url) else _ELSEWHERE


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_here(url: str) -> bool:
    """Return whether no resolver has to be asked for the host of the URL."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return True  # it is refused before
    return not host or host.replace(".", "").isdigit() or ":" in host
