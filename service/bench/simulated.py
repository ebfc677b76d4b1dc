"""From a chip's settings to the spec of a simulated chip, without torch."""

from collections.abc import Mapping
from typing import Any

from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, tiles_needed
from ltl_core.errors import CapacityError, UnsupportedLayerError
from ltl_core.network.spec import NetworkSpec


def spec_of(settings: Mapping[str, Any]) -> ChipSpec:
    """The preset with the changes laid over it. Raises UnknownPresetError, ValidationError."""
    chosen = living(preset(str(settings["preset"]))).model_dump()
    return ChipSpec.model_validate(_overlaid(chosen, settings.get("overrides") or {}))


def living(spec: ChipSpec) -> ChipSpec:
    """A chip of a fleet grows old whether its device was published for that age or not.

    A job must not fail of it: past the published times its spread stays what it was last measured.
    """
    device = spec.device.model_copy(update={"after_data": "hold"})
    return spec.model_copy(update={"device": device})


def check_fit(network: NetworkSpec, spec: ChipSpec) -> None:
    """Would the chip take this network? Raises UnsupportedLayerError and CapacityError."""
    for stage in network.stages:
        if len(stage.branches) > 1:
            raise UnsupportedLayerError(
                stage.name, "add", "simulated chips take networks without residual additions only"
            )
    if (needed := tiles_needed(network, spec)) > spec.tiles:
        raise CapacityError(needed, spec.tiles)


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        laid[key] = _overlaid(below[key], value) if both else value
    return laid
