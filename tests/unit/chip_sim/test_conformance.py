"""The comparison with published devices: its quadrature is right, and an error of 5 % is seen."""

import json
from typing import Any

import pytest

from benchmarks.device_conformance import MODELS, REFERENCE, compare, drifted, product_rows
from benchmarks.device_formulas import Formulas, moments

PUBLISHED = json.loads(REFERENCE.read_text())
ROWS = [(name, row) for name in MODELS for row in PUBLISHED[name]["rows"]]
IDS = [f"{name}-{row['r']}" for name, row in ROWS]


def off(model: Formulas, row: dict[str, Any], kind: str) -> list[bool]:
    """Whether mean or spread is off, at every time of the file."""
    flicker = kind == "drifted_and_flickering"
    wrong = []
    for time, mean, sd in row[kind]:
        m = moments(model, row["r"], float(time), flicker=flicker)
        wrong.append(abs(m.mean - mean) > 5 * sd / 1000 + 1e-5 or abs(m.sd / sd - 1) > 0.015)
    return wrong


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
@pytest.mark.parametrize("kind", ["drifted", "drifted_and_flickering"])
def test_the_formulas_agree_with_the_file(name: str, row: dict[str, Any], kind: str) -> None:
    assert not any(off(MODELS[name], row, kind))


@pytest.mark.parametrize("wrong", [0.95, 1.05])
@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_a_formula_five_percent_off_would_be_seen(
    name: str, row: dict[str, Any], wrong: float
) -> None:
    right = MODELS[name]
    noisier = right._replace(programming=lambda r: wrong * right.programming(r))
    faster = right._replace(nu_mean=lambda r: wrong * right.nu_mean(r))
    assert any(off(noisier, row, "drifted"))
    assert any(off(faster, row, "drifted"))


def test_a_small_population_conforms() -> None:
    rows = list(compare("pcm", PUBLISHED, 20_000))
    assert len(rows) == 5 * 13 + 5 * 10
    assert sum(abs(row.errors_off) > 5 for row in rows) == 0


def test_the_drifted_product_conforms() -> None:
    assert not any(row.misses for row in product_rows(PUBLISHED))


def test_a_factor_a_fifth_of_a_percent_off_would_be_seen() -> None:
    row = product_rows(PUBLISHED)[0]
    assert row._replace(found=row.found * 1.002).misses
    assert drifted(0.0).factor == pytest.approx(1, abs=0.002)
