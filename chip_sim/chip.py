"""SimulatedChip: one chip of a kind, behind the port."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.aged_weights import weights
from chip_sim.array import ClipMeter
from chip_sim.checks import check_codes, check_side, check_trims
from chip_sim.chip_state import ChipIdentity, ChipState
from chip_sim.clock import Clock, TemperatureInterval
from chip_sim.converter import level_max
from chip_sim.devices.select import device_model
from chip_sim.drive import Drive, drive_of
from chip_sim.errors import NotPlacedError
from chip_sim.fingerprint import fingerprint, probe_record, probe_stimulus
from chip_sim.layer import PlacedLayer, Trims
from chip_sim.layer_run import layers_ahead, run_layer
from chip_sim.layout import fresh_layers
from chip_sim.physics import Physics
from chip_sim.placement import check_placement
from chip_sim.programming import changed_cells, changed_devices, rewrite
from chip_sim.randomness import stream
from chip_sim.second_thread import SecondThread
from chip_sim.spec import ChipSpec, info_of
from chip_sim.test_circuits import convert, excite
from chip_sim.tuning import TuningMemory, checked
from chip_sim.wear import Wear
from ltl_core.chip import (
    ChipInfo,
    Fingerprint,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    SideWeights,
    Stimulus,
    Tuning,
    WriteReport,
)
from ltl_core.errors import NoSideWeightsError


def make_chip(chip_id: str, spec: ChipSpec, seed: int) -> "SimulatedChip":
    """Make the chip of this kind with this seed: the same one every time, fresh from the fab."""
    return SimulatedChip(chip_id, spec, seed)


class SimulatedChip:
    """A crossbar chip in software. It answers at once, but its own clock runs as silicon's would.

    A run uses the weights as they are when it starts. Placing a network writes code zero into every
    cell that it covers, because code zero also is a state that has to be programmed. A layer that
    is not placed raises NotPlacedError; a cell older than its device's published data raises
    NoDataError, unless the spec holds the last published spread.
    """

    def __init__(self, chip_id: str, spec: ChipSpec, seed: int) -> None:
        self._identity = ChipIdentity(chip_id, spec, seed)
        self._spec = spec
        self._info = info_of(spec, chip_id)
        clock = Clock(0.0, (TemperatureInterval(0.0, spec.temperature),))
        self._physics = Physics(
            spec, device_model(spec.device), clock, stream(seed, "life"), SecondThread()
        )
        self._wear = Wear()
        self._tuning = TuningMemory(spec.tile_columns, {})
        self._placement: Placement | None = None
        self._layers: dict[str, PlacedLayer] = {}

    @property
    def info(self) -> ChipInfo:
        """Description of this chip."""
        return self._info

    def place(self, placement: Placement) -> None:
        """Lay the layers on tiles; see the port."""
        if placement == self._placement:
            return
        check_placement(placement, self._spec)
        self._layers = fresh_layers(placement, self._spec, self._identity.seed, self._tuning)
        self._placement = placement
        for name, layer in self._layers.items():
            everything = torch.arange(len(layer.cells.g))
            self._write(name, layer.cells.codes, everything)

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Write the cells whose code changed; see the port."""
        placed = self._placed(layer)
        check_codes(placed.stage, codes, self._info)
        codes = codes.to(torch.int32)
        changed = changed_cells(placed.cells, codes)
        if not changed.numel():
            return WriteReport(0, 0, torch.zeros(codes.shape, dtype=torch.bool))
        devices = changed_devices(placed.cells, changed, codes, self._spec)
        pulses, failed = self._write(layer, codes, devices)
        return WriteReport(changed.numel(), pulses, failed)

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Set the digital trim registers of each column; see the port."""
        placed = self._placed(layer)
        for what, codes in (("threshold", threshold), ("bias", bias)):
            check_trims(placed.stage, what, codes, self._info)
        trims = Trims(threshold.to(torch.int32, copy=True), bias.to(torch.int32, copy=True))
        self._layers[layer] = placed._replace(trims=trims)

    def tuning(self, layer: str) -> Tuning:
        """Return the codes of the registers under a layer; see the port."""
        placed = self._placed(layer)
        return checked(placed.stage, placed.tuning, placed.tiling, self._spec)

    def tune(self, layer: str, tuning: Tuning) -> None:
        """Set the registers that make circuits alike; see the port."""
        placed = self._placed(layer)
        codes = checked(placed.stage, tuning, placed.tiling, self._spec)
        self._tuning.keep(placed.tiling, codes)
        self._layers[layer] = placed._replace(tuning=codes)

    def set_side(self, layer: str, weights: SideWeights | None) -> None:
        """Set the digital weights beside a layer's array; see the port."""
        placed = self._placed(layer)
        if not self._info.side_rank:
            raise NoSideWeightsError(self._info.chip_id)
        if weights is not None:
            check_side(placed.stage, weights, self._info)
            down, up = (codes.to(torch.int8, copy=True) for codes in weights[:2])
            weights = weights._replace(down=down, up=up)
        self._layers[layer] = placed._replace(side=weights)

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        """Return the codes of every converter on the reference current; see the port."""
        codes = convert(self._placed(layer), level, repeats, self._physics)
        self._clock.advance(self._spec.time_step * repeats)
        return codes

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        """Return the spike counts of neurons on the test current; see the port."""
        counts = excite(self._placed(layer), current, repeats, self._physics)
        self._clock.advance(self._spec.time_step * len(current) * repeats)
        return counts

    def clipped(self, stimulus: Stimulus) -> Mapping[str, Float[Tensor, " tile"]]:
        """Return the fraction of clipped codes, by row of tiles; see the port."""
        reached = self._reached(stimulus)
        drive = self._drive(stimulus, reached)
        meters = {name: self._clip_meter(self._layers[name]) for name in reached}
        for layer in layers_ahead([self._layers[name] for name in reached], self._physics):
            watch = meters[layer.stage.name].watch
            with self._physics.second.used():
                _, drive = run_layer(layer, drive, None, self._physics, watch)
        self._pass(stimulus)
        return {name: meter.fractions for name, meter in meters.items()}

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus; see the port."""
        layers = dict(self.iter_layers(stimulus, record))
        return Recording(layers, self._clock.now)

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """Yield layer after layer; those above the last recorded one are not computed.

        See the port.
        """
        reached = self._reached(stimulus)
        for name in record:
            if name not in reached:
                raise NotPlacedError(name, reached)
        drive = self._drive(stimulus, reached)
        last = max((reached.index(name) + 1 for name in record), default=0)
        needed = [self._layers[name] for name in reached[:last]]
        for layer in layers_ahead(needed, self._physics):
            name = layer.stage.name
            with self._physics.second.used():
                answer, drive = run_layer(layer, drive, record.get(name), self._physics)
            if name in record:
                yield name, answer
        self._pass(stimulus)

    def probe(self) -> Fingerprint:
        """Return the mean rate of every column for a fixed random input; see the port."""
        placement = self._placed_network()
        recording = self.run(probe_stimulus(placement), probe_record(placement))
        return fingerprint(recording, placement)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` of its own clock. Raises NegativeTimeError."""
        self._clock.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let the chip's time pass, s. Raises NegativeTimeError."""
        self._clock.advance(seconds)

    def warm(self, kelvin: float) -> None:
        """Set the chip's temperature from now on, K. Raises ImpossibleTemperatureError."""
        self._clock.warm(kelvin)

    def temperature(self) -> float:
        """Return the temperature of the chip now, K."""
        return self._clock.kelvin

    def now(self) -> float:
        """Return the chip's clock, seconds since it was made."""
        return self._clock.now

    def weights(self, layer: str) -> Float[Tensor, "column row"]:
        """Return the true weights at this instant, code units; no bench can read them."""
        return weights(self._placed(layer), self._physics)

    def wear(self, layer: str) -> Int[Tensor, "2 column row"]:
        """Return the pulses so far of each device under a layer, whatever network was placed."""
        return self._wear.of(self._placed(layer).tiling)

    def state(self) -> dict[str, Tensor]:
        """Return all that spec and seed do not say; `restore` makes the same chip of it."""
        state = ChipState(
            self._placement,
            self._layers,
            self._tuning,
            self._wear,
            self._clock,
            self._physics.rng.get_state(),
        )
        return state.tensors(self._identity)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a saved state. Raises ForeignStateError before anything is changed."""
        state = ChipState.from_tensors(tensors, self._identity)
        self._placement, self._layers = state.placement, state.layers
        self._tuning, self._wear = state.tuning, state.wear
        self._physics.rng.set_state(state.rng_state)
        self._physics = self._physics._replace(clock=state.clock)

    @property
    def _clock(self) -> Clock:
        return self._physics.clock

    def _write(self, name: str, codes: Tensor, devices: Tensor) -> tuple[int, Tensor]:
        layer = self._layers[name]
        done = rewrite(layer, codes, devices, self._physics)
        pulses = int(done.pulses.sum())
        self._clock.advance(pulses * self._spec.write.pulse_time)
        layer.cells.times.write(devices, self._clock.now)
        self._wear.add(layer.tiling, devices, done.pulses)
        return pulses, done.failed

    def _drive(self, stimulus: Stimulus, reached: list[str]) -> Drive:
        first = self._layers[reached[0]].stage
        return drive_of(stimulus, first, self._placed_network().input_full_scale)

    def _clip_meter(self, layer: PlacedLayer) -> ClipMeter:
        top = level_max(self._spec.converter.adc_bits)
        return ClipMeter(top, len(layer.tiling.row_blocks))

    def _pass(self, stimulus: Stimulus) -> None:
        """Let the time of a run pass: one sample after the other."""
        batch = stimulus.values.shape[0 if stimulus.layer is None else 1]
        self._clock.advance(self._spec.time_step * stimulus.steps * batch)

    def _reached(self, stimulus: Stimulus) -> list[str]:
        names = [stage.name for stage in self._placed_network().network.stages]
        if stimulus.layer is None:
            return names
        return names[names.index(self._placed(stimulus.layer).stage.name) :]

    def _placed_network(self) -> Placement:
        if self._placement is None:
            raise NotPlacedError("input", ())
        return self._placement

    def _placed(self, layer: str) -> PlacedLayer:
        if layer not in self._layers:
            raise NotPlacedError(layer, tuple(self._layers))
        return self._layers[layer]
