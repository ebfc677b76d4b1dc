"""What the benchmark of a job's seconds complains about."""

from benchmarks.job_seconds import CASES, Row, complaints_about, table_of


def row(case: str, seconds: float, *, published: bool = True) -> Row:
    return Row(case, 301, seconds, 0.5, seconds - 1, 0.8, 0.9, 0.92, 400, 300, published)


def test_the_median_of_each_case_is_held_against_its_limit() -> None:
    rows = [row("trims", 5.0), row("trims", 5.9), row("trims", 30.0), row("drift", 2.5)]
    (complaint,) = complaints_about(rows)
    assert complaint.startswith("drift: 2.5 s")


def test_a_calibration_that_came_to_nothing_is_named() -> None:
    (complaint,) = complaints_about([row("auto", 1.0), row("auto", 1.0, published=False)])
    assert complaint.startswith("auto: not every")


def test_the_limits_are_those_that_are_wanted() -> None:
    assert {name: case.at_most for name, case in CASES.items()} == {
        "auto": 15.0,
        "trims": 6.0,
        "drift": 2.0,
    }


def test_the_table_has_a_line_for_each_case() -> None:
    assert table_of([row("auto", 1.0), row("trims", 2.0), row("auto", 3.0)]).row_count == 2
