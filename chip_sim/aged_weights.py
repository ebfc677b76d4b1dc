"""The weights of a layer at one instant: what drift, noise, faults and wires have made of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim import pair
from chip_sim.clock import Clock, SpeedInterval, arrhenius, log_age
from chip_sim.devices.device import Age, DeviceModel, DriftDraw
from chip_sim.errors import NoDataError
from chip_sim.layer import PlacedLayer
from chip_sim.physics import Physics
from chip_sim.spec import ChipSpec
from chip_sim.wire import seen_through_wire


def weights(layer: PlacedLayer, physics: Physics) -> Float[Tensor, "column row"]:
    """Return the weights as they are at this instant, code units.

    Raises NoDataError if a cell is older than what was published about its kind.
    """
    spec, model, clock, _ = physics
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
    log_time = log_age(elapsed, model.t0, _speeds(clock, spec))
    still = torch.zeros_like(elapsed)
    flicker = layer.flicker.at(now, elapsed, model.t0) if model.fluctuates else still
    return Age(elapsed, log_time, flicker)


def _speeds(clock: Clock, spec: ChipSpec) -> tuple[SpeedInterval, ...]:
    """Return how fast drift was since when; none if it always had the published speed."""
    activation = spec.device.drift_activation_ev
    speeds = tuple(
        SpeedInterval(clock.now - since, arrhenius(kelvin, spec.temperature, activation))
        for since, kelvin in clock.intervals
    )
    return () if all(interval.speed == 1.0 for interval in speeds) else speeds
