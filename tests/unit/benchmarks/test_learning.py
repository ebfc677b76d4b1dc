"""Runs of the learning benchmark: their file, their groups, and what they are judged by."""

from pathlib import Path

import pytest

from benchmarks.learning import judged_together, parse
from benchmarks.learning_runs import Conditions, Run, complaints_about, earlier, groups, write
from ltl_core.errors import DataFormatError
from ltl_core.settings import RuleName, TrainingSettings


def test_the_mean_of_the_seeds_is_judged() -> None:
    near, far = run_of("ltl-online", 1, 0.965), run_of("ltl-online", 2, 0.945)
    assert complaints_about([near, near, far]) == []
    (complaint,) = complaints_about([near, far, far])
    assert "1.83 points behind its teacher, mean of 3; 1.5 allowed" in complaint


def test_every_run_is_judged_for_itself_but_for_the_quick_form() -> None:
    runs = [run_of("ltl-online", seed, accuracy) for seed, accuracy in ((1, 0.965), (2, 0.945))]
    far = [complaints_about(judged) for judged in judged_together(runs, parse([]))]
    assert [len(complaints) for complaints in far] == [0, 1]
    assert judged_together(runs, parse(["--quick"])) == [runs]


def test_a_bad_teacher_is_named_with_its_seed() -> None:
    bad = run_of("ltl-online", 7, 0.9).model_copy(update={"teacher": 0.9})
    assert complaints_about([bad]) == ["digits 7: the teacher has 90.00 % only."]


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


def run_of(rule: str, seed: int, accuracy: float = 0.8) -> Run:
    settings = TrainingSettings(rule=RuleName(rule), seed=seed, delta_bits=None)
    return Run(
        conditions=Conditions(task="digits", settings=settings, samples=9),
        samples=9,
        tested=8,
        teacher=0.97,
        accuracy=(0.1, accuracy),
        rate_error=(0.05,),
        epoch_s=(1.5,),
        peak_bytes=10,
        firing_rate=0.1,
        synops=5.0,
        synops_ratio=0.5,
    )
