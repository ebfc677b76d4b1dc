"""How often each device was pulsed, by its place on the chip, whatever network was placed."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from chip_sim.tiling import Tiling

_NAME = "wear/"


class _Added(NamedTuple):
    """Pulses of the devices under one layer that its tiles do not count yet."""

    tiling: Tiling
    pulses: Int[Tensor, "2 column row"]


class Wear:
    """The pulses of every device that was ever written; only the used corner of a tile is kept.

    They are added up layer by layer, and are brought to the tiles when somebody asks for them.
    """

    def __init__(self, tiles: Mapping[int, Int[Tensor, "2 _column _row"]] | None = None) -> None:
        self._tiles = dict(tiles or {})
        self._added: dict[int, _Added] = {}  # by the first tile of a layer

    def add(
        self, tiling: Tiling, devices: Int[Tensor, " some"], pulses: Int[Tensor, " some"]
    ) -> None:
        """Count pulses of these devices under a layer, numbered as they lie in [2, column, row]."""
        first = tiling.regions[0].tile
        if first in self._added and self._added[first].tiling != tiling:
            self._bring_to_tiles()
        if first not in self._added:
            self._added[first] = _Added(tiling, _none(tiling))
        self._added[first].pulses.view(-1).index_add_(0, devices, pulses)

    def of(self, tiling: Tiling) -> Int[Tensor, "2 column row"]:
        """Return the pulses so far of the devices under a layer."""
        self._bring_to_tiles()
        total = _none(tiling)
        for region in tiling.regions:
            here = total[:, region.columns, region.rows]
            if (tile := self._tiles.get(region.tile)) is not None:
                here += tile[:, : here.shape[1], : here.shape[2]]
        return total

    def tensors(self) -> dict[str, Tensor]:
        """Return the pulses as tensors to be saved."""
        self._bring_to_tiles()
        return {f"{_NAME}{tile}": pulses for tile, pulses in self._tiles.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Wear":
        """Read what `tensors` gave; other tensors are ignored."""
        prefix = len(_NAME)
        return cls({int(k[prefix:]): v for k, v in tensors.items() if k.startswith(_NAME)})

    def _bring_to_tiles(self) -> None:
        for tiling, pulses in self._added.values():
            for region in tiling.regions:
                here = pulses[:, region.columns, region.rows]
                self._tiles[region.tile] = _sum(self._tiles.get(region.tile), here)
        self._added.clear()


def _none(tiling: Tiling) -> Int[Tensor, "2 column row"]:
    shape = (2, tiling.column_blocks[-1].stop, tiling.row_blocks[-1].stop)
    return torch.zeros(shape, dtype=torch.int32)


def _sum(old: Tensor | None, new: Tensor) -> Tensor:
    if old is None:
        return new.clone()
    shape = (2, max(old.shape[1], new.shape[1]), max(old.shape[2], new.shape[2]))
    total = old.new_zeros(shape)
    total[:, : old.shape[1], : old.shape[2]] += old
    total[:, : new.shape[1], : new.shape[2]] += new
    return total
