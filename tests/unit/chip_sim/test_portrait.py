"""The data for pictures of a chip agree with the chip."""

import pytest
import torch

from chip_sim.portrait import ageing, column_curves, tile_error
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec

SMALL = {"tile_rows": 16, "tile_columns": 16}


def test_ageing_shows_drift_and_ends_where_the_data_end() -> None:
    pcm, reram = ageing(preset("pcm"), 1), ageing(preset("reram"), 1)
    assert float(pcm.times[-1]) == pytest.approx(365 * 86400.0)
    assert float(reram.times[-1]) == pytest.approx(2 * 86400.0)
    assert float(pcm.mean[-1, -1] / pcm.mean[-1, 0]) == pytest.approx(0.5, abs=0.03)
    assert pcm.mean.shape == pcm.sd.shape == pcm.single.shape == (6, 61)


def test_ideal_columns_answer_alike() -> None:
    curves = column_curves(ChipSpec(**SMALL), 1)
    assert torch.equal(curves.codes, curves.codes[:1].expand(16, -1))
    assert (float(curves.codes.min()), float(curves.codes.max())) == (-2047, 2047)


def test_an_ideal_tile_has_no_error_and_a_pcm_tile_has() -> None:
    assert float(tile_error(ChipSpec(**SMALL), 1).after_a_day.abs().max()) < 1e-3
    pcm = preset("pcm").model_copy(update=SMALL)
    error = tile_error(pcm, 1)
    assert float(error.after_a_day.std()) > 2 * float(error.fresh.std()) > 1
