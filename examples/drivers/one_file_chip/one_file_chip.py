"""Example of a driver in one file: a simple chip in software, in place of a real one.

Every cell holds its code with a gain error of its own, every neuron has a threshold of its own, and
every column sum is noisy. It has no `probe`: a fixed input is presented with `run`. Install it
beside Tandemcal, test it, and register a chip of it:

    pip install . 'tandemcal[testing]'
    pytest -rs --pyargs tandemcal.testing --chip one_file_chip:make_chip

    client.chips.register_backend("my chip", "one-file", {"seed": 1})
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tandemcal.backend import (
    CapacityError,
    ChipInfo,
    CodeRangeError,
    LayerRecording,
    LayerSettings,
    LayerShapeError,
    Observable,
    Placement,
    Recording,
    Stimulus,
    UnsupportedLayerError,
    WriteReport,
)
from tandemcal.network import Conv2d, Stage

TILE = 256  # rows and columns of one tile
TILES = 64
WEIGHT_MAX, TRIM_MAX, TRIM_LSB = 63, 127, 1 / 256  # the codes that students are trained in
TIME_STEP, WRITE_TIME = 1e-6, 1e-6  # s
GAIN_ERROR, THRESHOLD_ERROR, NOISE = 0.15, 0.1, 0.02  # relative; of the threshold


class Layer(NamedTuple):
    """One placed layer: its registers, its codes, and what its circuits are like."""

    stage: Stage
    settings: LayerSettings
    codes: Tensor  # [column, row]
    gain: Tensor  # [column, row], of each cell
    threshold: Tensor  # [column], of each neuron, in threshold units
    trims: tuple[Tensor, Tensor]  # threshold and bias codes, [column] each


def make_chip(chip_id: str, settings: Mapping[str, Any]) -> "OneFileChip":
    """Open a chip; the settings are those that it was registered with."""
    return OneFileChip(chip_id, int(settings.get("seed", 0)))


class OneFileChip:
    """A chip of 64 tiles of 256 x 256 cells."""

    def __init__(self, chip_id: str, seed: int) -> None:
        self.info = ChipInfo(
            *(chip_id, "one-file", TILE, TILE, TILES, WEIGHT_MAX, -TRIM_MAX - 1, TRIM_MAX),
            *(TRIM_LSB, frozenset(Observable), TIME_STEP, None),
        )
        self._seed, self._clock = seed, 0.0
        self._noise = torch.Generator().manual_seed(seed)
        self._placement: Placement | None = None
        self._layers: dict[str, Layer] = {}

    def place(self, placement: Placement) -> None:
        """Place the layers on tiles; see `ChipBackend`."""
        if placement == self._placement:
            return
        stages = placement.network.stages
        for stage in stages:
            if len(stage.branches) > 1:
                raise UnsupportedLayerError(stage.name, "add", "use a network without additions")
        needed = sum(math.ceil(s.rows / TILE) * math.ceil(s.columns / TILE) for s in stages)
        if needed > TILES:
            raise CapacityError(needed, TILES)
        made = torch.Generator().manual_seed(self._seed)  # the same circuits every time
        self._layers = {s.name: _fresh(s, placement.layers[s.name], made) for s in stages}
        self._placement = placement

    def program(self, layer: str, codes: Tensor) -> WriteReport:
        """Write the cells whose code changed; see `ChipBackend`."""
        placed = self._layers[layer]
        _check(layer, "weight", codes, placed.codes.shape, (-WEIGHT_MAX, WEIGHT_MAX))
        cells = int((codes != placed.codes).sum())
        self._clock += cells * WRITE_TIME
        self._layers[layer] = placed._replace(codes=codes.clone())
        return WriteReport(cells, cells, torch.zeros_like(codes, dtype=torch.bool))

    def trim(self, layer: str, threshold: Tensor, bias: Tensor) -> None:
        """Set the registers of each column; see `ChipBackend`."""
        placed = self._layers[layer]
        for what, codes in (("threshold trim", threshold), ("bias trim", bias)):
            _check(layer, what, codes, placed.threshold.shape, (-TRIM_MAX - 1, TRIM_MAX))
        self._layers[layer] = placed._replace(trims=(threshold.clone(), bias.clone()))

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus to its layer and all layers above; see `ChipBackend`."""
        layers = list(self._reached(stimulus.layer))
        signal, shown = self._signal(stimulus, layers[0].stage), {}
        self._clock += signal.shape[0] * signal.shape[1] * TIME_STEP
        for layer in layers:
            sums = self._column_sums(layer, signal)
            recording, signal = _fire(layer, sums, record.get(layer.stage.name))
            if layer.stage.name in record:
                shown[layer.stage.name] = recording
        return Recording({name: shown[name] for name in record}, self._clock)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` on its own clock."""
        self._clock += seconds

    def now(self) -> float:
        """Return the time of the chip's clock, in seconds."""
        return self._clock

    def _reached(self, first: str | None) -> Iterator[Layer]:
        names = list(self._layers)
        yield from (self._layers[n] for n in names[0 if first is None else names.index(first) :])

    def _signal(self, stimulus: Stimulus, stage: Stage) -> Tensor:
        """Return the input of the first layer, [time, batch, *source]."""
        assert self._placement is not None
        values, top = stimulus.values.float(), self._placement.input_full_scale
        if stimulus.layer is None:
            values = values.clamp(-top, top).expand(stimulus.steps, *values.shape)
        if values.shape[0] != stimulus.steps or tuple(values.shape[2:]) != stage.source_shape:
            wanted = (stimulus.steps, "batch", *stage.source_shape)
            raise LayerShapeError(stage.name, wanted, tuple(stimulus.values.shape))
        return values

    def _column_sums(self, layer: Layer, signal: Tensor) -> Tensor:
        """Return the sums of every step, [time, batch, *output], noisy and limited by the ADC."""
        stage, flat = layer.stage, signal.flatten(0, 1)
        for pool in stage.pools:
            flat = F.avg_pool2d(flat, pool.kernel, pool.stride)
        weight = (layer.codes * layer.gain).view(stage.layer.weight_shape)
        if isinstance(stage.layer, Conv2d):
            kind = stage.layer
            sums = F.conv2d(flat, weight, None, kind.stride, kind.padding, groups=kind.groups)
        else:
            sums = F.linear(flat.flatten(1), weight)
        noise = torch.randn(sums.shape, generator=self._noise) * NOISE * layer.settings.threshold
        top = layer.settings.full_scale
        return (sums + noise).clamp(-top, top).view(*signal.shape[:2], *stage.output_shape)


def _fresh(stage: Stage, settings: LayerSettings, made: torch.Generator) -> Layer:
    size, nothing = (stage.columns, stage.rows), torch.zeros(stage.columns, dtype=torch.int64)
    gain = 1 + GAIN_ERROR * torch.randn(size, generator=made)
    threshold = 1 + THRESHOLD_ERROR * torch.randn(stage.columns, generator=made)
    codes = torch.zeros(size, dtype=torch.int64)
    return Layer(stage, settings, codes, gain, threshold.clamp(min=0.5), (nothing, nothing))


def _check(
    layer: str, what: str, codes: Tensor, shape: torch.Size, limits: tuple[int, int]
) -> None:
    if codes.shape != shape or codes.is_floating_point():
        raise LayerShapeError(layer, tuple(shape), tuple(codes.shape), f"integer {what} codes")
    if codes.min() < limits[0] or codes.max() > limits[1]:
        raise CodeRangeError(layer, what, *limits)


def _fire(layer: Layer, sums: Tensor, asked: Observable | None) -> tuple[LayerRecording, Tensor]:
    """Return recording and spikes of a layer, by u' = decay u (1 - s) + sum + bias."""
    unit, columns = layer.settings.threshold, (-1, *(1,) * (sums.dim() - 3))
    threshold_trim, bias_trim = (trim.view(columns) * TRIM_LSB * unit for trim in layer.trims)
    if layer.stage.is_readout:
        membrane = (sums + bias_trim).cumsum(0) if asked is Observable.MEMBRANE else None
        return LayerRecording(membrane=membrane), sums
    threshold = layer.threshold.view(columns) * unit + threshold_trim
    potentials, spikes = torch.empty_like(sums), torch.zeros_like(sums)
    membrane, fired = torch.zeros_like(sums[0]), torch.zeros_like(sums[0])
    for step, current in enumerate(sums):
        membrane = layer.settings.decay * membrane * (1 - fired) + current + bias_trim
        fired = (membrane > threshold).float()
        potentials[step], spikes[step] = membrane, fired
    near = (potentials - threshold).abs() < layer.settings.window
    recording = LayerRecording(
        counts=spikes.sum(0).int(),
        spikes=None if asked is Observable.COUNTS else spikes.bool(),
        window=near if asked is Observable.WINDOW else None,
        membrane=potentials if asked is Observable.MEMBRANE else None,
    )
    return recording, spikes
