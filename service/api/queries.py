"""Query parameters: those that a route does not know are refused, for they would have no effect.

The check is a dependency of the whole application. No route can be without it.
"""

from collections.abc import Iterator

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from service.api.auth import needs_key
from service.request_errors import UnknownParameterError


async def refuse_unknown(request: Request) -> None:
    """Raise UnknownParameterError for a query parameter that the route does not take.

    A request without a key that needs one is not checked here: the route answers it with 401.
    """
    if not request.query_params or _asks_for_a_key(request):
        return
    known = set(_names(request.scope["route"].dependant))
    if unknown := sorted(set(request.query_params) - known):
        raise UnknownParameterError(unknown[0], sorted(known))


KNOWN_QUERIES = Depends(refuse_unknown)


def _asks_for_a_key(request: Request) -> bool:
    return needs_key(request.url.path) and getattr(request.state, "principal", None) is None


def _names(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters of a route and of what it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)
