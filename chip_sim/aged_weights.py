"""The weights of a layer at one instant: what drift, noise, faults and wires have made of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim import pair
from chip_sim.clock import Clock, SpeedInterval, arrhenius, log_age
from chip_sim.errors import NoDataError
from chip_sim.flicker_noise import amplitude
from chip_sim.layer import PlacedLayer
from chip_sim.paper import levels_of, quantise
from chip_sim.physics import Physics
from chip_sim.spec import ChipSpec
from chip_sim.wire import seen_through_wire

_PART = 1 << 16  # devices at a time: what is computed of them stays in the cache
FAR_PART = 1 << 18  # on a second thread, which waits for the interpreter at every operation


def weights(layer: PlacedLayer, physics: Physics, part: int = _PART) -> Float[Tensor, "column row"]:
    """Return the weights as they are at this instant, code units; `part` cells at a time.

    Raises NoDataError if a cell is older than what was published about its kind.
    """
    spec, shape = physics.spec, layer.cells.codes.shape
    devices = _Devices(layer, physics)
    count = layer.cells.codes.numel()
    if spec.wire.segment:
        g = devices.shown(slice(0, 2 * count)).view(2, *shape)
        seen = seen_through_wire(g, layer.tiling, spec.wire.segment)
        return pair.weight(seen, spec.device, spec.code_max)
    found = torch.empty(count)
    for first in range(0, count, part):
        last = min(first + part, count)
        plus = devices.shown(slice(first, last))
        minus = devices.shown(slice(count + first, count + last))
        found[first:last] = pair.weight_of(plus, minus, spec.device, spec.code_max)
    return found.view(shape)


class _Devices:
    """The devices of a layer at this instant."""

    def __init__(self, layer: PlacedLayer, physics: Physics) -> None:
        """Compute what the devices of one write have in common. Raises NoDataError."""
        spec, model, clock, *_ = physics
        times, t0 = layer.cells.times, model.t0
        self._layer, self._model, self.moment = layer, model, times.of
        self._constants = layer.cells.constants(model, spec)
        self._spec, self._levels = spec, levels_of(spec, is_readout=layer.stage.is_readout)
        self.elapsed = (clock.now - times.moments).to(torch.float32)
        _check_age(layer, float(self.elapsed[times.oldest]), physics)
        self.log_time = log_age(self.elapsed, t0, _speeds(clock, spec))
        log_time = torch.log1p(self.elapsed / t0)
        oldest = float(log_time[times.oldest]) if model.fluctuates else 0.0
        slow = layer.flicker.components(clock.now, oldest, t0)
        self.fluctuation = [(amplitude(log_time, k), y) for k, y in enumerate(slow)]  # a_k and y_k

    def shown(self, some: slice) -> Float[Tensor, " some"]:
        """Return the conductances that some devices show, S."""
        constants = tuple(values[some] for values in self._constants)
        g = self._model.conductance(constants, _Age(self, some))
        if self._levels is not None:
            g = quantise(g, self._levels, self._spec)
        identity = self._layer.identity
        return torch.addcmul(identity.fault.g.view(-1)[some], g, identity.gain.view(-1)[some])


class _Age:
    """The age of some devices; each number is looked up by write when it is asked for."""

    def __init__(self, devices: _Devices, some: slice) -> None:
        self._devices, self._some, self._moment = devices, some, devices.moment[some]

    @property
    def elapsed(self) -> Float[Tensor, " some"]:
        """Time since the write, s."""
        return self._devices.elapsed.index_select(0, self._moment)

    @property
    def log_time(self) -> Float[Tensor, " some"]:
        """Return ln(1 + t / t0), scaled by temperature."""
        return self._devices.log_time.index_select(0, self._moment)

    @property
    def flicker(self) -> Float[Tensor, " some"]:
        """Slow 1/f noise: sum_k a_k y_k."""
        total: Tensor | None = None
        for amplitudes, component in self._devices.fluctuation:
            mine, slow = amplitudes.index_select(0, self._moment), component.of(self._some)
            total = mine.mul_(slow) if total is None else total.addcmul_(mine, slow)
        return torch.zeros(self._moment.numel()) if total is None else total


def _check_age(layer: PlacedLayer, oldest: float, physics: Physics) -> None:
    model, device = physics.model, physics.spec.device
    if oldest > model.known_until and device.after_data == "refuse":
        raise NoDataError(layer.stage.name, device.model, oldest, model.known_until)


def _speeds(clock: Clock, spec: ChipSpec) -> tuple[SpeedInterval, ...]:
    """Return how fast drift was since when; none if it always had the published speed."""
    activation = spec.device.drift_activation_ev
    speeds = tuple(
        SpeedInterval(clock.now - since, arrhenius(kelvin, spec.temperature, activation))
        for since, kelvin in clock.intervals
    )
    return () if all(interval.speed == 1.0 for interval in speeds) else speeds
