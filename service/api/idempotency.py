"""Idempotency-Key: a request that is sent twice creates one resource."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Generic, NamedTuple, TypeVar

from fastapi import Depends, Header, Response, status
from pydantic import BaseModel
from sqlalchemy.orm import Session

from service.api.auth import PrincipalDep
from service.api.context import Responses
from service.api.document import REQUIRED
from service.db import locks
from service.db.access_tables import IdempotencyKey
from service.db.repositories.idempotency import IdempotencyRepository
from service.digests import sha256_hex
from service.errors import ConflictError
from service.request_errors import IdempotencyKeyMissingError, IdempotencyMismatchError

_TAKEN = "Another request with the same Idempotency-Key is being answered; try again shortly."
_DESCRIPTION = "the same request with the same key returns what the first one made"
KeyHeader = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, description=_DESCRIPTION),
]
NeededKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description=_DESCRIPTION,
        json_schema_extra={REQUIRED: True},
    ),
]


ViewMade = TypeVar("ViewMade", bound=BaseModel)


class Made(NamedTuple, Generic[ViewMade]):
    """A resource that a request made, or that an earlier request made under the same key."""

    view: ViewMade
    earlier: bool  # whether an earlier request made it


class Once(NamedTuple):
    """The Idempotency-Key of a request, and the API key that sent it: its keys are its own."""

    key: str | None
    owner: str


async def _once(principal: PrincipalDep, key: KeyHeader = None) -> Once:
    return Once(key, principal.key_id)


async def _once_at_most(principal: PrincipalDep, key: NeededKeyHeader = None) -> Once:
    if key is None:
        raise IdempotencyKeyMissingError
    return Once(key, principal.key_id)


def made_earlier(view: type[BaseModel]) -> Responses:
    """Describe the answer to a request that was sent before, for the OpenAPI document."""
    return {200: {"model": view, "description": "The same request made it earlier"}}


def answer_made(response: Response, location: str, *, earlier: bool) -> None:
    """Say where the resource is, and whether an earlier request made it."""
    response.headers["Location"] = location
    if earlier:
        response.status_code = status.HTTP_200_OK


OnceDep = Annotated[Once, Depends(_once)]
OnceAtMostDep = Annotated[Once, Depends(_once_at_most)]  # for jobs: without a key it is refused


class IdempotentRequest:
    """One request under its Idempotency-Key. Without a key every request counts as new."""

    def __init__(self, session: Session, route: str, once: Once, body: BaseModel | str) -> None:
        """Lock the key until the transaction of `session` ends: a second request waits."""
        self._route, self._key = f"{route} of {once.owner}", once.key
        if self._key is not None:
            locks.hold(session, _lock_name(self._route, self._key))
        self._keys = IdempotencyRepository(session)
        text = body if isinstance(body, str) else body.model_dump_json()
        self._body_sha256 = sha256_hex(text.encode())

    def earlier_result(self) -> str | None:
        """Id of the resource that an earlier request under this key created; None if there is none.

        Raises IdempotencyMismatchError if the earlier request had another body.
        """
        found = self._keys.find(self._key, self._route) if self._key is not None else None
        if found is None:
            return None
        if found.body_sha256 != self._body_sha256:
            raise IdempotencyMismatchError(found.key)
        return found.resource_id

    def remember(self, resource_id: str, now: datetime) -> None:
        """Store which resource this request created, in the transaction that creates it.

        Raises ConflictError if another request has just taken the key.
        """
        if self._key is None:
            return
        row = IdempotencyKey(
            key=self._key,
            route=self._route,
            body_sha256=self._body_sha256,
            resource_id=resource_id,
            created_at=now,
        )
        if not self._keys.add(row):
            raise ConflictError(_TAKEN)


class IdempotentRequests:
    """Requests of one route that come together, each under its Idempotency-Key."""

    def __init__(
        self, session: Session, route: str, requests: Sequence[tuple[Once, BaseModel]]
    ) -> None:
        """Lock all keys until the transaction of `session` ends: a second request waits."""
        routes = [f"{route} of {once.owner}" for once, _ in requests]
        given = [(once.key or "", one) for (once, _), one in zip(requests, routes, strict=True)]
        locks.hold_all(session, (_lock_name(one, key) for key, one in given))
        self._given = given
        self._digests = [sha256_hex(body.model_dump_json().encode()) for _, body in requests]
        self._repository = IdempotencyRepository(session)
        self._earlier = self._repository.find_all(set(given))
        # Places of requests whose key an earlier request sent, and of those whose key another one
        # that came together with them sends too.
        self.known = [place for place, key in enumerate(given) if key in self._earlier]
        self.repeated = [
            place
            for place, key in enumerate(given)
            if key not in self._earlier and key in given[:place]
        ]

    def earlier_result(self, place: int) -> str:
        """Id of the resource that an earlier request created under the key of the one at `place`.

        Raises IdempotencyMismatchError if the earlier request had another body.
        """
        found = self._earlier[self._given[place]]
        if found.body_sha256 != self._digests[place]:
            raise IdempotencyMismatchError(found.key)
        return found.resource_id

    def remember(self, made: Mapping[int, str], now: datetime) -> None:
        """Store which resource the request at each place created.

        Raises ConflictError if another request has just taken a key.
        """
        rows = [
            {
                "key": self._given[place][0],
                "route": self._given[place][1],
                "body_sha256": self._digests[place],
                "resource_id": resource_id,
                "created_at": now,
            }
            for place, resource_id in made.items()
        ]
        if rows and not self._repository.add_all(rows):
            raise ConflictError(_TAKEN)


def _lock_name(route: str, key: str) -> str:
    return f"once {route} {key}"
