"""The benchmark of robustness: its short form, what it resumes, and what it finds wrong."""

import argparse
from functools import cache
from pathlib import Path

import pytest

from benchmarks.noise_training import Lesson, noise_trained
from benchmarks.robustness import (
    Point,
    measured,
    parse_options,
    points,
    prepared,
    row_of,
)
from benchmarks.robustness_kinds import KINDS, OWN, PAPER, Case
from benchmarks.robustness_plot import plot
from benchmarks.robustness_rows import (
    AS_IS,
    Mean,
    Row,
    complaints_about,
    mean_of,
    points_of,
    table_of,
)
from benchmarks.robustness_tasks import Task, task_of
from benchmarks.row_file import read_rows, write_rows
from ltl_core.student.evaluate import chip_quality
from ltl_core.student.golden import golden_targets
from tests.blobs import load_world

ROW = Row("digits", "mismatch", 0.2, 0, "auto", 98.0, 90.0, 97.0, 1000, 100, 0.2, 3.0)


@cache
def blobs() -> Task:
    world = load_world()
    return task_of(world.student, world.targets, world.test.samples)


def never(name: str, seed: int) -> Task:
    raise AssertionError(f"{name} {seed} was asked for")


def short_form() -> argparse.Namespace:
    """The short form, with a seed whose chip of this small network loses much."""
    options = parse_options(["--quick"])
    options.seeds = (2,)
    return options


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The short form: one kind, one strength, one seed, as it is and calibrated."""
    options = short_form()
    return list(measured(lambda *_: blobs(), options, []))


def test_calibration_brings_most_of_a_mismatch_back_and_no_calibration_does_not(
    rows: list[Row],
) -> None:
    as_is, auto = rows
    assert (as_is.way, auto.way) == (AS_IS, "auto")
    assert as_is.golden - as_is.before > 10
    assert auto.samples == 200
    assert auto.before == as_is.before == as_is.after
    assert complaints_about(rows) == []
    (complaint,) = complaints_about([as_is._replace(way="auto")])
    assert complaint == "digits, mismatch 0.4, auto: 0.000 recovered, 0.5 wanted."


def test_what_stands_in_the_file_is_not_measured_again(rows: list[Row], tmp_path: Path) -> None:
    options = short_form()
    write_rows(tmp_path / "rows.json", {}, rows)
    done = read_rows(tmp_path / "rows.json", Row)
    assert done == rows
    assert list(measured(never, options, done)) == []
    with pytest.raises(AssertionError, match="digits 2"):
        list(measured(never, options, done[:1]))


def test_a_calibration_that_makes_chips_worse_is_named() -> None:
    worse = ROW._replace(kind="thermal", after=89.0)
    assert complaints_about([ROW, ROW._replace(kind="thermal", after=89.9)]) == []
    assert complaints_about([worse]) == [
        "digits, thermal 0.2, auto: 1.00 points worse than as it is."
    ]
    lucky = worse._replace(before=99.0, after=97.6)  # better than the golden student by chance
    assert complaints_about([lucky]) == []
    assert len(complaints_about([lucky._replace(after=97.4)])) == 1
    other = worse._replace(seed=1, after=91.0)  # the mean of the seeds is what counts
    assert complaints_about([worse, other]) == []


def test_a_mean_has_the_standard_error_of_its_seeds() -> None:
    assert mean_of([90.0]) == Mean(90.0, None, 1)
    found = mean_of([90.0, 91.0, 92.0])
    assert found == pytest.approx((91.0, 1 / 3**0.5, 3))
    assert str(found) == "91.00 ± 0.58"
    seeds = [ROW._replace(seed=seed, after=90.0 + seed) for seed in range(3)]
    assert points_of(seeds)["digits", "mismatch", 0.2]["auto"] == pytest.approx(found)
    later = [ROW._replace(kind="thermal"), ROW._replace(strength=0.05)]
    assert [key[1:] for key in points_of([*seeds, *later])] == [
        ("mismatch", 0.05),
        ("mismatch", 0.2),
        ("thermal", 0.2),
    ]
    assert table_of([*seeds, *later]).row_count == 3


def test_every_curve_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    kinds = [ROW, ROW._replace(strength=0.3), ROW._replace(kind="quantisation", strength=4)]
    plot([*kinds, *(row._replace(way=AS_IS, seed=1) for row in kinds)], tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert all(text in drawn for text in ("mismatch, digits", "quantisation, digits", AS_IS))


def changed(kind: str) -> set[str]:
    """Return the parts of a chip in which a kind may differ from a perfect one."""
    if kind in PAPER:
        return {"model", "paper"}
    return {"model", "device", "write"} if kind.endswith("drift") else {"model", "neuron"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_differs_from_a_perfect_chip_in_itself_alone(kind: str) -> None:
    perfect = PAPER["mismatch"].spec(0.0)
    for strength in KINDS[kind].strengths:
        spec = KINDS[kind].spec(strength)
        assert {part for part, of in spec if of != getattr(perfect, part)} == changed(kind)
        assert (KINDS[kind].age(strength) > 3600) is (kind in OWN and kind.endswith("drift"))


def test_the_readout_is_in_full_precision_offline_alone() -> None:
    ways = {way: Point("digits", "quantisation", 3, 0, way).case for way in ("offline", "online")}
    network = blobs().student.network
    readout = network.stages[-1].name
    exact = {way: prepared(case, blobs().student).weights(readout) for way, case in ways.items()}
    codes = blobs().student.codes[readout].weight
    assert exact["offline"].equal(codes.float())
    assert not exact["online"].equal(codes.float())


def test_a_student_trained_with_two_bits_is_better_on_a_chip_of_two_bits() -> None:
    task, case = blobs(), Case("quantisation", 2, 301)
    network = task.student.network
    student = noise_trained(
        task.student, task.taught, lambda _: case.chip(network), Lesson(steps=20), seed=1
    )
    own = golden_targets(student, task.test.samples)
    trained = chip_quality(prepared(case, student), student, own).accuracy
    usual = chip_quality(prepared(case, task.student), task.student, task.test).accuracy
    assert trained > usual + 0.03


def test_points_follow_the_options_and_an_unknown_kind_is_refused() -> None:
    options = parse_options(["--kinds", "quantisation", "--strengths", "3,4,0.2", "--seeds", "1"])
    found = list(points(options))
    assert {(point.strength, point.seed) for point in found} == {(4, 1), (3, 1)}
    assert len(found) == 2 * len(options.ways) == 12
    with pytest.raises(SystemExit):
        parse_options(["--kinds", "rust"])


def test_a_row_as_it_is_is_the_accuracy_before() -> None:
    row = row_of(Point("digits", "thermal", 0.2, 0, AS_IS), blobs(), 88.0)
    assert (row.before, row.after, row.samples, row.seconds) == (88.0, 88.0, 0, 0.0)
