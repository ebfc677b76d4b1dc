"""What a chip of this driver can be given when it is registered."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tandemcal.backend import SettingError


class ChipSettings(NamedTuple):
    """The seed of a chip, and the figures of aihwkit that differ from one chip to another."""

    seed: int = 0
    dac_bits: int = 8
    adc_bits: int = 8
    output_noise: float = 0.06  # sd of a column sum; 1 is a cell at g_max under a full input
    programming_noise: float = 1.0  # factor of what aihwkit's noise model says; read noise alike
    read_noise: float = 1.0
    drift: float = 1.0
    tiles: int = 64


def read_settings(given: Mapping[str, Any]) -> ChipSettings:
    """Return the settings of a chip. Raises SettingError for one that is unknown or impossible."""
    unknown = sorted(set(given) - set(ChipSettings._fields))
    if unknown:
        raise SettingError(f"A chip of aihwkit has no settings {unknown}.")
    for name, value in given.items():
        kind = type(ChipSettings._field_defaults[name])
        low = 2 if name.endswith("bits") else 1 if name == "tiles" else 0
        fits = isinstance(value, (int, float) if kind is float else int)
        if not fits or isinstance(value, bool) or not low <= value < math.inf:
            raise SettingError(f"'{name}' is {kind.__name__}, {low} or more, not {value!r}.")
    return ChipSettings(**given)
