"""The imperfections of one chip, drawn once from its seed: mismatch and faults, never noise.

Each belongs to a physical place (tile, column, row), whatever network is placed there. Each kind
has its own stream of random numbers, so that turning one on leaves the others as they are.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chip_sim.converter import AdcBank
from chip_sim.paper import bias_factors, time_constant, weight_factors
from chip_sim.randomness import stream
from chip_sim.spec import ChipSpec
from chip_sim.tiling import Tiling
from chip_sim.writer import Fault


class NeuronMismatch(NamedTuple):
    """Relative errors of the neuron circuits, one for each column."""

    threshold: Float[Tensor, " column"]
    leak: Float[Tensor, " column"]
    reset: Float[Tensor, " column"]
    bias: Float[Tensor, " column"]
    paper_bias: Float[Tensor, " column"]  # of every bias, also where a digital register holds it
    dead: Bool[Tensor, " column"]


class TileIdentity(NamedTuple):
    """The imperfections of one tile."""

    gain: Float[Tensor, "2 column row"]  # factor of each device; verification does not see it
    fault: Fault
    adc: AdcBank
    neuron: NeuronMismatch


class LayerIdentity(NamedTuple):
    """The imperfections under one layer.

    What a device of conductance g shows is gain * g + fault.g, whether it is stuck or not.
    """

    gain: Float[Tensor, "2 column row"]  # zero where a device is stuck
    fault: Fault  # g is zero where a device is not stuck
    adcs: AdcBank  # [tile, column]: one for each row of tiles
    neuron: NeuronMismatch  # of the first row of tiles: the sums of the others are brought there
    time_constant: float  # multiple of nominal, the same for the whole chip


def tile_identity(spec: ChipSpec, seed: int, tile: int) -> TileIdentity:
    """Draw the imperfections of one tile."""
    cells = (2, spec.tile_columns, spec.tile_rows)
    gain = torch.exp(spec.device.variation * _normal(cells, stream(seed, tile, "gain")))
    return TileIdentity(
        gain.mul_(weight_factors(spec, seed, tile)),
        _faults(spec, seed, tile),
        _adcs(spec, seed, tile),
        _neurons(spec, seed, tile),
    )


def layer_identity(spec: ChipSpec, seed: int, tiling: Tiling) -> LayerIdentity:
    """Put together the imperfections of the tiles under a layer."""
    rows, columns = tiling.row_blocks[-1].stop, tiling.column_blocks[-1].stop
    gain = torch.empty(2, columns, rows)
    fault = Fault(torch.empty(2, columns, rows, dtype=torch.bool), torch.empty(2, columns, rows))
    circuits: dict[int, list[tuple[AdcBank, NeuronMismatch]]] = {}
    for region in tiling.regions:
        tile = tile_identity(spec, seed, region.tile)
        width, height = _length(region.columns), _length(region.rows)
        there, here = (slice(None), region.columns, region.rows), (..., slice(width), slice(height))
        stuck = tile.fault.stuck[here]
        gain[there] = tile.gain[here].masked_fill(stuck, 0.0)
        fault.stuck[there] = stuck
        fault.g[there] = tile.fault.g[here].masked_fill(~stuck, 0.0)
        circuits.setdefault(region.rows.start, []).append(
            (
                AdcBank(*(values[:width] for values in tile.adc)),
                NeuronMismatch(*(values[:width] for values in tile.neuron)),
            )
        )
    rows_of_tiles = list(circuits.values())
    banks = [_join([adc for adc, _ in row]) for row in rows_of_tiles]
    adcs = AdcBank(*(torch.stack(tiles) for tiles in zip(*banks, strict=True)))
    neuron = NeuronMismatch(*_join([neuron for _, neuron in rows_of_tiles[0]]))
    return LayerIdentity(gain, fault, adcs, neuron, time_constant(spec, seed))


def _faults(spec: ChipSpec, seed: int, tile: int) -> Fault:
    device = spec.device
    shape = (2, spec.tile_columns, spec.tile_rows)
    lot = torch.rand(shape, generator=stream(seed, tile, "stuck"))
    at_g_min = lot < device.stuck / 2
    g = torch.where(at_g_min, torch.tensor(device.g_min), torch.tensor(device.g_max))
    return Fault(lot < device.stuck, g)


def _adcs(spec: ChipSpec, seed: int, tile: int) -> AdcBank:
    """Draw the converters of a tile, one for every group of neighbouring columns."""
    converter, columns = spec.converter, torch.arange(spec.tile_columns)
    group = columns // converter.columns_per_adc

    def drawn(what: str) -> Tensor:
        return _normal((spec.tile_columns,), stream(seed, tile, what))[group]

    return AdcBank(
        1 + converter.gain_sd * drawn("adc gain"),
        converter.offset_sd_lsb * drawn("adc offset"),
        converter.inl_sd_lsb * drawn("adc inl"),
    )


def _neurons(spec: ChipSpec, seed: int, tile: int) -> NeuronMismatch:
    columns, neuron = (spec.tile_columns,), spec.neuron
    lot = torch.rand(columns, generator=stream(seed, tile, "dead"))
    return NeuronMismatch(
        neuron.threshold_mismatch * _normal(columns, stream(seed, tile, "threshold")),
        neuron.leak_mismatch * _normal(columns, stream(seed, tile, "leak")),
        neuron.reset_mismatch * _normal(columns, stream(seed, tile, "reset")),
        neuron.bias_mismatch * _normal(columns, stream(seed, tile, "bias")),
        bias_factors(spec, seed, tile) - 1,
        lot < neuron.dead,
    )


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)


def _length(block: slice) -> int:
    return int(block.stop - block.start)


def _join(tiles: list[AdcBank] | list[NeuronMismatch]) -> list[Tensor]:
    return [torch.cat(columns) for columns in zip(*tiles, strict=True)]
