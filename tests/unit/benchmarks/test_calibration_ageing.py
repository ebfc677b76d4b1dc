"""What the ageing benchmark says of its rows: figures, complaints and tables."""

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.calibration_ageing_rows import (
    AgeingRow,
    YearRow,
    complaints_about,
    sentence_of,
    table_of,
    year_table_of,
)
from benchmarks.row_file import read_rows, write_rows

GOOD = AgeingRow("drift", "pcm", 301, 92.0, 91.8, 81.8, 91.3, 0, 0.0, 2.0)
YEAR = YearRow("pcm", 301, 86_400.0, 90.0, 91.0, 1.2, 0.5, 2.0, "drift trims", 91.8, 0.0)


def test_a_loss_and_what_was_regained_of_it() -> None:
    assert pytest.approx(10.0) == GOOD.lost
    assert pytest.approx(0.95) == GOOD.regained
    assert pytest.approx(0.5) == GOOD.behind


@pytest.mark.parametrize(
    ("good", "bad", "complaint"),
    [
        (GOOD, GOOD._replace(after=89.8), "0.80 regained in the median, 0.9 wanted"),
        (
            GOOD._replace(experiment="trims"),
            GOOD._replace(experiment="trims", after=91.2),
            "0.60 points behind",
        ),
        (
            GOOD._replace(experiment="trims", preset="harsh", after=90.4),
            GOOD._replace(experiment="trims", preset="harsh", after=90.0),
            "1.80 points behind",
        ),
        (
            GOOD._replace(experiment="last-trims", aged=89.0),
            GOOD._replace(experiment="last-trims", aged=88.0),
            "3.80 points lost",
        ),
    ],
)
def test_what_misses_its_limit_is_named(good: AgeingRow, bad: AgeingRow, complaint: str) -> None:
    assert complaints_about([good]) == []
    assert any(complaint in line for line in complaints_about([bad]))


def test_one_chip_far_below_the_others_is_named() -> None:
    worst = GOOD._replace(seed=302, after=89.0)
    (line,) = complaints_about([GOOD, worst, GOOD._replace(seed=303)])
    assert "at worst" in line


def test_rows_are_kept_and_shown(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    write_rows(file, {"command": "x"}, [GOOD])
    assert read_rows(file, AgeingRow) == [GOOD]
    console = Console(width=160, record=True)
    console.print(table_of([GOOD]))
    console.print(year_table_of([YEAR]))
    shown = console.export_text()
    assert "10.00 (10.00)" in shown
    assert "1.2 (0.5 to 2.0)" in shown
    assert "0.95 regained" in sentence_of(GOOD)
