"""The learning benchmark, in short: students of the digits come near their teacher."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.learning import TeacherSetup, conditions_of, learn, parse, perform, prepare
from benchmarks.learning_runs import (
    Conditions,
    Run,
    Start,
    complaints_about,
    earlier,
    groups,
    write,
)
from benchmarks.tasks import tasks
from benchmarks.teachers import teacher_of
from ltl_core.errors import DataFormatError
from ltl_core.settings import RuleName, TrainingSettings

LOCAL = [RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE]


@pytest.fixture(scope="module")
def setup() -> Iterator[TeacherSetup]:
    task = tasks()["digits"]
    with torch.random.fork_rng():
        yield prepare(task, task.load(Path()), seed=0)


def conditions(setup: TeacherSetup, rule: RuleName, start: Start = "warm") -> Conditions:
    return conditions_of(setup.task, rule, 0, parse(["--start", start]))


@pytest.mark.parametrize("rule", LOCAL)
def test_students_come_near_their_teacher(setup: TeacherSetup, rule: RuleName) -> None:
    run = learn(setup, conditions(setup, rule))
    assert complaints_about(run) == []
    assert len(run.accuracy) == 1 + setup.task.epochs
    assert run.peak_bytes > 0
    assert 0 < run.firing_rate < 1
    assert run.synops_ratio > 0
    worse = (*run.accuracy[:-1], run.teacher - 0.02)
    wrong = run.model_copy(update={"accuracy": worse})
    assert "2.00 points behind its teacher" in complaints_about(wrong)[0]


def test_default_start_begins_at_chance_and_learns(setup: TeacherSetup) -> None:
    run = learn(setup, conditions(setup, RuleName.LTL_OFFLINE, "default"))
    assert run.accuracy[0] < 0.3  # one in ten, and luck
    assert run.accuracy[-1] > run.accuracy[0] + 0.3


def test_what_was_run_under_the_same_conditions_is_not_run_again(tmp_path: Path) -> None:
    short = ["--quick", "--cache", str(tmp_path), "--epochs", "1", "--test-samples", "32"]
    few = [*short, "--samples", "64", "--rule", "ltl-online"]

    def runs_of(arguments: list[str], done: list[Run]) -> list[Run]:
        with torch.random.fork_rng():
            return list(perform(parse(arguments), done, Console(quiet=True)))

    (run,) = runs_of(few, [])
    assert (run.samples, run.tested, len(run.accuracy)) == (64, 32, 2)
    assert runs_of(few, [run]) == []
    (other,) = runs_of([*short, "--samples", "96", "--rule", "ltl-online"], [run])
    assert other.samples == 96
    (floats,) = runs_of([*few, "--float-deltas"], [run, other])
    assert floats.conditions.settings.delta_bits is None


def test_cached_teacher_is_of_the_recipe_that_is_asked_for(tmp_path: Path) -> None:
    task = tasks()["digits"]
    split = task.load(Path())

    def weight_of(epochs: int) -> torch.Tensor:
        shorter = task._replace(recipe=task.recipe._replace(epochs=epochs))
        with torch.random.fork_rng():
            teacher = teacher_of(shorter, split, 0, tmp_path)
        return teacher.weights["layer0.weight"]

    once = weight_of(epochs=1)
    kept = (tmp_path / "digits-0.safetensors").stat().st_mtime_ns
    assert torch.equal(weight_of(epochs=1), once)
    assert (tmp_path / "digits-0.safetensors").stat().st_mtime_ns == kept
    assert not torch.equal(weight_of(epochs=2), once)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"runs": [{"task": "digits"}]}'])
def test_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "runs.json").write_text(content)
    with pytest.raises(DataFormatError, match="name another file"):
        earlier(tmp_path / "runs.json")


def test_runs_survive_their_file(tmp_path: Path) -> None:
    runs = [run_of("bptt", 1), run_of("bptt", 2), run_of("dspike", 1)]
    write(tmp_path / "runs.json", {"command": "x"}, runs)
    assert earlier(tmp_path / "runs.json") == runs
    assert earlier(tmp_path / "none.json") == []
    assert groups(runs) == [runs[:2], runs[2:]]


def run_of(rule: str, seed: int) -> Run:
    settings = TrainingSettings(rule=RuleName(rule), seed=seed, delta_bits=None)
    return Run(
        conditions=Conditions(task="digits", settings=settings, samples=9),
        samples=9,
        tested=8,
        teacher=0.9,
        accuracy=(0.1, 0.8),
        rate_error=(0.05,),
        epoch_s=(1.5,),
        peak_bytes=10,
        firing_rate=0.1,
        synops=5.0,
        synops_ratio=0.5,
    )
