"""What the benchmark of similar chips says of its rows."""

from pathlib import Path

from benchmarks.calibration_similar import SimilarRow, sentence_of
from benchmarks.row_file import read_rows, write_rows

ROW = SimilarRow("pcm", 314, 312, 0.48, 0.06, 1.5, 0.05, 0.5, is_better=True, writes=0.087)


def test_a_row_says_which_start_is_better(tmp_path: Path) -> None:
    assert "codes of 312 at a distance of 0.48" in sentence_of(ROW)
    assert ", better, 0.087 writes" in sentence_of(ROW)
    assert ", not better," in sentence_of(ROW._replace(is_better=False))
    write_rows(tmp_path / "rows.json", {"command": "x"}, [ROW])
    assert read_rows(tmp_path / "rows.json", SimilarRow) == [ROW]
