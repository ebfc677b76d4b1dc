"""The learning benchmark, in short: students of the digits come near their teacher."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.learning import Lesson, Variant, learn, prepare
from benchmarks.learning_runs import Run, complaints_about, earlier, write
from benchmarks.tasks import tasks
from ltl_core.settings import RuleName


@pytest.fixture(scope="module")
def lesson() -> Iterator[Lesson]:
    task = tasks()["digits"]
    with torch.random.fork_rng():
        yield prepare(task, task.load(Path()), seed=0)


@pytest.mark.parametrize("rule", [RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE])
def test_students_come_near_their_teacher(lesson: Lesson, rule: RuleName) -> None:
    run = learn(lesson, rule, Variant())
    assert complaints_about(run) == []
    assert len(run.accuracy) == 1 + lesson.task.epochs
    assert run.peak_bytes > 0
    assert 0 < run.firing_rate < 1
    assert run.synops_ratio > 0
    wrong = run._replace(accuracy=(*run.accuracy[:-1], run.teacher - 0.02))
    assert "2.00 points behind its teacher" in complaints_about(wrong)[0]


def test_default_start_begins_at_chance_and_learns(lesson: Lesson) -> None:
    run = learn(lesson, RuleName.LTL_OFFLINE, Variant(start="default"))
    assert run.accuracy[0] < 0.3  # one in ten, and luck
    assert run.accuracy[-1] > run.accuracy[0] + 0.3


def test_runs_survive_their_file(tmp_path: Path) -> None:
    measured = (0.1, 5.0, 0.5)
    which = ("digits", "bptt", "warm", None, 1)
    runs = [Run(*which, 9, 8, 0.9, (0.1, 0.8), (0.05,), (1.5,), 10, *measured)]
    write(tmp_path / "runs.json", {"command": "x"}, runs)
    assert earlier(tmp_path / "runs.json") == runs
    assert earlier(tmp_path / "none.json") == []
