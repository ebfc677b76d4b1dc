"""Every answer is one that the OpenAPI document describes, whatever is sent, with any key.

TANDEMCAL_FUZZ=long makes thousands of requests; TANDEMCAL_FUZZ_SEED others of them.
"""

import logging
import os
from copy import deepcopy
from typing import Any

import pytest

from service.states import Scope
from tests.fuzz.campaign import Extent, Report, run
from tests.fuzz.lab import FuzzedLab

IS_LONG = os.environ.get("TANDEMCAL_FUZZ") == "long"
SEED = int(os.environ.get("TANDEMCAL_FUZZ_SEED", "1")) if IS_LONG else None
ALL = tuple(Scope)
_log = logging.getLogger(__name__)
FULL = Extent(40, True, True, SEED) if IS_LONG else Extent(2, False, True, None)
PARTIAL = Extent(10, False, True, SEED) if IS_LONG else Extent(1, False, False, None)


def check(lab: FuzzedLab, report: Report) -> None:
    """Hold that nothing is wrong, and that something could have been."""
    # `make fuzz` shows warnings alone: httpx tells of every request.
    level = logging.WARNING if IS_LONG else logging.INFO
    _log.log(level, "%d requests, %s", report.cases, dict(sorted(report.statuses.items())))
    assert not report.failures, report.describe()
    assert not report.errors, report.describe()
    documented = {
        f"{method.upper()} {path}"
        for path, operations in lab.document["paths"].items()
        for method in operations
    }
    assert report.operations == documented


def test_whoever_may_do_everything_gets_only_described_answers(lab: FuzzedLab) -> None:
    report = run(lab, ALL, FULL)
    check(lab, report)
    with_key = report.cases - report.statuses[401]  # some are sent without one
    assert sum(report.statuses[status] for status in (200, 201, 202, 204)) > 0.2 * with_key
    assert not IS_LONG or report.cases >= 5000


@pytest.mark.parametrize("scope", ALL if IS_LONG else (Scope.READ, Scope.AGENT))
def test_so_does_a_key_of_one_scope(lab: FuzzedLab, scope: Scope) -> None:
    report = run(lab, [scope], PARTIAL)
    check(lab, report)
    assert report.statuses[403] > 0


def test_an_answer_that_is_not_described_is_found(lab: FuzzedLab) -> None:
    chips = lab.document["paths"]["/v1/chips"]["get"]
    problems = {status: chips["responses"][status] for status in ("4XX", "5XX")}
    wrong: dict[str, Any] = deepcopy(lab.document)
    wrong["paths"] = {"/v1/chips": {"get": chips | {"responses": problems}}}
    report = run(lab._replace(document=wrong), ALL, Extent(1, False, False, None))
    assert {one.check for one in report.failures} == {"status_code_conformance"}


def test_a_field_of_another_type_is_found(lab: FuzzedLab) -> None:
    wrong: dict[str, Any] = deepcopy(lab.document)
    wrong["components"]["schemas"]["ChipInformation"]["properties"]["tiles"] = {"type": "string"}
    wrong["paths"] = {"/v1/chips": {"get": wrong["paths"]["/v1/chips"]["get"]}}
    report = run(lab._replace(document=wrong), ALL, Extent(1, False, False, None))
    assert {one.check for one in report.failures} == {"response_schema_conformance"}
