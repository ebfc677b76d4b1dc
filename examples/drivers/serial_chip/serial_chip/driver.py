"""The driver: the port of Tandemcal for a chip behind a line, one layer at a time.

The chip multiplies vectors by the matrix of one slot and fires. The host does the rest: it cuts
convolutions into vectors, pools, and presents the spikes of one layer to the next.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from serial_chip.layers import (
    Layer,
    bias_registers,
    cell_block,
    check_codes,
    group_count,
    input_vectors,
    network_digest,
    recording_of,
)
from serial_chip.line import Ask, Line, LineSettings
from serial_chip.protocol import (
    COUNTERS,
    RUN,
    SLOT,
    WEIGHT_MAX,
    Command,
    pack_codes,
    unpack_codes,
)
from tandemcal.backend import (
    CapacityError,
    ChipError,
    ChipInfo,
    LayerShapeError,
    NonFiniteError,
    Observable,
    Placement,
    Recording,
    SettingError,
    Stimulus,
    UnsupportedLayerError,
    WriteReport,
)
from tandemcal.network import Stage

TRIM_MAX, TRIM_LSB, TIME_STEP = 127, 1 / 128, 1e-3
INPUT_MAX = 127  # largest code of the DAC
COLUMNS_AT_ONCE = 16  # of a write: a chip that reboots in one loses little
BYTES_AT_ONCE = 2**19  # of an answer


def make_chip(chip_id: str, settings: Mapping[str, Any]) -> "SerialChip":
    """Open the chip at `port`, whose serial number is `serial`. Raises ChipUnavailableError."""
    unknown = sorted(set(settings) - set(LineSettings._fields))
    missing = sorted({"port", "serial"} - set(settings))
    if unknown or missing:
        raise SettingError(f"A serial chip needs 'port' and 'serial': {missing=}, {unknown=}.")
    return SerialChip(chip_id, LineSettings(**settings))


class SerialChip:
    """A chip of eight slots, each of 64 columns and 256 rows of cells of four bits."""

    def __init__(self, chip_id: str, settings: LineSettings) -> None:
        """Say hello to the chip. Raises ChipUnavailableError."""
        self._layers: dict[str, Layer] = {}
        self._placement: Placement | None = None
        self._line = Line(chip_id, settings, self._restore)
        found = self._line.hello()
        self.info = ChipInfo(
            *(chip_id, found.model, found.rows, found.columns, found.slots, WEIGHT_MAX),
            *(-TRIM_MAX - 1, TRIM_MAX, TRIM_LSB),
            # Membranes and windows of hidden layers cannot be read.
            observables=frozenset({Observable.COUNTS, Observable.SPIKES}),
            time_step=TIME_STEP,
            endurance_writes=None,
            threshold_trims=False,
        )

    def place(self, placement: Placement) -> None:
        """Give each layer a slot; see `ChipBackend`."""
        layers, network = self._fit(placement), network_digest(placement)
        standing = self._line.hello().network
        if placement == self._placement and standing == network:
            return  # the registers are those that this driver has set
        if standing != network:
            self._line.ask(Command.PLACE, network)
        self._layers, self._placement = layers, placement
        self._restore(self._line.ask)

    def program(self, layer: str, codes: Tensor) -> WriteReport:
        """Write the cells whose code changed, and read them back; see `ChipBackend`."""
        placed = self._placed(layer)
        check_codes(layer, "weight", codes, (placed.stage.columns, placed.stage.rows), WEIGHT_MAX)
        before, wanted = self._counters(), codes.numpy().astype(np.int8)
        for first in range(0, len(wanted), COLUMNS_AT_ONCE):
            part = wanted[first : first + COLUMNS_AT_ONCE]
            self._line.ask(Command.WRITE, cell_block(placed.slot, first, part) + pack_codes(part))
        held = unpack_codes(
            self._line.ask(Command.READ, cell_block(placed.slot, 0, wanted)), *wanted.shape
        )
        cells = self._counters()[1] - before[1]
        return WriteReport(cells, cells, torch.from_numpy(held != wanted))

    def trim(self, layer: str, threshold: Tensor, bias: Tensor) -> None:
        """Set the biases; see `ChipBackend`. The chip has no trims of thresholds."""
        placed = self._placed(layer)
        check_codes(layer, "threshold trim", threshold, (placed.stage.columns,), 0)
        check_codes(layer, "bias trim", bias, (placed.stage.columns,), TRIM_MAX, -TRIM_MAX - 1)
        self._layers[layer] = placed._replace(bias=bias.long())
        self._line.ask(Command.BIAS, bias_registers(self._layers[layer]))

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus to its layer, and its spikes to the next; see `ChipBackend`."""
        layers = list(self._reached(stimulus, record))
        signal, shown = self._signal(stimulus, layers[0].stage), {}
        samples = signal.shape[1]
        for layer in layers:
            answer = self._present(layer, signal, stimulus.steps, samples)
            samples = 0  # the port counts the steps of a sample once, whatever the layers take
            if layer.stage.name in record:
                shown[layer.stage.name] = recording_of(layer, answer, record[layer.stage.name])
            signal = answer.float()
        return Recording({name: shown[name] for name in record}, self.now())

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` on its own clock."""
        if not 0 <= seconds < math.inf:
            raise SettingError(f"A chip cannot be left alone for {seconds} s.")
        self._line.ask(Command.WAIT, round(seconds * 1e9).to_bytes(8, "little"))

    def now(self) -> float:
        """Return the time of the chip's clock, in seconds."""
        return self._counters()[0] / 1e9

    def close(self) -> None:
        """Close the line."""
        self._line.close()

    def _counters(self) -> tuple[int, int]:
        clock_ns, written = COUNTERS.unpack(self._line.ask(Command.COUNTERS))
        return clock_ns, written

    def _restore(self, ask: Ask) -> None:
        """Set all registers: they are lost where the chip boots, and its cells are not."""
        for layer in self._layers.values():
            of, stage = layer.settings, layer.stage
            size = (layer.slot, stage.columns, stage.rows)
            levels = (of.threshold, of.decay, of.full_scale)
            ask(Command.CONFIGURE, SLOT.pack(*size, *levels, stage.is_readout))
            ask(Command.BIAS, bias_registers(layer))

    def _fit(self, placement: Placement) -> dict[str, Layer]:
        """Return the layers in their slots. Raises CapacityError and UnsupportedLayerError."""
        info, stages = self.info, placement.network.stages
        blocks = [(s.rows / info.tile_rows, s.columns / info.tile_columns) for s in stages]
        needed = sum(math.ceil(rows) * math.ceil(columns) for rows, columns in blocks)
        for stage, block in zip(stages, blocks, strict=True):
            if len(stage.branches) > 1:
                raise UnsupportedLayerError(stage.name, "add", "use a network without additions")
            if needed <= info.tiles and (max(block) > 1 or group_count(stage) > 1):
                advice = (
                    f"a layer has one group, {info.tile_columns} columns, {info.tile_rows} rows"
                )
                raise UnsupportedLayerError(stage.name, stage.layer.kind, advice)
        if needed > info.tiles:
            raise CapacityError(needed, info.tiles)
        return {
            s.name: Layer(slot, s, placement.layers[s.name], torch.zeros(s.columns).long())
            for slot, s in enumerate(stages)
        }

    def _placed(self, layer: str) -> Layer:
        if layer not in self._layers:
            raise ChipError(f"No layer '{layer}' is placed on the chip.")
        return self._layers[layer]

    def _reached(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Iterator[Layer]:
        """Yield the layers that are driven, up to the last one that is recorded."""
        names = list(self._layers)
        first = (
            0 if stimulus.layer is None else names.index(self._placed(stimulus.layer).stage.name)
        )
        for name in record:
            if names.index(self._placed(name).stage.name) < first:
                raise ChipError(f"The stimulus does not reach layer '{name}'.")
        last = max((names.index(name) for name in record), default=first)
        yield from (self._layers[name] for name in names[first : last + 1])

    def _signal(self, stimulus: Stimulus, stage: Stage) -> Tensor:
        """Return the input of the first layer, [time or 1, batch, *source], full scale at 1."""
        assert self._placement is not None
        values, steps = stimulus.values.float(), stimulus.steps
        if steps < 1:
            raise SettingError(f"A run has at least one step, not {steps}.")
        if not values.isfinite().all():
            raise NonFiniteError("stimulus", int((~values.isfinite()).sum()))
        values = values.unsqueeze(0) if stimulus.layer is None else values
        times = 1 if stimulus.layer is None else steps
        if len(values) != times or tuple(values.shape[2:]) != stage.source_shape:
            wanted = (times, "batch", *stage.source_shape)
            raise LayerShapeError(stage.name, wanted, tuple(values.shape))
        return values

    def _present(self, layer: Layer, signal: Tensor, steps: int, samples: int) -> Tensor:
        """Return the spikes of a layer, or the sums of the readout, [time, batch, *output]."""
        assert self._placement is not None
        stage = layer.stage
        vectors = input_vectors(stage, signal)  # [time or 1, batch * position, row]
        top = self._placement.input_full_scale if stage.source is None else 1.0
        codes = (vectors / top * INPUT_MAX).round().clamp(-INPUT_MAX, INPUT_MAX)
        size = max(1, BYTES_AT_ONCE // (steps * max(stage.rows, 4 * stage.columns)))
        parts = []
        for part in codes.to(torch.int8).split(size, dim=1):
            parts.append(self._fire(layer, part, (steps, samples, top / INPUT_MAX)))
            samples = 0
        answer = torch.cat(parts, 1)
        shape = (steps, signal.shape[1], -1, stage.columns)
        return answer.view(shape).movedim(3, 2).reshape(*shape[:2], *stage.output_shape)

    def _fire(self, layer: Layer, inputs: Tensor, how: tuple[int, int, float]) -> Tensor:
        """Run one slot; return [time, vector, column]."""
        (steps, samples, scale), vectors = how, inputs.shape[1]
        held = len(inputs) == 1
        header = RUN.pack(layer.slot, steps, vectors, samples, held, scale)
        answer = self._line.ask(Command.RUN, header + inputs.numpy().tobytes())
        shape = (steps, vectors, layer.stage.columns)
        if layer.stage.is_readout:
            return torch.from_numpy(np.frombuffer(answer, "<f4").reshape(shape).copy())
        bits = np.unpackbits(np.frombuffer(answer, np.uint8), count=math.prod(shape))
        return torch.from_numpy(bits.reshape(shape).astype(bool))
