"""The OpenAPI document: what FastAPI derives from the routes, and what it cannot know of them."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.auth import READ
from service.api.conditional import HEADER_MAX
from service.api.context import Responses
from service.api.errors import MEDIA_TYPE
from service.api.examples import add_examples
from service.api.fields.describe import describe_fields, describe_parameters
from service.api.threads import ServiceRouter
from service.jobs.kinds.registry import JobKinds
from service.schemas.resources import Problem, TeacherRequest

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
# Every route can give them: a wrong key, too many requests, a database that does not answer.
PROBLEMS: Responses = {
    "4XX": {
        "description": "A problem (RFC 9457): `detail` says what is wrong and what to do",
        "content": _PROBLEM,
    },
    "5XX": {
        "description": "A problem of the service: it is not ready, its disk is full, or it failed",
        "content": _PROBLEM,
    },
}
_IF_NONE_MATCH: Json = {
    "name": "if-none-match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": HEADER_MAX},
}
# FastAPI calls a parameter required only where it refuses the request itself, in its own words.
REQUIRED = "x-required"


def document_router(app: FastAPI, kinds: JobKinds) -> ServiceRouter:
    """Return the router with the route that answers with the OpenAPI document."""
    router = ServiceRouter()

    @router.get("/v1/openapi.json", dependencies=[READ], response_class=JSONResponse)
    def describe() -> JSONResponse:
        """Return the OpenAPI document of the API."""
        return JSONResponse(document(app, kinds))

    return router


def document(app: FastAPI, kinds: JobKinds) -> Json:
    """Return the OpenAPI document of the application."""
    found = deepcopy(app.openapi())  # which FastAPI keeps
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    _add_conditions(found["paths"])
    for given in _parameters(found):
        _correct(given)
    describe_parameters(_parameters(found))
    for model in (Problem, TeacherRequest):  # the body of a route that streams it
        schemas.update(_schemas(model))
    view = schemas["JobView"]["properties"]
    view["kind"] = {"$ref": _REF.format(model="JobKind")}
    view["settings"] = _settings(kinds, schemas)
    policy = schemas["PolicyRequest"]["properties"]["settings"]
    schemas["PolicyView"]["properties"]["settings"] = {"$ref": policy["$ref"]}
    describe_fields(schemas)
    add_examples(schemas)
    return found


def operation_id(route: APIRoute) -> str:
    """Return a short name of a route's operation, such as `jobs_submit`, for generated clients."""
    if not route.tags:
        return route.name
    group = str(route.tags[0]).replace(" ", "_")
    verb = route.name
    for noun in (group, group.removesuffix("s")):
        verb = verb.removesuffix(f"_of_{noun}").removesuffix(f"_{noun}")
    return f"{group}_{verb}"


def _parameters(found: Mapping[str, Any]) -> Iterator[Json]:
    for operations in found["paths"].values():
        for operation in operations.values():
            yield from operation.get("parameters", ())


def _correct(given: Json) -> None:
    """Correct a parameter: one that is not sent is absent, and not null."""
    schema = given["schema"]
    given["required"] = given["required"] or schema.pop(REQUIRED, False)
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema.update(choices[0])


def _add_conditions(paths: Mapping[str, Json]) -> None:
    """Describe the header `If-None-Match`, which every GET of the API takes, and its answer."""
    for path, operations in paths.items():
        reading = operations.get("get")
        if not path.startswith("/v1/") or reading is None or "text/event-stream" in str(reading):
            continue
        given = reading.setdefault("parameters", [])
        if not any(one["name"] == _IF_NONE_MATCH["name"] for one in given):
            given.append(deepcopy(_IF_NONE_MATCH))
        reading["responses"].setdefault("304", {"description": "It has not changed"})


def _settings(kinds: JobKinds, schemas: Json) -> Json:
    """Describe the settings of jobs, whose models the registry of kinds knows."""
    models = kinds.settings()
    for model in models:
        schemas.update(_schemas(model))
    none: Json = {
        "type": "object",
        "maxProperties": 0,
        "description": "Of a job whose kind has no settings",
    }
    choices = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    return {
        "anyOf": [*choices, none],
        "description": "As accepted, with the defaults filled in. Jobs that an earlier release "
        "accepted may have other fields.",
    }


def _schemas(model: type[BaseModel]) -> Json:
    """Return the schemas of a model and of all that it consists of, by name."""
    _, found = models_json_schema([(model, "validation")], ref_template=_REF)
    return dict(found["$defs"])
