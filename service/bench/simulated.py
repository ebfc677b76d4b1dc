"""The spec of a simulated chip from its settings, without torch."""

from collections.abc import Mapping
from typing import Any

from chip_sim.presets import preset
from chip_sim.spec import ChipSpec


def spec_of(settings: Mapping[str, Any]) -> ChipSpec:
    """Return the preset with the overrides of the settings.

    Raises UnknownPresetError, and ValidationError if an override is not valid.
    """
    spec = without_age_limit(preset(str(settings["preset"]))).model_dump()
    return ChipSpec.model_validate(_merged(spec, settings.get("overrides") or {}))


def without_age_limit(spec: ChipSpec) -> ChipSpec:
    """Return the spec with device spread held constant past the last published measurement.

    A chip of a fleet may become older than its device was measured; no job may fail because of it.
    """
    device = spec.device.model_copy(update={"after_data": "hold"})
    return spec.model_copy(update={"device": device})


def _merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `overrides`, mapping by mapping at every depth."""
    merged = dict(base)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = _merged(base[key], value) if nested else value
    return merged
