"""The calibration benchmark says which figures miss their limits, and goes on from its file."""

import json
from pathlib import Path

import pytest

from benchmarks.calibration import EXPERIMENTS
from benchmarks.calibration_rows import (
    ELSEWHERE,
    Row,
    complaints_about,
    sentence_of,
    table_of,
)
from benchmarks.row_file import read_rows, write_rows
from ltl_core.settings import Data

GOOD = Row(
    experiment="hundred",
    preset="pcm",
    seed=301,
    golden=92.3,
    before=88.0,
    after=92.1,
    predicted_loss=0.5,
    ended_by="budget:samples",
    samples=1000,
    distinct=100,
    samples_measured=512,
    writes=0.2,
    pulses=1000,
    seconds=12.0,
)


def test_figures_within_their_limits_bring_no_complaint() -> None:
    assert complaints_about([GOOD, GOOD._replace(preset="harsh", before=20.0)]) == []


def test_each_figure_that_misses_is_named() -> None:
    (golden,) = complaints_about([GOOD._replace(golden=91.9, after=91.8)])
    assert "golden student" in golden
    median, worst = complaints_about([GOOD._replace(after=91.4)])
    assert "pcm, hundred" in median
    assert "in the median" in median
    assert "at worst" in worst
    (writes,) = complaints_about([GOOD._replace(writes=0.31)])
    assert "writes a cell" in writes
    harsh = GOOD._replace(preset="harsh", before=20.0, after=88.0)
    assert len(complaints_about([harsh])) == 2


def test_one_bad_chip_of_three_is_the_worst_and_not_the_median() -> None:
    (found,) = complaints_about([GOOD, GOOD, GOOD._replace(after=91.0)])
    assert "at worst" in found


def test_other_tasks_have_limits_of_their_own() -> None:
    assert complaints_about([GOOD._replace(golden=90.0, after=89.1)], ELSEWHERE) == []
    median, worst = complaints_about([GOOD._replace(golden=90.0, after=88.9)], ELSEWHERE)
    assert "1.100 points behind in the median, 1.0 wanted" in median
    assert "at worst" in worst
    harsh = GOOD._replace(preset="harsh", experiment="synthetic", golden=90.0, before=40.0)
    assert complaints_about([harsh._replace(after=85.5)], ELSEWHERE) == []
    assert len(complaints_about([harsh._replace(after=84.5)], ELSEWHERE)) == 2


def test_few_writes_have_a_limit_of_the_median_alone() -> None:
    few = GOOD._replace(preset="harsh", experiment="writes-0.2", before=20.0, after=88.0)
    bad = few._replace(after=30.0)
    assert complaints_about([few, few, bad]) == []
    (found,) = complaints_about([few, bad, bad])
    assert "in the median, 0.93 wanted" in found


def test_a_chip_that_lost_nothing_has_nothing_to_recover() -> None:
    assert "0.953 recovered" in sentence_of(GOOD)
    unhurt = GOOD._replace(before=GOOD.golden)
    assert "0.20 behind, nothing lost, 1000 shown" in sentence_of(unhurt)
    recovered = table_of([unhurt]).columns[6]
    assert (recovered.header, list(recovered.cells)) == ("recovered", ["-"])


def test_rows_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert read_rows(file, Row) == []
    write_rows(file, {"command": "x"}, [GOOD])
    assert read_rows(file, Row) == [GOOD]
    assert json.loads(file.read_text())["command"] == "x"
    assert table_of([GOOD]).row_count == 1


def test_no_experiment_uses_labels_and_one_uses_no_sample_of_the_lab() -> None:
    settings = {name: of.settings("harsh") for name, of in EXPERIMENTS.items()}
    assert all(of.targets == "golden" for of in settings.values())
    assert settings["synthetic"].data is Data.SYNTHETIC
    assert settings["ten"].budget.distinct == 10


def test_side_weights_and_few_writes_are_for_harsh_chips_alone() -> None:
    alone = {name for name, of in EXPERIMENTS.items() if not of.is_for("pcm")}
    assert alone == {"side", "writes-0.05", "writes-0.1", "writes-0.2"}
    assert all(of.is_for("harsh") for of in EXPERIMENTS.values())
    with pytest.raises(ValueError, match="preset pcm"):
        EXPERIMENTS["side"].settings("pcm")
    assert EXPERIMENTS["writes-0.1"].settings("harsh").budget.cell_writes_per_cell == 0.1
