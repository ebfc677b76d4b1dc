"""Built-in self test of a layer's circuits: converters on a reference, neurons on a current."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.column import NeuronRecord, integrate_and_fire
from chip_sim.converter import AdcBank, column_levels, level_max
from chip_sim.layer import PlacedLayer
from chip_sim.layer_run import neurons
from chip_sim.physics import Physics
from chip_sim.spec import ChipSpec
from chip_sim.tuning import tuned
from ltl_core.errors import LayerShapeError, SettingError


def convert(
    layer: PlacedLayer, level: float, repeats: int, physics: Physics
) -> Int[Tensor, "repeat tile column"]:
    """Return codes of the converters on the reference current, which brings its own noise.

    `level` is a fraction of the full scale. Raises SettingError for a level beyond -1 to 1, and
    for fewer repeats than one.
    """
    if not -1 <= level <= 1:
        raise SettingError(f"The reference goes from -1 to 1 of the full scale, not to {level}.")
    _check_repeats(repeats)
    bits, noise = physics.spec.converter.adc_bits, physics.spec.tuning.reference_noise_lsb
    top = level_max(bits)
    answers = []
    for row in zip(*tuned(layer.identity.adcs, layer.tuning, physics.spec), strict=True):
        draws = torch.randn(layer.stage.columns, repeats, generator=physics.rng)
        levels = column_levels(draws * (noise / top) + level, AdcBank(*row), 1.0, bits)
        answers.append(levels.round_().clamp_(-top, top).to(torch.int32).T)
    return torch.stack(answers, 1)


def excite(
    layer: PlacedLayer, current: Float[Tensor, "time column"], repeats: int, physics: Physics
) -> Int[Tensor, "repeat column"]:
    """Return spike counts of neurons that the test current drives alone.

    `current` is a multiple of the layer's threshold for each step. Raises LayerShapeError for
    another shape, and SettingError for a readout, a current that is too large, or no repeats.
    """
    spec, rng = physics.spec, physics.rng
    _check_current(layer, current, spec)
    _check_repeats(repeats)
    tuning, unit = spec.tuning, layer.settings.threshold
    played = (current / tuning.current_lsb).round() * tuning.current_lsb
    shape = (len(current), repeats, layer.stage.columns)
    noise = torch.randn(shape, generator=rng) * tuning.current_noise
    params = neurons(layer, spec, physics.clock.kelvin)
    params = params._replace(bias=torch.zeros_like(params.bias))
    sums = (played[:, None].to(torch.float32) + noise) * unit
    activity = integrate_and_fire(sums, params, NeuronRecord(window=False, membrane=False), rng)
    return activity.spikes.sum(0, dtype=torch.int32)


def _check_current(layer: PlacedLayer, current: Tensor, spec: ChipSpec) -> None:
    name, limit = layer.stage.name, spec.tuning.current_max
    if layer.stage.is_readout:
        raise SettingError(f"Layer '{name}' is the readout: it has no neurons to excite.")
    if current.ndim != 2 or current.shape[1] != layer.stage.columns or not len(current):
        raise LayerShapeError(name, ("time", layer.stage.columns), tuple(current.shape), "current")
    if not current.abs().max() <= limit:
        raise SettingError(
            f"The test current goes up to {limit} thresholds of the layer: give a smaller current."
        )


def _check_repeats(repeats: int) -> None:
    if repeats < 1:
        raise SettingError("A test needs at least one repeat.")
