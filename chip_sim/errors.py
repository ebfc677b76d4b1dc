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
