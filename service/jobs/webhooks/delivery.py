"""One attempt to deliver a message: bounded in time and bytes, to an address that was checked."""

import time
from typing import NamedTuple
from urllib.parse import urlsplit

from service.bench.driver.bounded_reader import AnswerTimeoutError, AnswerTooLongError
from service.bench.driver.connection import Connection, PostRequest, UnreachableError
from service.bench.protocol.errors import BrokenConnectionError
from service.jobs.webhooks.message import Message, signed_headers
from service.networks import PRIVATE, AgentNetworks
from service.settings import Settings

DELIVERY_S = 10.0  # s for the whole attempt
_ANSWER_MAX = 64 * 1024  # bytes; nothing of them is used but the status
_SUCCESS, _REDIRECT = range(200, 300), range(300, 400)
_GONE = 410
_TRANSIENT = frozenset({408, 425, 429})


class Outcome(NamedTuple):
    """What came of an attempt."""

    error: str | None = None  # None: it was delivered
    refused: bool = False  # whether the receiver does not want this message
    gone: bool = False  # whether it wants no message any more


def webhook_networks(settings: Settings) -> AgentNetworks:
    """Return the networks in which receivers may be called: those of agents, unless set apart."""
    chosen = settings.webhook_networks
    if chosen is None:
        agents = settings.agent_networks
        return AgentNetworks(PRIVATE if agents is None else agents, settings.port, "webhook")
    return AgentNetworks(chosen, settings.port, "webhook")


def deliver(url: str, secret: str, message: Message, networks: AgentNetworks) -> Outcome:
    """Send the message once. No redirect is followed, and nothing that is answered is quoted."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = signed_headers(message, secret, int(time.time()))
    deadline = time.monotonic() + DELIVERY_S
    connection = Connection(f"{parts.scheme}://{parts.netloc}", networks)
    try:
        request = PostRequest(path, message.body, headers, deadline, _ANSWER_MAX)
        return _outcome(connection.post(request).status)
    except UnreachableError as error:
        return Outcome(f"it cannot be reached ({error})")
    except AnswerTimeoutError:
        return Outcome(f"it did not answer within {DELIVERY_S:g} s")
    except AnswerTooLongError:
        return Outcome(f"its answer has more than {_ANSWER_MAX} bytes")
    except BrokenConnectionError as error:
        return Outcome(f"the connection broke ({error})")
    finally:
        connection.close()


def _outcome(status: int) -> Outcome:
    if status in _SUCCESS:
        return Outcome()
    if status in _REDIRECT:
        return Outcome(f"it answered with status {status}; redirects are not followed")
    refused = 400 <= status < 500 and status not in _TRANSIENT
    return Outcome(f"it answered with status {status}", refused, gone=status == _GONE)
