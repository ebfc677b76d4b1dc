"""What a chip that has the optional verbs promises of them; one without them is skipped."""

import pytest
import torch

from tandemcal.backend import (
    BulkWriter,
    ChipBackend,
    LayerCodes,
    LayerShapeError,
    Observable,
    Placement,
    Stimulus,
    StreamingBackend,
)
from tandemcal.testing.small_network import (
    BATCH,
    SHAPES,
    STEPS,
    images,
    program_all,
    show,
    some_codes,
)


@pytest.fixture
def writer(chip: ChipBackend, placement: Placement) -> BulkWriter:
    """The chip, if it has `write`; a network stands on it."""
    if not isinstance(chip, BulkWriter):
        pytest.skip("the chip has no `write`: its layers are written one by one")
    chip.place(placement)
    return chip


@pytest.fixture
def streaming(chip: ChipBackend, placement: Placement) -> StreamingBackend:
    """The chip, if it has `iter_layers`; a network stands on it, with codes."""
    if not isinstance(chip, StreamingBackend):
        pytest.skip("the chip has no `iter_layers`: the layers of a run come together")
    chip.place(placement)
    program_all(chip, placement)
    return chip


def test_write_reports_every_layer_and_leaves_what_program_would(
    chip: ChipBackend, writer: BulkWriter, placement: Placement
) -> None:
    weights = some_codes(placement, chip.info.weight_code_max)
    codes = {
        layer: LayerCodes(weight, *(torch.zeros(len(weight), dtype=torch.int64),) * 2)
        for layer, weight in weights.items()
    }
    reports = writer.write(codes)
    assert list(reports) == list(SHAPES)
    for layer, weight in weights.items():
        assert reports[layer].cells == int((weight != 0).sum())
        assert chip.program(layer, weight).cells == 0


def test_iter_layers_yields_each_recorded_layer_once_and_takes_the_time_of_a_run(
    chip: ChipBackend, streaming: StreamingBackend
) -> None:
    record = {"conv": Observable.COUNTS, "hidden": Observable.COUNTS}
    before = chip.now()
    shown = list(streaming.iter_layers(Stimulus(images(), STEPS), record))
    took = chip.now() - before
    assert [layer for layer, _ in shown] == ["conv", "hidden"]
    for layer, recording in shown:
        assert recording.counts is not None
        assert recording.counts.shape == (BATCH, *SHAPES[layer])
    before = chip.now()
    show(chip, record)
    assert took == pytest.approx(chip.now() - before, rel=1e-9)


def test_iter_layers_refuses_a_stimulus_of_another_shape(streaming: StreamingBackend) -> None:
    stimulus = Stimulus(torch.zeros(BATCH, 1, 5, 6), STEPS)
    with pytest.raises(LayerShapeError):
        list(streaming.iter_layers(stimulus, {"conv": Observable.COUNTS}))
