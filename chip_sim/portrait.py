"""Data for pictures of a kind of chip: devices over time, converters, one programmed tile."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.clock import log_age
from chip_sim.converter import convert_columns, level_max
from chip_sim.devices.device import KnownAge
from chip_sim.devices.select import device_model
from chip_sim.flicker_noise import FlickerNoise
from chip_sim.identity import tile_identity
from chip_sim.randomness import stream
from chip_sim.spec import ChipSpec
from chip_sim.writer import Fault, write
from ltl_core.chip import LayerSettings, Placement
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

YEAR = 365 * 86400.0  # s
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of g_max
_DEVICES = 2000
_TIMES = 60
_POINTS = 401


class Ageing(NamedTuple):
    """Conductances of populations of devices, each written once towards one level."""

    levels: tuple[float, ...]  # of g_max
    times: Float[Tensor, " time"]  # since the write, s
    mean: Float[Tensor, "level time"]  # S
    sd: Float[Tensor, "level time"]  # standard deviation, S
    single: Float[Tensor, "level time"]  # one device of each population, S


class Curves(NamedTuple):
    """The transfer curves of the converters of one tile."""

    sums: Float[Tensor, " point"]  # as a fraction of the full scale
    codes: Float[Tensor, "column point"]


class TileError(NamedTuple):
    """The errors of a tile programmed with random codes: weight - code, code units."""

    fresh: Float[Tensor, "column row"]
    after_a_day: Float[Tensor, "column row"]


def ageing(spec: ChipSpec, seed: int) -> Ageing:
    """Return how devices age for up to a year.

    They are written as the spec says, without stuck cells or cell variation.
    """
    model = device_model(spec.device)
    until = YEAR if spec.device.after_data == "hold" else min(YEAR, model.known_until)
    times = torch.cat((torch.zeros(1), torch.logspace(0, torch.tensor(until).log10(), _TIMES)))
    times = times.clamp(max=until)
    rng, populations = stream(seed, "portrait"), []
    free = Fault(torch.zeros(_DEVICES, dtype=torch.bool), torch.zeros(_DEVICES))
    for level in LEVELS:
        span = spec.device.g_max - spec.device.g_min
        target = torch.full((_DEVICES,), spec.device.g_min + level * span)
        g = write(target, free, model, spec.write, rng).g
        draw, flicker = model.draw_drift(target, g, rng), FlickerNoise(seed, level, (_DEVICES,))
        course = []
        for time in times.tolist():
            elapsed = torch.full((_DEVICES,), time)
            moved = flicker.at(time, elapsed, model.t0) * model.fluctuates
            age = KnownAge(elapsed, log_age(elapsed, model.t0), moved)
            course.append(model.conductance(model.constants(target, g, draw), age))
        populations.append(torch.stack(course, 1))
    whole = torch.stack(populations)
    return Ageing(LEVELS, times, whole.mean(1), whole.std(1), whole[:, 0])


def column_curves(spec: ChipSpec, seed: int) -> Curves:
    """Return the curve of every column of the chip's first tile, past its full scale."""
    sums = torch.linspace(-1.25, 1.25, _POINTS)
    adc = tile_identity(spec, seed, 0).adc
    swept = sums.expand(spec.tile_columns, -1)
    return Curves(sums, convert_columns(swept, adc, 1.0, spec.converter.adc_bits))


def tile_error(spec: ChipSpec, seed: int) -> TileError:
    """Return the errors of one full tile, programmed with codes from the whole range."""
    chip = make_chip("portrait", spec, seed)
    layer = Linear(name="tile", in_features=spec.tile_rows, out_features=spec.tile_columns)
    network = NetworkSpec(input_shape=(spec.tile_rows,), layers=(layer,))
    settings = LayerSettings(threshold=1.0, decay=1.0, window=0.0, full_scale=1.0)
    chip.place(Placement(network, {"tile": settings}, 1.0))
    shape = (spec.tile_columns, spec.tile_rows)
    top = spec.code_max
    codes = torch.randint(-top, top + 1, shape, generator=stream(seed, "portrait codes"))
    chip.program("tile", codes)
    return TileError(_error(chip, codes), _error(chip, codes, 86400.0))


def code_max(spec: ChipSpec) -> int:
    """Return the largest code of the converters."""
    return level_max(spec.converter.adc_bits)


def _error(chip: SimulatedChip, codes: Tensor, wait: float = 0.0) -> Float[Tensor, "column row"]:
    chip.advance(wait)
    return chip.weights("tile") - codes
