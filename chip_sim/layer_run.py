"""One layer in a run: rows are multiplied and converted, neurons fire, a readout integrates."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim import pair
from chip_sim.aged_weights import FAR_PART, weights
from chip_sim.array import TileArray, Watch, column_norms, read_columns
from chip_sim.clock import arrhenius
from chip_sim.column import NeuronParams, NeuronRecord, Registers, integrate_and_fire
from chip_sim.column import neuron_params as realise
from chip_sim.converter import level_max, transfer_of
from chip_sim.drive import Drive, row_drive
from chip_sim.layer import PlacedLayer
from chip_sim.paper import windows, with_thermal_noise
from chip_sim.physics import Physics
from chip_sim.products import RowInput
from chip_sim.side_weights import side_sums
from chip_sim.spec import ChipSpec
from chip_sim.tuning import range_factors, readout_factor, tuned
from ltl_core.chip import LayerRecording, Observable


class LayerAnswer(NamedTuple):
    """What a layer records, and what it plays into the next."""

    recording: LayerRecording
    drive: Drive


def layers_ahead(layers: Sequence[PlacedLayer], physics: Physics) -> Iterator[PlacedLayer]:
    """Yield the layers of a run, those above the first with weights that are computed ahead."""
    if not layers:
        return
    first, *above = layers
    with physics.second.used():
        coming = [
            physics.second.later(partial(weights, layer, physics, FAR_PART)) for layer in above
        ]
    try:
        yield first
        for layer, now in zip(above, coming, strict=True):
            yield layer._replace(now=now)
    finally:
        for now in coming:
            now.drop()


def run_layer(
    layer: PlacedLayer,
    drive: Drive,
    observable: Observable | None,
    physics: Physics,
    watch: Watch | None = None,
) -> LayerAnswer:
    """Run one layer over all steps and record `observable`; give each conversion to `watch`.

    Raises NoDataError if a cell is older than what was published about its kind.
    """
    sums = converted_sums(layer, drive, physics, watch)
    if layer.stage.is_readout:
        membrane = None
        if observable is Observable.MEMBRANE:
            membrane = integrate(layer, sums, physics.spec)
        return LayerAnswer(LayerRecording(membrane=membrane), drive)
    record = NeuronRecord(observable is Observable.WINDOW, observable is Observable.MEMBRANE)
    params = neurons(layer, physics.spec, physics.clock.kelvin)
    if record.window:
        drawn = windows(layer.settings.window, layer.stage.output_shape, physics.spec, physics.rng)
        params = params._replace(window=drawn)
    out = sums if sums.is_contiguous() else None  # values that are held lie there only once
    activity = integrate_and_fire(sums, params, record, physics.rng, out, physics.second)
    recording = LayerRecording(
        counts=None if observable is None else activity.spikes.sum(0).to(torch.int32),
        spikes=None if observable in (None, Observable.COUNTS) else activity.spikes.bool(),
        window=activity.window,
        membrane=activity.membrane,
    )
    return LayerAnswer(recording, Drive(activity.spikes, drive.steps, None, binary=True))


def converted_sums(
    layer: PlacedLayer, drive: Drive, physics: Physics, watch: Watch | None = None
) -> Float[Tensor, "time batch column *position"]:
    """Return what the ADCs, and the side weights, hand to the neurons at every step, code units.

    Held analog values are multiplied once; their converters answer again at every step only
    if read noise makes the answers differ. Each conversion is given to `watch`.
    """
    spec, analog = physics.spec, drive.analog_full_scale is not None
    factors = range_factors(layer.tuning, spec)
    full_scales = [layer.settings.full_scale * factor for factor in factors]
    rows = row_drive(layer.stage, drive, spec)
    noisy = spec.paper.thermal_noise > 0 and not layer.stage.is_readout
    if noisy:
        rows = with_thermal_noise(rows, drive.steps if analog else 1, spec, physics.rng)
        analog = True  # no whole numbers of spikes: every sum is added in double precision
    array = _array(layer, physics, full_scales, rows.unit, analog=analog)
    times = drive.steps if array.read_noise and analog and not noisy else 1
    played = RowInput(rows.values, times, analog, rows.binary)
    sums = read_columns(array, played, layer.stage, physics.rng, watch, physics.second)
    if layer.side is not None:
        sums.add_(side_sums(layer.side, layer.stage, rows, analog=analog))
    return sums.view(-1, drive.batch, *sums.shape[2:]).expand(drive.steps, -1, *sums.shape[2:])


def neurons(layer: PlacedLayer, spec: ChipSpec, kelvin: float) -> NeuronParams:
    """Return the layer's neurons at this temperature: a leak s times faster decays by decay**s."""
    settings, lsb = layer.settings, spec.trim.lsb * layer.settings.threshold
    speed = arrhenius(kelvin, spec.temperature, spec.neuron.leak_activation_ev)
    speed /= layer.identity.time_constant
    tuning_lsb = spec.tuning.threshold.lsb * settings.threshold
    registers = Registers(
        settings.threshold,
        settings.decay**speed,
        layer.trims.threshold * lsb + layer.tuning.threshold * tuning_lsb,
        layer.trims.bias * lsb,
        1 + layer.tuning.leak * spec.tuning.leak.lsb,
    )
    params = realise(registers, layer.identity.neuron, spec.neuron.thermal_noise, settings.window)
    return params._replace(silencing=spec.paper.silencing)


def integrate(
    layer: PlacedLayer, sums: Float[Tensor, "time batch column"], spec: ChipSpec
) -> Float[Tensor, "time batch column"]:
    """Add up the sums and biases of a readout digitally, without leak and without firing."""
    lsb = spec.trim.lsb * layer.settings.threshold
    return (sums + layer.trims.bias * lsb * (1 + layer.identity.neuron.paper_bias)).cumsum(0)


def _array(
    layer: PlacedLayer, physics: Physics, full_scales: list[float], unit: float, *, analog: bool
) -> TileArray:
    """Return the layer's tiles at this instant.

    `full_scales` of the rows of tiles are in code units, of which the row drivers play `unit`.
    """
    spec, bits = physics.spec, physics.spec.converter.adc_bits
    weight = weights(layer, physics) if layer.now is None else layer.now.result()
    blocks = layer.tiling.row_blocks
    if analog:
        weight = pair.for_analog_codes(weight)
    adcs = tuned(layer.identity.adcs, layer.tuning, spec)
    gain = readout_factor(layer.tuning, spec) if layer.stage.is_readout else 1.0
    return TileArray(
        weight,
        blocks,
        transfer_of(adcs, [scale / unit for scale in full_scales], bits),
        bits,
        pair.read_noise(spec.device, spec.code_max),
        column_norms(weight, blocks) if analog else (),
        _units([scale / unit for scale in full_scales]),
        gain * full_scales[0] / level_max(bits),
    )


def _units(full_scales: list[float]) -> tuple[float, ...]:
    """Return full scales as multiples of the first, or nothing if all are alike."""
    alike = len(set(full_scales)) == 1
    return () if alike else tuple(scale / full_scales[0] for scale in full_scales)
