"""How many bytes the answer to each verb can have, from what was asked of which network.

An answer holds text, which describes its tensors, and the tensors. The text is bounded apart,
because it takes much more memory than its bytes when it is read.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ltl_core.chip import LayerCodes, Observable, Stimulus
from ltl_core.network.layers import size
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

_TEXT = 64 * 1024  # bytes of an answer without tensors, and of any refusal
_TEXT_OF_LAYER = 4 * 1024  # bytes that describe the tensors of one layer, beside its name
_TEXT_OF_LETTER = 128  # bytes of each letter of a name, which is written up to ten times
_NUMBER = 8  # bytes of one number at most
_WITHOUT_NETWORK = 256 * 2**20  # bytes; what is on the chip was placed by an earlier driver


class AnswerLimit(NamedTuple):
    """The bytes that an answer has at most."""

    text: int = _TEXT
    tensors: int = 0

    @property
    def whole(self) -> int:
        """Bytes of text and tensors."""
        return self.text + self.tensors


NO_TENSORS = AnswerLimit()
UNKNOWN = AnswerLimit(_TEXT + 2**20, _WITHOUT_NETWORK)


def of_write(codes: Mapping[str, LayerCodes]) -> AnswerLimit:
    """Return the limit of reports on written layers: one bit for each cell."""
    return AnswerLimit(_text(codes), sum(_bits(code.weight.numel()) for code in codes.values()))


def of_program(layer: str, cells: int) -> AnswerLimit:
    """Return the limit of a report on one layer with so many cells."""
    return AnswerLimit(_text((layer,)), _bits(cells))


def of_recording(
    stimulus: Stimulus, record: Mapping[str, Observable], network: NetworkSpec | None
) -> AnswerLimit:
    """Return the limit of a recording, in one piece or layer by layer."""
    stages = _stages(network)
    if not set(record) <= set(stages):
        return UNKNOWN
    batch = stimulus.values.shape[0 if stimulus.layer is None else 1]
    shown = (
        _recorded(size(stages[layer].output_shape) * batch, stimulus.steps, asked)
        for layer, asked in record.items()
    )
    return AnswerLimit(_text(record), sum(shown))


def of_columns(network: NetworkSpec | None) -> AnswerLimit:
    """Return the limit of one number for each column of each layer."""
    stages = _stages(network)
    columns = sum(stage.columns for stage in stages.values())
    return AnswerLimit(_text(stages), columns * _NUMBER) if stages else UNKNOWN


def of_tiles(network: NetworkSpec | None) -> AnswerLimit:
    """Return the limit of two numbers for each row of tiles of each layer."""
    stages = _stages(network)
    rows = sum(_rows(stage) for stage in stages.values())
    # An older agent writes its numbers as text.
    return AnswerLimit(_text(stages) + 32 * len(stages), rows * _NUMBER) if stages else UNKNOWN


def of_registers(layer: str, network: NetworkSpec | None) -> AnswerLimit:
    """Return the limit of the registers under one layer: four for each column of each tile."""
    return _of_cells(layer, 4, network)


def of_conversions(layer: str, repeats: int, network: NetworkSpec | None) -> AnswerLimit:
    """Return the limit of one code for each column of each tile, so many times."""
    return _of_cells(layer, repeats, network)


def of_excitation(repeats: int, columns: int) -> AnswerLimit:
    """Return the limit of one count for each column, so many times."""
    return AnswerLimit(tensors=repeats * columns * _NUMBER)


def _of_cells(layer: str, times: int, network: NetworkSpec | None) -> AnswerLimit:
    """Count a tile for each row of cells: a chip has as many at most."""
    stage = _stages(network).get(layer)
    if stage is None:
        return UNKNOWN
    return AnswerLimit(_text((layer,)), times * (_rows(stage) + 1) * stage.columns * _NUMBER)


def _stages(network: NetworkSpec | None) -> dict[str, Stage]:
    return {} if network is None else {stage.name: stage for stage in network.stages}


def _rows(stage: Stage) -> int:
    """Return the rows of all matrices of a stage: a chip lays each on tiles of its own."""
    return sum(size(matrix.weight_shape[1:]) for matrix in stage.matrices)


def _recorded(neurons: int, steps: int, asked: Observable) -> int:
    """Return the bytes of one layer: counts, spikes and what was asked for beside them."""
    counts, bits = neurons * _NUMBER, _bits(neurons * steps)
    beside = {Observable.WINDOW: bits, Observable.MEMBRANE: neurons * steps * _NUMBER}
    return counts if asked is Observable.COUNTS else counts + bits + beside.get(asked, 0)


def _bits(count: int) -> int:
    return count // 8 + 1


def _text(layers: Iterable[str]) -> int:
    letters = [len(layer) for layer in layers]
    return _TEXT + _TEXT_OF_LAYER * len(letters) + _TEXT_OF_LETTER * sum(letters)
