"""Runs schemathesis over the whole OpenAPI document, in this process, with one key."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import schemathesis
from schemathesis.engine import events, from_schema

from service.states import Scope
from tests.fuzz.lab import FuzzedLab

# Requests that fit their schema and may still be refused: they name what is not there, or one field
# does not fit another. Every other route has to accept what its schema allows.
_CHECKED_FURTHER = (
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs/{job_id}/retry"),
    ("POST", "/v1/chips"),
    ("POST", "/v1/keys"),
    ("PUT", "/v1/chips/{chip_id}/policy"),
    ("POST", "/v1/agents"),
    ("POST", "/v1/teachers"),
    ("PUT", "/v1/target-sets/{target_set_id}/chunks/{index}"),
    ("POST", "/v1/target-sets/{target_set_id}/complete"),
)
_STREAM = "/v1/jobs/{job_id}/events"


class Extent(NamedTuple):
    """How many requests are made."""

    examples: int  # of each operation, and of chains of requests
    coverage: bool  # whether every bound of every field is tried
    chains: bool  # whether requests use what earlier ones answered
    seed: int | None  # None: the same requests every time


class Failure(NamedTuple):
    """A check that an answer failed."""

    check: str
    operation: str
    title: str
    message: str
    request: str  # as a call of curl
    answer: str


class Report(NamedTuple):
    """What a campaign found."""

    cases: int
    operations: frozenset[str]  # those that were called
    statuses: Counter[int]
    failures: list[Failure]  # one of each kind
    errors: list[str]  # of schemathesis itself

    def describe(self) -> str:
        """Put failures and errors into words."""
        lines = [
            f"{one.check} {one.operation}: {one.message}\n{one.request}" for one in self.failures
        ]
        return "\n\n".join([*lines, *self.errors])


def run(lab: FuzzedLab, scopes: Sequence[Scope], extent: Extent) -> Report:
    """Send requests that fit the document, and some that do not, with a new key of these scopes."""
    config = schemathesis.Config.from_dict(_settings(lab, lab.make_key(scopes), extent))
    schema = schemathesis.openapi.from_dict(lab.document, config=config)
    schema.app = lab.app
    report = Report(0, frozenset(), Counter(), [], [])
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            report = _adding(report, event.recorder)
        elif isinstance(event, events.NonFatalError):
            report.errors.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return report


def _adding(report: Report, recorder: Any) -> Report:
    cases = {name: node.value for name, node in recorder.cases.items()}
    known = {one[:3] for one in report.failures}
    for name, interaction in recorder.interactions.items():
        if interaction.response is not None:
            report.statuses[int(interaction.response.status_code)] += 1
        for checked in recorder.checks.get(name, ()):
            status = None if interaction.response is None else interaction.response.status_code
            if checked.failure_info is None or _is_right(checked.name, cases[name], status):
                continue
            failure = _failure(checked, cases[name].operation.label, interaction)
            if failure[:3] not in known:
                known.add(failure[:3])
                report.failures.append(failure)
    called = {case.operation.label for case in cases.values()}
    return report._replace(
        cases=report.cases + len(recorder.interactions), operations=report.operations | called
    )


def _is_right(check: str, case: schemathesis.Case, status: int | None) -> bool:
    """Return whether a check asks for what the service does not promise.

    A list takes the cursors that it made, and no other text. A condition need not be true. A body
    may hold a number as text.
    """
    if check == "positive_data_acceptance":
        condition = {304: "if-none-match", 412: "if-match"}.get(status or 0)
        return "cursor" in (case.query or {}) or (
            condition is not None and condition in {name.lower() for name in case.headers}
        )
    return check == "negative_data_rejection" and any(map(_reads_as_number, _values(case.body)))


def _values(body: Any) -> Iterator[Any]:
    if isinstance(body, dict | list):
        for value in body.values() if isinstance(body, dict) else body:
            yield from _values(value)
    else:
        yield body


def _reads_as_number(value: Any) -> bool:
    """Return whether a text or a bool is read as a number or a bool."""
    if not isinstance(value, str):
        return isinstance(value, bool)
    try:
        float(value)
    except ValueError:
        return value.lower() in ("true", "false", "on", "off", "yes", "no", "t", "f", "y", "n")
    return True


def _failure(checked: Any, operation: str, interaction: Any) -> Failure:
    found, answer = checked.failure_info.failure, interaction.response
    return Failure(
        checked.name,
        operation,
        found.title,
        found.message,
        checked.failure_info.code_sample,
        "" if answer is None else f"{answer.status_code} {answer.content[:500]!r}",
    )


def _settings(lab: FuzzedLab, key: str, extent: Extent) -> dict[str, Any]:
    generation: dict[str, Any] = {
        "max-examples": extent.examples,
        "deterministic": extent.seed is None,
        "database": "none",
        "no-shrink": True,
    }
    settings: dict[str, Any] = {
        "auth": {"openapi": {"HTTPBearer": {"bearer": key}}},
        "base-url": "http://testserver",
        "request-timeout": 20.0,
        "continue-on-failure": True,
        "generation": generation,
        "phases": {
            "coverage": {"enabled": extent.coverage},
            "stateful": {"enabled": extent.chains, "max-steps": 8},
        },
        "dictionaries": {name: {"values": values} for name, values in lab.ids.items()},
        "parameters": {
            f"path.{name}": {"dictionary": name, "probability": 0.6} for name in lab.ids
        },
        "operations": [*map(_accepting, _CHECKED_FURTHER), _STREAMING, *_LASTING],
    }
    return settings if extent.seed is None else settings | {"seed": extent.seed}


def _accepting(operation: tuple[str, str]) -> dict[str, Any]:
    method, path = operation
    statuses = ["2xx", "400", "401", "403", "404", "409", "422", "503", "507"]
    return {
        "include-method": method,
        "include-path": path,
        "checks": {"positive_data_acceptance": {"expected-statuses": statuses}},
    }


# A stream of events ends with its job; the first event is enough.
_STREAMING: Mapping[str, Any] = {
    "include-path": _STREAM,
    "max-stream-events": 1,
    "request-timeout": 0.5,
}
_LASTING: Sequence[Mapping[str, Any]] = (
    {  # what is retired or revoked can be read
        "include-path-regex": "^/v1/(chips|keys)",
        "checks": {"use_after_free": {"enabled": False}},
    },
    {  # a new chip has none
        "include-path": "/v1/chips/{chip_id}/policy",
        "checks": {"ensure_resource_availability": {"enabled": False}},
    },
)
