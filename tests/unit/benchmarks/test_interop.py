"""`--check` of imported networks: what was not imported does not agree."""

import pytest

from benchmarks.interop import NetworkRow, missed
from benchmarks.interop_nir import TO_ZERO, NirRow

ROW = NetworkRow("alexnet", 224, "without max pools", 8, 0, 1, 1, 3e-7, 1.0)
REFUSED = ROW._replace(network="vit_b_16", imported="LayerNorm", difference=None)
FILE = NirRow("snnTorch", TO_ZERO, "yes", 500, 0)


def test_networks_that_agree_and_those_that_no_chip_has_pass() -> None:
    assert missed([ROW, REFUSED], [FILE]) == []


@pytest.mark.parametrize(
    ("networks", "files"),
    [
        ([], [FILE]),
        ([ROW._replace(difference=None)], [FILE]),
        ([ROW._replace(difference=0.1)], [FILE]),
        ([ROW._replace(difference=float("nan"))], [FILE]),
        ([ROW], []),
        ([ROW], [FILE._replace(differ=1)]),
        ([ROW], [FILE._replace(read="refused", differ=None)]),
    ],
)
def test_what_differs_or_was_not_imported_is_missed(
    networks: list[NetworkRow], files: list[NirRow]
) -> None:
    assert len(missed(networks, files)) == 1
