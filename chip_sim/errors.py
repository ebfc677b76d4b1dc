"""What only the simulator can get wrong."""

from collections.abc import Sequence

from ltl_core.errors import ChipError, SettingError


class UnknownPresetError(SettingError):
    """No chip of that name is known."""

    def __init__(self, preset: str, known: Sequence[str]) -> None:
        super().__init__(f"There is no chip preset '{preset}'; use one of {', '.join(known)}.")
        self.preset = preset
        self.known = tuple(known)


class LayerSettingError(SettingError):
    """A register of a placed layer that no circuit can hold."""

    def __init__(self, layer: str, what: str) -> None:
        super().__init__(f"The settings of layer '{layer}' cannot be placed: {what}.")
        self.layer = layer


class NegativeTimeError(SettingError):
    """A chip's clock was to go back, or to infinity."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"A chip's clock cannot go on by {seconds} s: give a finite number, zero or more."
        )
        self.seconds = seconds


class ImpossibleTemperatureError(SettingError):
    """A temperature that is not above absolute zero."""

    def __init__(self, kelvin: float) -> None:
        super().__init__(f"A chip cannot be at {kelvin} K: give kelvins above zero, 300 is a room.")
        self.kelvin = kelvin


class NoDataError(ChipError):
    """Devices older than anything that was published about them."""

    def __init__(self, layer: str, model: str, age: float, known_until: float) -> None:
        super().__init__(
            f"Cells of layer '{layer}' were last written {age:.0f} s ago, but {model} is published "
            f"up to {known_until:.0f} s after a write: write them again, or let the chip's spec "
            "hold the last published spread (device.after_data: hold)."
        )
        self.layer = layer
        self.age = age
        self.known_until = known_until


class NotPlacedError(ChipError):
    """A layer that does not stand on the chip, or that this stimulus does not reach."""

    def __init__(self, layer: str, reachable: Sequence[str]) -> None:
        known = ", ".join(reachable) if reachable else "none"
        super().__init__(f"Layer '{layer}' is not among the layers to be had here ({known}).")
        self.layer = layer
        self.reachable = tuple(reachable)


class ForeignStateError(ChipError):
    """A saved state that belongs to another chip."""

    def __init__(self, chip_id: str, what: str) -> None:
        super().__init__(
            f"The saved state does not belong to chip {chip_id}: its {what} differs; "
            "restore it into a chip made from the same spec and seed."
        )
        self.chip_id = chip_id


class SpecFileError(SettingError):
    """A file that describes no chip."""

    def __init__(self, file: str, where: str, reason: str) -> None:
        place = " at ".join(filter(None, (file, where))) or "The spec"
        super().__init__(f"{place}: {reason}.")
        self.file = file
        self.where = where


class UnknownSpecKeyError(SettingError):
    """A key that a chip's spec does not have."""

    def __init__(self, key: str, nearest: str | None, known: Sequence[str]) -> None:
        advice = f"did you mean '{nearest}'?" if nearest else f"use one of {', '.join(known)}."
        super().__init__(f"A chip's spec has no key '{key}': {advice}")
        self.key = key
        self.nearest = nearest
        self.known = tuple(known)
