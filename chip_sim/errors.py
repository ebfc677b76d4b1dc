"""Errors that only the simulator raises."""

from collections.abc import Sequence

from ltl_core.errors import ChipError, SettingError


class UnknownPresetError(SettingError):
    """There is no chip preset of that name."""

    def __init__(self, preset: str, known: Sequence[str]) -> None:
        super().__init__(f"There is no chip preset '{preset}'; use one of {', '.join(known)}.")
        self.preset = preset
        self.known = tuple(known)


class LayerSettingError(SettingError):
    """A register value of a placed layer is outside of what a circuit can hold."""

    def __init__(self, layer: str, what: str) -> None:
        super().__init__(f"The settings of layer '{layer}' cannot be placed: {what}.")
        self.layer = layer


class NegativeTimeError(SettingError):
    """A chip's clock cannot go back, or to infinity."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"A chip's clock cannot advance by {seconds} s: give a finite number, zero or more."
        )
        self.seconds = seconds


class ImpossibleTemperatureError(SettingError):
    """A temperature is not above absolute zero, or infinite."""

    def __init__(self, kelvin: float) -> None:
        super().__init__(
            f"A chip cannot be at {kelvin} K: give a temperature above zero, such as 300."
        )
        self.kelvin = kelvin


class NoDataError(ChipError):
    """Devices are older than anything that was published about them."""

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
    """A layer is not placed on the chip, or the stimulus does not reach it."""

    def __init__(self, layer: str, reachable: Sequence[str]) -> None:
        known = ", ".join(reachable) if reachable else "none"
        super().__init__(
            f"Layer '{layer}' is not placed on this chip, or the stimulus does not reach it "
            f"(layers to choose from: {known})."
        )
        self.layer = layer
        self.reachable = tuple(reachable)


class ForeignStateError(ChipError):
    """A saved state belongs to another chip."""

    def __init__(self, chip_id: str, what: str) -> None:
        super().__init__(
            f"The saved state does not belong to chip {chip_id}: its {what} differs; "
            "restore it into a chip made from the same spec and seed."
        )
        self.chip_id = chip_id


class SpecFileError(SettingError):
    """A file does not describe a chip."""

    def __init__(self, file: str, where: str, reason: str) -> None:
        place = " at ".join(filter(None, (file, where))) or "The spec"
        super().__init__(f"{place}: {reason}.")
        self.file = file
        self.where = where


class UnknownSpecKeyError(SettingError):
    """A file has a key that a chip's spec does not have."""

    def __init__(self, key: str, nearest: str | None, known: Sequence[str]) -> None:
        advice = f"did you mean '{nearest}'?" if nearest else f"use one of {', '.join(known)}."
        super().__init__(f"A chip's spec has no key '{key}': {advice}")
        self.key = key
        self.nearest = nearest
        self.known = tuple(known)
