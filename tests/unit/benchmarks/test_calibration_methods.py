"""The benchmark of methods compares the same chips and samples, and says what is better."""

from pathlib import Path

import pytest

from benchmarks.calibration_methods import parse_options, runs
from benchmarks.calibration_variants import ABLATION, LTL, METHODS, SETS
from benchmarks.method_rows import (
    MethodRow,
    Point,
    accuracy_at,
    better_axes,
    complaints_about,
    curve_of,
    table_of,
)
from benchmarks.row_file import read_rows, write_rows
from ltl_core.settings import CalibrationSettings, MethodName

GOOD = MethodRow(
    set="methods",
    variant=LTL,
    preset="pcm",
    seed=301,
    budget=500,
    golden=92.0,
    before=82.0,
    after=91.0,
    ended_by="budget:samples",
    samples=500,
    distinct=100,
    samples_measured=512,
    writes=0.2,
    pulses=1000,
    seconds=10.0,
)
MORE = GOOD._replace(budget=1000, samples=1000, after=91.5, writes=0.3, seconds=20.0)


def settings_of(name: str, variants: str = "methods") -> CalibrationSettings:
    return SETS[variants][name].settings("pcm", 1000)


def changed(first: CalibrationSettings, second: CalibrationSettings) -> set[str]:
    """Return the settings in which two differ."""
    pairs = first.model_dump().items(), second.model_dump().items()
    return {name for (name, old), (_, new) in zip(*pairs, strict=True) if old != new}


def test_every_method_is_compared() -> None:
    found = {settings_of(name).method for name, of in METHODS.items() if of.changes is not None}
    assert found == set(MethodName)
    assert {"none", "tune", "trims", "noise-trained"} <= METHODS.keys()


def test_every_variant_sees_the_same_samples() -> None:
    for variants, of in SETS.items():
        for name in of:
            if of[name].changes is not None:
                found = settings_of(name, variants)
                assert (found.seed, found.budget.distinct) == (0, 100)


def test_the_ablation_switches_off_one_choice_at_a_time() -> None:
    differences = {n: changed(settings_of(n, "ablation"), settings_of(LTL)) for n in ABLATION}
    assert differences.pop(LTL) == set()
    assert differences.pop("teacher") == {"targets", "data"}  # a teacher has no synthetic samples
    assert differences.pop("no-ranges") == set()
    assert not ABLATION["no-ranges"].ranges
    assert all(len(fields) == 1 for fields in differences.values())


def test_a_curve_begins_at_the_chips_before_and_is_a_mean_over_chips() -> None:
    other = GOOD._replace(seed=302, after=90.0, writes=0.4)
    start, point = curve_of([GOOD, other], "writes")
    assert start == Point(0.0, 82.0)
    assert point == pytest.approx((0.3, 90.5))


def test_a_curve_is_straight_between_points_and_keeps_its_best() -> None:
    curve = [Point(0.0, 80.0), Point(10.0, 90.0), Point(20.0, 88.0)]
    assert accuracy_at(curve, 0.0) == 80.0
    assert accuracy_at(curve, 5.0) == pytest.approx(85.0)
    assert accuracy_at(curve, 15.0) == 90.0
    assert accuracy_at(curve, 30.0) == 90.0


def test_a_baseline_is_named_if_it_is_better_along_two_axes() -> None:
    ltl = [GOOD, MORE]
    slower = [row._replace(variant="spsa", seconds=2 * row.seconds) for row in ltl]
    assert complaints_about([*ltl, *slower]) == []
    cheap = [row._replace(variant="adabs", writes=0.0, after=row.after - 0.1) for row in ltl]
    assert better_axes(cheap, ltl) == ["writes"]
    assert complaints_about([*ltl, *cheap]) == []
    better = [row._replace(variant="tandem", after=row.after + 0.1) for row in ltl]
    (found,) = complaints_about([*ltl, *better])
    assert found == "pcm: tandem is better than ltl by samples and seconds and writes."


def test_what_does_not_learn_is_not_compared() -> None:
    tuned = GOOD._replace(variant="tune", budget=0, samples=0, writes=0.0, after=91.9)
    assert better_axes([tuned], [GOOD, MORE]) == ["samples", "seconds", "writes"]
    assert complaints_about([GOOD, MORE, tuned]) == []


def test_chips_that_only_one_of_them_calibrated_are_not_compared() -> None:
    elsewhere = GOOD._replace(variant="tandem", seed=302, after=92.0)
    assert complaints_about([GOOD, elsewhere]) == []


def test_what_does_not_learn_runs_once_and_the_ablation_at_the_largest_budget() -> None:
    options = parse_options(["--presets", "pcm", "--chips", "1", "--budgets", "250,500"])
    budgets: dict[tuple[str, str], list[int]] = {}
    for run in runs(options):
        budgets.setdefault((run.set, run.variant), []).append(run.budget)
    assert budgets["methods", "none"] == budgets["methods", "tune"] == [0]
    assert budgets["methods", LTL] == [250, 500]
    assert budgets["ablation", LTL] == [500]
    assert budgets.keys() == {(s, v) for s, of in SETS.items() for v in of}


def test_rows_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert read_rows(file, MethodRow) == []
    write_rows(file, {"command": "x"}, [GOOD, MORE])
    assert read_rows(file, MethodRow) == [GOOD, MORE]
    assert table_of([GOOD, MORE]).row_count == 2
