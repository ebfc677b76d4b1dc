"""SimulatedChip: one chip of a kind, behind the port."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.array import ClipMeter, Watch
from chip_sim.checks import check_codes, check_trims, drive_of
from chip_sim.clock import Clock, TemperatureInterval
from chip_sim.column import Show
from chip_sim.converter import level_max
from chip_sim.devices.select import device_model
from chip_sim.errors import ForeignStateError, NotPlacedError
from chip_sim.fingerprint import fingerprint, probe_record, probe_stimulus
from chip_sim.layer import (
    Drive,
    PlacedLayer,
    Trims,
    changed,
    column_sums,
    fire,
    integrate,
    layer_tensors,
    rewrite,
    stamp,
    weights,
    with_tensors,
)
from chip_sim.layout import fresh_layers
from chip_sim.placement import check_placement, placement_from_json, placement_to_json
from chip_sim.randomness import stream
from chip_sim.spec import ChipSpec, info_of
from chip_sim.state_tensors import tensor_text, text_tensor, under
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
    Stimulus,
    Tuning,
    WriteReport,
)


def make_chip(chip_id: str, spec: ChipSpec, seed: int) -> "SimulatedChip":
    """The chip of this kind with this seed: the same one every time, as it left the fab."""
    return SimulatedChip(chip_id, spec, seed)


class SimulatedChip:
    """A crossbar chip in software. It answers at once, but its own clock runs as silicon's would.

    A run sees the weights as they are when it starts. Placing a network writes code zero into every
    cell that it covers, as code zero is also a state that has to be programmed.
    """

    def __init__(self, chip_id: str, spec: ChipSpec, seed: int) -> None:
        self._spec = spec
        self._seed = seed
        self._info = info_of(spec, chip_id)
        self._model = device_model(spec.device)
        self._clock = Clock(0.0, (TemperatureInterval(0.0, spec.temperature),))
        self._wear = Wear()
        self._tuning = TuningMemory(spec.tile_columns, {})
        self._rng = stream(seed, "life")
        self._placement: Placement | None = None
        self._layers: dict[str, PlacedLayer] = {}

    @property
    def info(self) -> ChipInfo:
        """What this chip is."""
        return self._info

    def place(self, placement: Placement) -> None:
        """Lay the layers on tiles; see the port."""
        if placement == self._placement:
            return
        check_placement(placement, self._spec)
        self._layers = self._lay_out(placement)
        self._placement = placement
        for name, layer in self._layers.items():
            everything = torch.ones_like(layer.cells.g, dtype=torch.bool)
            self._write(name, layer.cells.codes, everything)

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Write the cells whose code changed; see the port."""
        placed = self._placed(layer)
        check_codes(placed.stage, codes, self._info)
        codes = codes.to(torch.int32, copy=True)
        cells = int((codes != placed.cells.codes).sum())
        pulses, failed = self._write(layer, codes, changed(placed, codes, self._spec))
        return WriteReport(cells, pulses, failed)

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Set the digital registers of each column; see the port."""
        placed = self._placed(layer)
        for what, codes in (("threshold", threshold), ("bias", bias)):
            check_trims(placed.stage, what, codes, self._info)
        trims = Trims(threshold.to(torch.int32, copy=True), bias.to(torch.int32, copy=True))
        self._layers[layer] = placed._replace(trims=trims)

    def tuning(self, layer: str) -> Tuning:
        """What stands in the registers under a layer; see the port."""
        placed = self._placed(layer)
        return checked(placed.stage, placed.tuning, placed.tiling, self._spec)

    def tune(self, layer: str, tuning: Tuning) -> None:
        """Set the registers that make circuits alike; see the port."""
        placed = self._placed(layer)
        codes = checked(placed.stage, tuning, placed.tiling, self._spec)
        self._tuning.keep(placed.tiling, codes)
        self._layers[layer] = placed._replace(tuning=codes)

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        """Codes of every converter on the reference current; see the port."""
        codes = convert(self._placed(layer), level, repeats, (self._spec, self._rng))
        self._clock.advance(self._spec.time_step * repeats)
        return codes

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        """Spike counts of neurons on the test current; see the port."""
        parts = (self._spec, self._clock.kelvin, self._rng)
        counts = excite(self._placed(layer), current, repeats, parts)
        self._clock.advance(self._spec.time_step * len(current) * repeats)
        return counts

    def clipped(self, stimulus: Stimulus) -> Mapping[str, float]:
        """The part of each layer's conversions that ended at an end of the range; see the port."""
        reached = self._reached(stimulus)
        drive = self._drive(stimulus, reached)
        meters = {name: ClipMeter(level_max(self._spec.converter.adc_bits)) for name in reached}
        for name in reached:
            _, drive = self._answer(self._layers[name], drive, None, meters[name].watch)
        self._pass(stimulus)
        return {name: meter.part for name, meter in meters.items()}

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Play the stimulus; see the port."""
        layers = dict(self.iter_layers(stimulus, record))
        return Recording(layers, self._clock.now)

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """Layer after layer; those above the last recorded one are not computed. See the port."""
        reached = self._reached(stimulus)
        for name in record:
            if name not in reached:
                raise NotPlacedError(name, reached)
        drive = self._drive(stimulus, reached)
        for name in reached[: max((reached.index(name) + 1 for name in record), default=0)]:
            answer, drive = self._answer(self._layers[name], drive, record.get(name))
            if name in record:
                yield name, answer
        self._pass(stimulus)

    def probe(self) -> Fingerprint:
        """Mean rate of every column to a fixed random input; see the port."""
        placement = self._placed_network()
        recording = self.run(probe_stimulus(placement), probe_record(placement))
        return fingerprint(recording, placement)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for so long, on its own clock."""
        self._clock.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let the chip's time pass."""
        self._clock.advance(seconds)

    def warm(self, kelvin: float) -> None:
        """Bring the chip to this temperature, from now on."""
        self._clock.warm(kelvin)

    def temperature(self) -> float:
        """Of the chip now, K."""
        return self._clock.kelvin

    def now(self) -> float:
        """The chip's clock, seconds since it was made."""
        return self._clock.now

    def weights(self, layer: str) -> Float[Tensor, "column row"]:
        """The true weights at this instant, code units: what no bench can see."""
        return weights(self._placed(layer), self._spec, self._model, self._clock)

    def wear(self, layer: str) -> Int[Tensor, "2 column row"]:
        """Pulses so far of each device under this layer, of all networks that stood there."""
        return self._wear.of(self._placed(layer).tiling)

    def state(self) -> dict[str, Tensor]:
        """Everything that spec and seed do not say; `restore` makes the same chip of it."""
        tensors = {
            f"layer/{name}/{key}": tensor
            for name, layer in self._layers.items()
            for key, tensor in layer_tensors(layer).items()
        }
        placed = "" if self._placement is None else placement_to_json(self._placement)
        tensors |= self._wear.tensors() | self._tuning.tensors() | self._clock.tensors()
        tensors["spec"] = text_tensor(self._spec.model_dump_json())
        tensors["seed"] = torch.tensor([self._seed])
        tensors["placement"] = text_tensor(placed)
        tensors["rng"] = self._rng.get_state()
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a saved state. Raises ForeignStateError before anything is changed."""
        if ChipSpec.model_validate_json(tensor_text(tensors["spec"])) != self._spec:
            raise ForeignStateError(self._info.chip_id, "spec")
        if int(tensors["seed"]) != self._seed:
            raise ForeignStateError(self._info.chip_id, "seed")
        self._tuning = TuningMemory.from_tensors(self._spec.tile_columns, tensors)
        text = tensor_text(tensors["placement"])
        self._placement = placement_from_json(text) if text else None
        layers = self._lay_out(self._placement) if self._placement else {}
        self._layers = {
            name: with_tensors(layer, under(f"layer/{name}/", tensors))
            for name, layer in layers.items()
        }
        self._wear = Wear.from_tensors(tensors)
        self._clock = Clock.from_tensors(tensors, self._spec.temperature)
        self._rng.set_state(tensors["rng"].clone())

    def _lay_out(self, placement: Placement) -> dict[str, PlacedLayer]:
        return fresh_layers(placement, (self._spec, self._seed), self._tuning)

    def _write(self, name: str, codes: Tensor, chosen: Tensor) -> tuple[int, Tensor]:
        layer = self._layers[name]
        done = rewrite(layer, codes, chosen, (self._spec, self._model, self._rng))
        pulses = int(done.pulses.sum())
        self._clock.advance(pulses * self._spec.write.pulse_time)
        self._layers[name] = layer._replace(cells=stamp(done.cells, chosen, self._clock.now))
        self._wear.add(layer.tiling, done.pulses)
        return pulses, done.failed

    def _drive(self, stimulus: Stimulus, reached: list[str]) -> Drive:
        first = self._layers[reached[0]].stage
        return drive_of(stimulus, first, self._placed_network().input_full_scale)

    def _pass(self, stimulus: Stimulus) -> None:
        """The time that playing it takes: one sample after the other."""
        batch = stimulus.values.shape[0 if stimulus.layer is None else 1]
        self._clock.advance(self._spec.time_step * stimulus.steps * batch)

    def _answer(
        self,
        layer: PlacedLayer,
        drive: Drive,
        asked: Observable | None,
        watch: Watch | None = None,
    ) -> tuple[LayerRecording, Drive]:
        """What one layer shows, and what it plays to the next."""
        weight = weights(layer, self._spec, self._model, self._clock)
        sums = column_sums(layer, drive, weight, (self._spec, self._rng), watch)
        if layer.stage.is_readout:
            membrane = integrate(layer, sums, self._spec) if asked is Observable.MEMBRANE else None
            return LayerRecording(membrane=membrane), drive
        show = Show(asked is Observable.WINDOW, asked is Observable.MEMBRANE)
        activity = fire(layer, sums, self._spec, show, (self._clock.kelvin, self._rng))
        recording = LayerRecording(
            counts=None if asked is None else activity.spikes.sum(0, dtype=torch.int32),
            spikes=None if asked in (None, Observable.COUNTS) else activity.spikes,
            window=activity.window,
            membrane=activity.membrane,
        )
        return recording, Drive(activity.spikes.to(torch.float32), drive.steps, None)

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
