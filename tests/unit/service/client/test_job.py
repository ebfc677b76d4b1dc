"""A job draws what its events say, in words it says what it does, and views are short."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from service.client.job import words_about
from service.client.plots import curve, draw_job
from service.client.tensors import unlike_learned
from service.schemas.jobs import EventView, JobView

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STEPS = [
    {"phase": "cells", "step": 1, "accuracy": 0.5, "rate_error": [0.2, 0.3]},
    {"phase": "cells", "step": 2, "accuracy": 0.75, "rate_error": [0.1]},
    {"phase": "verify", "step": 3},
]


def a_job(**fields: Any) -> JobView:
    given: dict[str, Any] = dict.fromkeys(JobView.model_fields) | {
        "id": "0190f4a0-0000-7000-8000-00000badcafe",
        "kind": "calibrate",
        "status": "running",
        "terminal": False,
        "settings": {},
        "priority": 5,
        "attempt": 1,
        "created_at": NOW,
        "code_version": "1",
    }
    return JobView.model_validate(given | fields)


def events() -> list[EventView]:
    none = {"job_id": None, "chip_id": None, "created_at": NOW}
    return [
        EventView.model_validate(
            {"seq": number, "type": "job.progress", "data": {"progress": step}} | none
        )
        for number, step in enumerate(STEPS)
    ]


def test_a_view_is_short() -> None:
    assert repr(a_job()) == "JobView(id=0badcafe, kind=calibrate, status=running)"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "waiting_for_chip"}, "waiting for chip"),
        ({"progress": {"phase": "cells", "step": 1, "steps": 4, "accuracy": 0.5}}, "cells 1/4"),
        ({"status": "failed", "terminal": True, "reason": "no room"}, "failed: no room"),
    ],
)
def test_a_job_is_described_in_words(fields: dict[str, Any], words: str) -> None:
    assert words_about(a_job(**fields)).startswith(words)


def test_a_curve_leaves_out_what_a_step_does_not_say() -> None:
    assert curve(STEPS, "accuracy") == [(1, 0.5), (2, 0.75)]
    assert curve(STEPS, "rate_error", 1) == [(1, 0.3)]


def test_accuracy_and_the_golden_line_are_drawn() -> None:
    pytest.importorskip("matplotlib")
    job = a_job(result={"accuracy": {"golden": 0.98, "before": 0.9, "after": 0.97}})
    above, below = draw_job(job, events()).axes
    drawn = {line.get_label(): list(np.asarray(line.get_ydata())) for line in above.get_lines()}
    assert drawn["on samples it learns from"] == [50, 75]
    assert set(drawn) == {"on samples it learns from", "golden", "before", "after"}
    assert len(below.get_lines()) == 2


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ([[0, 16.0], [3, 4]], True),
        ([[0, 255]], True),
        ([[0, 1.0], [1, 0]], False),  # spikes
        ([[0, 16.5]], False),
        ([[-16, 16]], False),
        ([], False),
    ],
)
def test_inputs_like_codes_of_pixels_are_named(inputs: list[list[float]], named: bool) -> None:
    assert (unlike_learned(np.array(inputs)) is not None) == named
