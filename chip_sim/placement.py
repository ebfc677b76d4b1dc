"""Whether a placement fits a chip, and a placement as JSON. Readable without torch."""

import json
import math

from chip_sim.errors import LayerSettingError
from chip_sim.spec import ChipSpec, tiles_needed
from ltl_core.chip import LayerSettings, Placement
from ltl_core.errors import CapacityError, SettingError, UnsupportedLayerError
from ltl_core.network.spec import NetworkSpec


def check_network(network: NetworkSpec, spec: ChipSpec) -> None:
    """Check that a chip of this kind can hold the network.

    Raises UnsupportedLayerError for an addition of layers, CapacityError if there are too few
    tiles.
    """
    for stage in network.stages:
        if len(stage.branches) > 1:
            raise UnsupportedLayerError(
                stage.name,
                "add",
                "a column of a chip sums one matrix only; use a network without residual additions",
            )
    if (needed := tiles_needed(network, spec)) > spec.tiles:
        raise CapacityError(needed, spec.tiles)


def check_placement(placement: Placement, spec: ChipSpec) -> None:
    """Check that a chip of this kind can hold the network and its register values.

    Raises what `check_network` raises, and SettingError for a value that no register takes.
    """
    check_network(placement.network, spec)
    for stage in placement.network.stages:
        if stage.name not in placement.layers:
            raise LayerSettingError(stage.name, "there are none")
        _check_settings(stage.name, placement.layers[stage.name])
    if not (math.isfinite(placement.input_full_scale) and placement.input_full_scale > 0):
        raise SettingError("input_full_scale must be a positive number.")


def placement_to_json(placement: Placement) -> str:
    """Write a placement as JSON text; floats keep every bit."""
    return json.dumps(
        {
            "network": placement.network.model_dump(mode="json"),
            "layers": {name: list(settings) for name, settings in placement.layers.items()},
            "input_full_scale": placement.input_full_scale,
        }
    )


def placement_from_json(text: str) -> Placement:
    """Read a placement from text of `placement_to_json`.

    Raises ValueError, KeyError or TypeError if it is something else.
    """
    data = json.loads(text)
    return Placement(
        NetworkSpec.model_validate(data["network"]),
        {name: LayerSettings(*values) for name, values in data["layers"].items()},
        data["input_full_scale"],
    )


def _check_settings(layer: str, settings: LayerSettings) -> None:
    if not all(map(math.isfinite, settings)):
        raise LayerSettingError(layer, "every register must be a finite number")
    if settings.threshold <= 0 or settings.full_scale <= 0:
        raise LayerSettingError(layer, "threshold and full_scale must be above zero")
    if not 0 <= settings.decay <= 1 or settings.window < 0:
        raise LayerSettingError(layer, "decay must lie in 0 to 1 and window must not be negative")
