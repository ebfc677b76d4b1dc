"""Proofs that both ends of a call know the agent's secret, which does not travel itself.

A server that is not the agent learns nothing that it could use elsewhere, and cannot answer in the
agent's place. A network that others can read needs TLS all the same.
"""

import hashlib
import hmac
from typing import NamedTuple

ANSWER_PROOF = "Agent-Proof"  # header of an answer
SCHEME = "Tandemcal-Call"  # of the header `Authorization` of a signed call


class CallHead(NamedTuple):
    """What a call says of itself before its content."""

    verb: str
    token: str  # of the caller's lease
    request_id: str
    digest: str  # the `Content-Digest` of the content


def sign_call(secret: str, head: CallHead) -> str:
    """Return the value of the header `Authorization` for this call."""
    return f"{SCHEME} {_signature(secret, 'call', *head)}"


def prove_answer(secret: str, request_id: str) -> str:
    """Return the value of the header `Agent-Proof` for any answer to this call."""
    return _signature(secret, "answer", request_id)


def is_proven(secret: str, request_id: str, proof: str) -> bool:
    """Tell whether the answer to this call comes from a server that knows the secret."""
    return hmac.compare_digest(prove_answer(secret, request_id).encode(), proof.encode())


def may_call(secret: str, head: CallHead, authorization: str) -> bool:
    """Tell whether the caller knows the secret: it signed the call, or it sent the secret.

    Drivers of earlier versions send it.
    """
    scheme, _, given = authorization.partition(" ")
    expected = secret if scheme.lower() == "bearer" else _signature(secret, "call", *head)
    known = hmac.compare_digest(given.strip().encode(), expected.encode())
    return known and scheme.lower() in ("bearer", SCHEME.lower())


def _signature(secret: str, *parts: str) -> str:
    """Return the HMAC of the parts; the length before each keeps them apart."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
