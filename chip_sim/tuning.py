"""The registers that make a chip's circuits alike; each belongs to a place, a tile and a column."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from chip_sim.checks import check_integers
from chip_sim.converter import AdcBank
from chip_sim.spec import ChipSpec
from chip_sim.tiling import Region, Tiling
from ltl_core.chip import Register, Tuning
from ltl_core.errors import CodeRangeError
from ltl_core.network.stages import Stage

_NAME = "tuning/"


class _Row(NamedTuple):
    """The registers of one tile, kept as one tensor [register, column]."""

    adc_offset: Int[Tensor, " column"]
    adc_gain: Int[Tensor, " column"]
    threshold: Int[Tensor, " column"]
    leak: Int[Tensor, " column"]


class TuningMemory:
    """The registers of every tile, whatever network is placed there; zero if it was never tuned."""

    def __init__(self, columns: int, tiles: Mapping[int, Int[Tensor, "4 _column"]]) -> None:
        self._columns = columns
        self._tiles = dict(tiles)

    def keep(self, tiling: Tiling, tuning: Tuning) -> None:
        """Set the registers under a layer; its neurons are those of the first row of tiles."""
        for region in tiling.regions:
            row, width = _row_of(tiling, region), _width(region)
            whole = self._tile(region.tile).clone()
            tile = _Row(*whole)
            tile.adc_offset[:width] = tuning.adc_offset[row, region.columns]
            tile.adc_gain[:width] = tuning.adc_gain[row, region.columns]
            if row == 0:
                tile.threshold[:width] = tuning.threshold[region.columns]
                tile.leak[:width] = tuning.leak[region.columns]
            self._tiles[region.tile] = whole

    def of(self, tiling: Tiling) -> Tuning:
        """Return the registers under a layer, with a nominal range."""
        rows: list[list[Tensor]] = [[] for _ in tiling.row_blocks]
        for region in tiling.regions:
            rows[_row_of(tiling, region)].append(self._tile(region.tile)[:, : _width(region)])
        banks = [_Row(*torch.cat(tiles, 1)) for tiles in rows]
        return Tuning(
            torch.stack([bank.adc_offset for bank in banks]),
            torch.stack([bank.adc_gain for bank in banks]),
            banks[0].threshold,
            banks[0].leak,
            adc_range=torch.zeros(len(banks), dtype=torch.int32),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the registers as tensors to be saved."""
        return {f"{_NAME}{tile}": codes for tile, codes in self._tiles.items()}

    @classmethod
    def from_tensors(cls, columns: int, tensors: Mapping[str, Tensor]) -> "TuningMemory":
        """Read what `tensors` gave; other tensors are ignored."""
        prefix = len(_NAME)
        tiles = {int(k[prefix:]): v for k, v in tensors.items() if k.startswith(_NAME)}
        return cls(columns, tiles)

    def _tile(self, tile: int) -> Int[Tensor, "4 column"]:
        untouched = torch.zeros(len(_Row._fields), self._columns, dtype=torch.int32)
        return self._tiles.get(tile, untouched)


def tuned(adcs: AdcBank, tuning: Tuning, spec: ChipSpec) -> AdcBank:
    """Return the converters with their registers: gain (1 + code lsb), offset + code lsb."""
    offset, gain = spec.tuning.adc_offset.lsb, spec.tuning.adc_gain.lsb
    return adcs._replace(
        gain=adcs.gain * (1 + gain * tuning.adc_gain),
        offset_lsb=adcs.offset_lsb + offset * tuning.adc_offset,
    )


def range_factors(tuning: Tuning, spec: ChipSpec) -> tuple[float, ...]:
    """Return the full scale of each row of tiles as a multiple of the placement's.

    It is range_factor 2^(code lsb).
    """
    lsb, factor = spec.tuning.adc_range.lsb, spec.converter.range_factor
    return tuple(factor * 2.0 ** (code * lsb) for code in tuning.adc_range.tolist())


def readout_factor(tuning: Tuning, spec: ChipSpec) -> float:
    """Return what a readout's digital sums are multiplied by: 1 + code lsb."""
    return 1 + tuning.readout_gain * register_of(spec, "readout_gain").lsb


def checked(stage: Stage, tuning: Tuning, tiling: Tiling, spec: ChipSpec) -> Tuning:
    """Return a copy of the registers if this layer's circuits can hold them.

    Raises LayerShapeError or CodeRangeError.
    """
    shapes = {
        "adc_offset": (len(tiling.row_blocks), stage.columns),
        "adc_gain": (len(tiling.row_blocks), stage.columns),
        "threshold": (stage.columns,),
        "leak": (stage.columns,),
        "adc_range": (len(tiling.row_blocks),),
    }
    gain = int(tuning.readout_gain)
    for name, codes in tuning.tensors.items():
        check_integers(stage.name, name, codes, shapes[name])
    for name, codes in (tuning.tensors | {"readout_gain": torch.tensor(gain)}).items():
        low, high, _ = register_of(spec, name)
        if codes.min() < low or codes.max() > high:
            raise CodeRangeError(stage.name, name, low, high)
    copies = {name: codes.to(torch.int32, copy=True) for name, codes in tuning.tensors.items()}
    return Tuning(**copies, readout_gain=gain)


def register_of(spec: ChipSpec, name: str) -> Register:
    """Return the codes of the register of that name; zero alone if the chip lacks it."""
    register = getattr(spec.tuning, name)
    return Register(0, 0, 0.0) if register is None else Register(*register.codes)


def _row_of(tiling: Tiling, region: Region) -> int:
    return tiling.row_blocks.index(region.rows)


def _width(region: Region) -> int:
    return int(region.columns.stop - region.columns.start)
