"""The driver: the port of Tandemcal for a chip whose cells and converters are those of aihwkit.

The neurons are digital: all that is wrong with this chip is aihwkit's.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aihwkit_chip.cells import Cells, Memory
from aihwkit_chip.neurons import TRIM_LSB, fire, running_sums
from aihwkit_chip.saved import ChipState, from_tensors, to_tensors
from aihwkit_chip.settings import ChipSettings, read_settings
from aihwkit_chip.tiles import TILE, column_sums
from tandemcal.backend import (
    CapacityError,
    ChipError,
    ChipInfo,
    CodeRangeError,
    LayerRecording,
    LayerSettings,
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
from tandemcal.network import Conv2d, Stage

WEIGHT_MAX, TRIM_MAX = 63, 127  # the codes that students are trained in
TIME_STEP, WRITE_TIME = 1e-5, 1e-6  # s


class Layer(NamedTuple):
    """One placed layer: its registers, its cells, and its codes of thresholds and biases."""

    stage: Stage
    settings: LayerSettings
    cells: Cells
    trims: tuple[Tensor, Tensor]


def make_chip(chip_id: str, settings: Mapping[str, Any]) -> "AihwkitChip":
    """Open a chip; `ChipSettings` lists the settings. Raises SettingError."""
    return AihwkitChip(chip_id, read_settings(settings))


class AihwkitChip:
    """A chip of tiles of 256 x 256 cells of phase-change memory, kept in software."""

    def __init__(self, chip_id: str, settings: ChipSettings) -> None:
        """Make the chip of this seed, with all devices reset."""
        self.info = ChipInfo(
            *(chip_id, "aihwkit-pcm", TILE, TILE, settings.tiles, WEIGHT_MAX),
            *(-TRIM_MAX - 1, TRIM_MAX, TRIM_LSB, frozenset(Observable), TIME_STEP, None),
        )
        self.settings, self._memory = settings, Memory(settings, WEIGHT_MAX)
        self._placement: Placement | None = None
        self._layers: dict[str, Layer] = {}
        self._clock = 0.0
        self._random = torch.Generator().manual_seed(settings.seed).get_state()

    def place(self, placement: Placement) -> None:
        """Place the layers on tiles; see `ChipBackend`."""
        if placement == self._placement:
            return
        stages = placement.network.stages
        for stage in stages:
            _check_supported(stage)
        needed = sum(math.ceil(s.rows / TILE) * math.ceil(s.columns / TILE) for s in stages)
        if needed > self.info.tiles:
            raise CapacityError(needed, self.info.tiles)
        self._layers = {s.name: _fresh(s, placement.layers[s.name]) for s in stages}
        self._placement = placement

    def program(self, layer: str, codes: Tensor) -> WriteReport:
        """Write the devices whose target changed, one pulse each; see `ChipBackend`."""
        placed = self._placed(layer)
        before = placed.cells.codes
        _check(layer, "weight", codes, before.shape, (-WEIGHT_MAX, WEIGHT_MAX))
        with self._own_randomness():
            cells, pulses = self._memory.write(placed.cells, codes.long(), self._clock)
        self._layers[layer] = placed._replace(cells=cells)
        self._clock += pulses * WRITE_TIME
        # aihwkit says what a write leaves after its verification, and no device of it fails.
        failed = torch.zeros(before.shape, dtype=torch.bool)
        return WriteReport(int((codes != before).sum()), pulses, failed)

    def trim(self, layer: str, threshold: Tensor, bias: Tensor) -> None:
        """Set the registers of each column; see `ChipBackend`."""
        placed = self._placed(layer)
        for what, codes in (("threshold trim", threshold), ("bias trim", bias)):
            _check(layer, what, codes, placed.trims[0].shape, (-TRIM_MAX - 1, TRIM_MAX))
        self._layers[layer] = placed._replace(trims=(threshold.clone(), bias.clone()))

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus to its layer and all layers above; see `ChipBackend`."""
        layers = self._reached(stimulus, record)
        signal = self._signal(stimulus, layers[0].stage)
        shown: dict[str, LayerRecording] = {}
        with self._own_randomness():
            for placed in layers:
                layer = placed._replace(cells=self._memory.read(placed.cells, self._clock))
                self._layers[layer.stage.name] = layer
                recording, signal = self._answer(layer, signal, record.get(layer.stage.name))
                shown[layer.stage.name] = recording
        self._clock += stimulus.steps * signal.shape[1] * TIME_STEP
        return Recording({name: shown[name] for name in record}, self._clock)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` on its own clock."""
        if not 0 <= seconds < math.inf:
            raise SettingError(f"A chip cannot be left alone for {seconds} s.")
        self._clock += seconds

    def now(self) -> float:
        """Return the time of the chip's clock, in seconds."""
        return self._clock

    def state(self) -> dict[str, Tensor]:
        """Return all that the chip must keep between jobs; see `Stored`."""
        kept = {
            name: {**layer.cells._asdict(), "threshold": layer.trims[0], "bias": layer.trims[1]}
            for name, layer in self._layers.items()
        }
        return to_tensors(ChipState(self._placement, kept, self._clock, self._random))

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the state that `state` returned; see `Stored`."""
        kept = from_tensors(tensors)
        self._placement, self._clock, self._random = kept.placement, kept.clock, kept.random
        self._layers = {}
        if kept.placement is None:
            return
        for stage in kept.placement.network.stages:
            found = dict(kept.layers[stage.name])
            trims = (found.pop("threshold"), found.pop("bias"))
            settings = kept.placement.layers[stage.name]
            self._layers[stage.name] = Layer(stage, settings, Cells(**found), trims)

    def advance(self, seconds: float) -> None:
        """Let the clock run on; the devices age as long."""
        self.settle(seconds)

    def _placed(self, layer: str) -> Layer:
        if layer not in self._layers:
            raise ChipError(f"No layer '{layer}' is placed on the chip.")
        return self._layers[layer]

    def _reached(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> list[Layer]:
        """Return the layers that are driven, up to the last one that is recorded."""
        names = list(self._layers)
        if not names:
            raise ChipError("No network is placed on the chip: place one first.")
        first = (
            0 if stimulus.layer is None else names.index(self._placed(stimulus.layer).stage.name)
        )
        indices = [names.index(self._placed(name).stage.name) for name in record]
        if unreached := [names[index] for index in indices if index < first]:
            raise ChipError(f"The stimulus does not reach layer '{unreached[0]}'.")
        return [self._layers[name] for name in names[first : max(indices, default=first) + 1]]

    def _signal(self, stimulus: Stimulus, stage: Stage) -> Tensor:
        """Return the input of the first layer, [time, batch, *source], full scale at one."""
        assert self._placement is not None
        values = stimulus.values.float()
        if stimulus.steps < 1:
            raise SettingError(f"A run has at least one step, not {stimulus.steps}.")
        if not values.isfinite().all():
            raise NonFiniteError("stimulus", int((~values.isfinite()).sum()))
        if stimulus.layer is None:
            top = self._placement.input_full_scale
            values = (values / top).expand(stimulus.steps, *values.shape)
        if len(values) != stimulus.steps or tuple(values.shape[2:]) != stage.source_shape:
            wanted = (stimulus.steps, "batch", *stage.source_shape)
            raise LayerShapeError(stage.name, wanted, tuple(stimulus.values.shape))
        return values

    def _answer(
        self, layer: Layer, signal: Tensor, asked: Observable | None
    ) -> tuple[LayerRecording, Tensor]:
        """Return recording and spikes of a layer."""
        assert self._placement is not None
        settings = layer.settings
        # What the converters count in: a full input through a cell of the largest conductance.
        top = self._placement.input_full_scale if layer.stage.source is None else 1.0
        unit = WEIGHT_MAX * top
        weight, full_scale = self._memory.weights(layer.cells), settings.full_scale / unit
        sums = unit * column_sums(layer.stage, weight, signal, full_scale, self.settings)
        if layer.stage.is_readout:
            return running_sums(sums, settings, layer.trims[1]), sums
        return fire(sums, settings, layer.trims, asked)

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Let aihwkit, which draws from torch's global generator, draw the numbers of this chip."""
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(self._random)
            yield
            self._random = torch.random.get_rng_state()


def _fresh(stage: Stage, settings: LayerSettings) -> Layer:
    nothing = torch.zeros(stage.columns, dtype=torch.int64)
    return Layer(stage, settings, Memory.fresh(stage.columns, stage.rows), (nothing, nothing))


def _check_supported(stage: Stage) -> None:
    if len(stage.branches) > 1:
        raise UnsupportedLayerError(stage.name, "add", "use a network without additions")
    if isinstance(stage.layer, Conv2d) and stage.layer.groups > 1:
        raise UnsupportedLayerError(stage.name, "conv2d", "a layer has one group")


def _check(
    layer: str, what: str, codes: Tensor, shape: torch.Size, limits: tuple[int, int]
) -> None:
    if codes.shape != shape or codes.is_floating_point():
        raise LayerShapeError(layer, tuple(shape), tuple(codes.shape), f"integer {what} codes")
    if codes.min() < limits[0] or codes.max() > limits[1]:
        raise CodeRangeError(layer, what, *limits)
