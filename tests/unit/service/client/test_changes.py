"""Two versions of weights are compared array by array."""

import math

import numpy as np

from service.client.tensors import changes


def test_only_entries_that_differ_count() -> None:
    before = np.array([[1, 2], [3, 4]], dtype=np.int8)
    after = np.array([[1, 2], [0, 5]], dtype=np.int8)
    [found] = changes({"codes": before}, {"codes": after})
    assert found == ("codes", 4, 2, 2.0, 3.0)


def test_codes_of_opposite_ends_differ_by_more_than_a_byte_holds() -> None:
    before, after = (np.array([code], dtype=np.int8) for code in (-128, 127))
    assert changes({"codes": before}, {"codes": after})[0].largest == 255


def test_an_array_that_one_of_them_lacks_differs_whole() -> None:
    [found] = changes({}, {"codes": np.zeros(3, dtype=np.int8)})
    assert found[:3] == ("codes", 3, 3)
    assert math.isnan(found.mean)
