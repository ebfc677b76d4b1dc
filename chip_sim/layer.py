"""One layer as it stands on the chip: its cells, its registers, and how it answers."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chip_sim import pair
from chip_sim.array import Array, Play, Watch, column_norms, read_columns
from chip_sim.clock import Clock, arrhenius, log_age
from chip_sim.column import Activity, NeuronParams, Registers, Show, integrate_and_fire
from chip_sim.column import neuron_params as realise
from chip_sim.converter import converter_codes, level_max, transfer_of
from chip_sim.devices.device import Age, DeviceModel, DriftDraw
from chip_sim.errors import NoDataError
from chip_sim.flicker_noise import FlickerNoise
from chip_sim.identity import LayerIdentity
from chip_sim.row_values import pool
from chip_sim.spec import ChipSpec
from chip_sim.tiling import Tiling
from chip_sim.tuning import range_factor, tuned
from chip_sim.wire import seen_through_wire
from chip_sim.writer import Fault, Written, write
from ltl_core.chip import LayerSettings, Tuning
from ltl_core.network.stages import Stage


class Cells(NamedTuple):
    """The devices of a layer. What is drawn at a write stays until the next one."""

    codes: Int[Tensor, "column row"]
    g: Float[Tensor, "2 column row"]  # as programmed
    nu: Float[Tensor, "2 column row"]
    wander: Float[Tensor, "2 column row"]
    written_at: Float[Tensor, "2 column row"]  # the chip's clock, s, double precision


class Trims(NamedTuple):
    """Digital register codes, one a column."""

    threshold: Int[Tensor, " column"]
    bias: Int[Tensor, " column"]


class PlacedLayer(NamedTuple):
    """Everything about a layer on the chip. A write or a trim makes a new one."""

    stage: Stage
    settings: LayerSettings
    tiling: Tiling
    identity: LayerIdentity
    cells: Cells
    trims: Trims
    tuning: Tuning
    flicker: FlickerNoise


class Drive(NamedTuple):
    """What is played into the rows of a layer: spikes, or analog values held for all steps."""

    values: Float[Tensor, "*shape"]  # [time, batch, *source], or [batch, *source]
    steps: int
    analog_full_scale: float | None  # None for spikes


class Rewrite(NamedTuple):
    """One round of programming: which devices were pulsed, and how it went."""

    cells: Cells
    pulses: Int[Tensor, "2 column row"]
    failed: Bool[Tensor, "column row"]


def empty_cells(columns: int, rows: int) -> Cells:
    """Cells that were never written."""
    devices = torch.zeros(2, columns, rows)
    return Cells(
        torch.zeros(columns, rows, dtype=torch.int32),
        *(devices, devices, devices),
        devices.to(torch.float64),
    )


def rewrite(
    layer: PlacedLayer,
    codes: Int[Tensor, "column row"],
    chosen: Bool[Tensor, "2 column row"],
    parts: tuple[ChipSpec, DeviceModel, torch.Generator],
) -> Rewrite:
    """Write the chosen devices towards these codes; every other device goes on ageing.

    The new devices carry no time yet: `stamp` them when the clock has moved on.
    """
    spec, model, rng = parts
    target = pair.g_target(codes, spec.device, spec.code_max)[chosen]
    fault = Fault(layer.identity.fault.stuck[chosen], layer.identity.fault.g[chosen])
    written = write(target, fault, model, spec.write, rng)
    draw = model.draw_drift(target, written.g, rng)
    old = layer.cells
    cells = Cells(
        codes,
        _put(old.g, chosen, written.g),
        _put(old.nu, chosen, draw.nu),
        _put(old.wander, chosen, draw.wander),
        old.written_at,
    )
    return Rewrite(cells, *_spread(chosen, written))


def stamp(cells: Cells, chosen: Bool[Tensor, "2 column row"], now: float) -> Cells:
    """The chosen devices were written now."""
    return cells._replace(written_at=cells.written_at.masked_fill(chosen, now))


def changed(
    layer: PlacedLayer, codes: Int[Tensor, "column row"], spec: ChipSpec
) -> Bool[Tensor, "2 column row"]:
    """Devices whose target differs: of a pair that keeps its sign, only one."""
    before = pair.g_target(layer.cells.codes, spec.device, spec.code_max)
    return pair.g_target(codes, spec.device, spec.code_max) != before


def weights(
    layer: PlacedLayer, spec: ChipSpec, model: DeviceModel, clock: Clock
) -> Float[Tensor, "column row"]:
    """The weights as they are at this instant, code units. Raises NoDataError."""
    cells, identity = layer.cells, layer.identity
    g = model.conductance(
        pair.g_target(cells.codes, spec.device, spec.code_max),
        cells.g,
        DriftDraw(cells.nu, cells.wander),
        _age(layer, spec, model, clock),
    )
    g = torch.where(identity.fault.stuck, identity.fault.g, identity.gain * g)
    if spec.wire.segment:
        g = seen_through_wire(g, layer.tiling, spec.wire.segment)
    return pair.weight(g, spec.device, spec.code_max)


def _age(layer: PlacedLayer, spec: ChipSpec, model: DeviceModel, clock: Clock) -> Age:
    now, device = clock.now, spec.device
    elapsed = (now - layer.cells.written_at).to(torch.float32)
    oldest = float(elapsed.max())
    if oldest > model.known_until and device.after_data == "refuse":
        raise NoDataError(layer.stage.name, device.model, oldest, model.known_until)
    speeds = [
        (
            now - interval.since,
            arrhenius(interval.kelvin, spec.temperature, device.drift_activation_ev),
        )
        for interval in clock.intervals
    ]
    even = all(speed == 1.0 for _, speed in speeds)
    log_time = log_age(elapsed, model.t0, () if even else tuple(speeds))
    still = torch.zeros_like(elapsed)
    flicker = layer.flicker.at(now, elapsed, model.t0) if model.fluctuates else still
    return Age(elapsed, log_time, flicker)


def column_sums(
    layer: PlacedLayer,
    drive: Drive,
    weight: Float[Tensor, "column row"],
    parts: tuple[ChipSpec, torch.Generator],
    watch: Watch | None = None,
) -> Float[Tensor, "time batch column *position"]:
    """What the ADCs hand to the neurons at every step, code units.

    Held analog values are multiplied once; their converters answer again at every step only
    where read noise makes the answers differ. Each conversion is shown to `watch`.
    """
    spec, rng = parts
    analog = drive.analog_full_scale is not None
    full_scale = layer.settings.full_scale * range_factor(layer.tuning, spec)
    sigma = pair.read_noise(spec.device, spec.code_max)
    values, unit = _rows(layer, drive, spec)
    blocks = layer.tiling.row_blocks
    if analog:
        weight = pair.as_met_by_analog_codes(weight)
    bits = spec.converter.adc_bits
    adcs = tuned(layer.identity.adcs, layer.tuning, spec)
    transfers = tuple(transfer_of(adc, full_scale / unit, bits) for adc in adcs)
    norms = column_norms(weight, blocks) if analog else ()
    array = Array(weight, blocks, transfers, bits, sigma, norms)
    play = Play(values, drive.steps if sigma and analog else 1, analog)
    codes = read_columns(array, play, layer.stage, rng, watch)
    sums = codes.mul_(full_scale / level_max(bits))
    batch = drive.values.shape[0 if analog else 1]
    return sums.view(-1, batch, *sums.shape[2:]).expand(drive.steps, -1, *sums.shape[2:])


def fire(
    layer: PlacedLayer,
    sums: Float[Tensor, "time batch column *position"],
    spec: ChipSpec,
    show: Show,
    parts: tuple[float, torch.Generator],
) -> Activity:
    """The spikes of a layer's neurons at this temperature."""
    kelvin, rng = parts
    return integrate_and_fire(sums, neurons(layer, spec, kelvin), show, rng)


def neurons(layer: PlacedLayer, spec: ChipSpec, kelvin: float) -> NeuronParams:
    """The layer's neurons as they are: a leak that is s times faster decays by decay ** s."""
    settings, lsb = layer.settings, spec.trim.lsb * layer.settings.threshold
    speed = arrhenius(kelvin, spec.temperature, spec.neuron.leak_activation_ev)
    tuning_lsb = spec.tuning.threshold.lsb * settings.threshold
    registers = Registers(
        settings.threshold,
        settings.decay**speed,
        layer.trims.threshold * lsb + layer.tuning.threshold * tuning_lsb,
        layer.trims.bias * lsb,
        1 + layer.tuning.leak * spec.tuning.leak.lsb,
    )
    return realise(registers, layer.identity.neuron, spec.neuron.thermal_noise, settings.window)


def integrate(
    layer: PlacedLayer, sums: Float[Tensor, "time batch column"], spec: ChipSpec
) -> Float[Tensor, "time batch column"]:
    """A readout adds up sums and biases digitally, without leak and without firing."""
    lsb = spec.trim.lsb * layer.settings.threshold
    return (sums + layer.trims.bias * lsb).cumsum(0)


def layer_tensors(layer: PlacedLayer) -> dict[str, Tensor]:
    """What of this layer is not in the chip's spec, seed and placement."""
    trims = {f"trim_{name}": codes for name, codes in layer.trims._asdict().items()}
    return {**layer.cells._asdict(), **trims, "adc_range": torch.tensor(layer.tuning.adc_range)}


def with_tensors(layer: PlacedLayer, tensors: Mapping[str, Tensor]) -> PlacedLayer:
    """The layer with the cells and trims that `layer_tensors` gave."""
    cells = Cells(*(tensors[name] for name in Cells._fields))
    trims = Trims(*(tensors[f"trim_{name}"] for name in Trims._fields))
    tuning = layer.tuning._replace(adc_range=int(tensors.get("adc_range", 0)))
    return layer._replace(cells=cells, trims=trims, tuning=tuning)


def _rows(layer: PlacedLayer, drive: Drive, spec: ChipSpec) -> tuple[Tensor, float]:
    """What the row drivers play, and how much of a stimulus one unit of it is.

    Spikes, averaged over pools, are their own unit. Analog values are played as whole DAC codes.
    """
    if drive.analog_full_scale is None:
        return pool(drive.values.flatten(0, 1), layer.stage.pools), 1.0
    bits = spec.converter.dac_bits
    codes = converter_codes(pool(drive.values, layer.stage.pools), drive.analog_full_scale, bits)
    return codes, drive.analog_full_scale / level_max(bits)


def _put(
    old: Float[Tensor, "*shape"], chosen: Bool[Tensor, "*shape"], new: Float[Tensor, " device"]
) -> Float[Tensor, "*shape"]:
    return old.masked_scatter(chosen, new)


def _spread(
    chosen: Bool[Tensor, "2 column row"], written: Written
) -> tuple[Int[Tensor, "2 column row"], Bool[Tensor, "column row"]]:
    pulses = torch.zeros(chosen.shape, dtype=torch.int32).masked_scatter(chosen, written.pulses)
    failed = torch.zeros_like(chosen).masked_scatter(chosen, written.failed)
    return pulses, failed.any(0)
