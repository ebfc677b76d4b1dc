"""Why a call was not done: the error that an agent answered, under the chip id of the service.

Only a server that has proven to be the agent is quoted. What any other server answers is told as a
sentence of ours and a status.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ltl_core.errors import CalibrationError, ChipUnavailableError, LeaseLostError
from service.bench.protocol.errors import BrokenConnectionError
from service.bench.protocol.faults import fault_from_json
from service.digests import CONTENT_DIGEST
from service.logs import printable

_UNAUTHORIZED = 401


class NotItsAgentError(Exception):
    """The server at the agent's address is not the agent, or does not accept the secret."""


class Refusal(NamedTuple):
    """A refused call, and whether the answer comes from the agent for sure."""

    verb: str
    status: int
    content: bytes  # JSON, as `fault_to_json` writes it
    proven: bool


def error_of(refusal: Refusal, chip_id: str, token: int) -> Exception:
    """Return the error of the port or of the connection that a refusal stands for."""
    if refusal.status == _UNAUTHORIZED:
        return NotItsAgentError(
            "it refused: it does not accept the secret that is known here (status 401)"
        )
    payload = _payload(refusal.content)
    if payload.get("error") == CONTENT_DIGEST:
        return BrokenConnectionError(f"a call arrived damaged (status {refusal.status})")
    fault = fault_from_json(payload)
    if isinstance(fault, LeaseLostError):
        return LeaseLostError(chip_id, token)
    detail = payload.get("detail")
    if not refusal.proven or not isinstance(detail, str):
        unknown = f"status {refusal.status} comes without a reason that is the agent's for sure"
        return ChipUnavailableError(chip_id, f"its agent did not do '{refusal.verb}': {unknown}")
    return _quoted(refusal.verb, fault, detail, chip_id)


def _payload(content: bytes) -> Mapping[str, Any]:
    """Return the JSON object of a refusal; it is empty if there is none."""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _quoted(verb: str, fault: CalibrationError | None, detail: str, chip_id: str) -> Exception:
    """Return the error with what the agent says of it, shortened and on one line."""
    if isinstance(fault, ChipUnavailableError):
        reason = getattr(fault, "reason", None)
        return ChipUnavailableError(chip_id, printable(str(reason or detail)))
    if fault is None:
        reason = f"its agent did not do '{verb}': {printable(detail).rstrip('.')}"
        return ChipUnavailableError(chip_id, reason)
    fault.args = (printable(detail),)
    return fault
