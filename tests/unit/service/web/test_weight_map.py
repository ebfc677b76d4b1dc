"""The picture of a weight map: levels that an outlier does not flatten, squares in their places."""

import re
from typing import Any

import pytest

from service.web.chip.weight_map import WeightPicture, draw_weights


def a_map(bins: list[list[int]]) -> dict[str, Any]:
    tile = {
        "layer": "hidden",
        "first_column": 4,
        "columns": 2 * len(bins),
        "first_row": 8,
        "rows": 3 * len(bins[0]),
        "bin_columns": 2,
        "bin_rows": 3,
        "bins": bins,
    }
    return {"shows": "moved", "chip_time_s": 1.0, "layers": {"hidden": 1.0}, "tile": tile}


def squares(picture: WeightPicture) -> set[tuple[int, int, int]]:
    """Level, column and row of every square that is drawn."""
    cell, found = int(picture.cell), set()
    for level in picture.levels:
        for x, y, width in re.findall(r"M(\d+) ([\d.]+)h(\d+)", level.path):
            first, row = int(x) // cell, int(float(y) // cell)
            found |= {(level.number, first + n, row) for n in range(int(width) // cell)}
    return found


def test_every_square_stands_in_its_column_and_row_once() -> None:
    picture = draw_weights(a_map([[0, 110, 450], [250, 250, 0]]))
    assert squares(picture) == {(0, 0, 0), (1, 0, 1), (4, 0, 2), (2, 1, 0), (2, 1, 1), (0, 1, 2)}
    assert (picture.width, picture.height) == (2 * picture.cell, 3 * picture.cell)
    assert picture.place == "hidden, columns 4 to 7, rows 8 to 16"
    assert "2 by 3 cells" in picture.block
    assert not picture.shows_error


def test_one_stuck_cell_does_not_make_the_others_look_alike() -> None:
    bins = [[10 * (n % 10) for n in range(32)] for _ in range(32)]
    usual = {level for level, _, _ in squares(draw_weights(a_map(bins)))}
    bins[0][0] = 100_000
    picture = draw_weights(a_map(bins))
    assert {level for level, _, _ in squares(picture)} >= usual
    assert picture.levels[-1].text.endswith("or more")
    shares = [float(level.share.removesuffix("\u202f%")) for level in picture.levels]
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(KeyError):
        draw_weights({"shows": "error"})
    with pytest.raises(ValueError, match="zip"):
        draw_weights(a_map([[1, 2], [1]]))
