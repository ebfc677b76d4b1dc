"""Errors that Tandemcal raises on purpose: a sentence for the reader, attributes for programs."""

from collections.abc import Sequence

_NAMED = 20  # names that an error lists; the rest is counted
_LONGEST_NAME = 100


class CalibrationError(Exception):
    """Root of all errors that Tandemcal raises on purpose."""


class NetworkError(CalibrationError):
    """A description of a network contradicts itself, or cannot be built."""


class UnsupportedLayerError(NetworkError):
    """A layer that is supported neither by the student nor by the chip."""

    def __init__(self, path: str, kind: str, advice: str, line: str = "") -> None:
        what = f"{kind}, {line}" if line else kind
        super().__init__(f"Layer '{path}' ({what}) is not supported: {advice}.")
        self.path = path
        self.kind = kind
        self.line = line


class LayerShapeError(NetworkError):
    """A tensor for a layer has another shape or type than the layer needs."""

    def __init__(self, layer: str, expected: object, found: object, what: str = "input") -> None:
        super().__init__(
            f"Layer '{layer}' needs {what} of shape {_shape(expected)}, but found {_shape(found)}."
        )
        self.layer = layer
        self.expected = expected
        self.found = found


class TensorsError(CalibrationError):
    """Root of errors about tensors that cannot be used."""


class CorruptTensorsError(TensorsError):
    """Bytes that are not a complete safetensors block."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"These bytes are not a complete safetensors block ({reason}); "
            "save the tensors again and send all of them."
        )


class MissingTensorError(TensorsError):
    """A tensor that the network needs is missing, or one is there that it does not know."""

    def __init__(self, missing: Sequence[str], unknown: Sequence[str]) -> None:
        parts = [f"missing {_names(missing)}"] if missing else []
        parts += [f"unknown {_names(unknown)}"] if unknown else []
        super().__init__(f"The tensors do not match the network: {'; '.join(parts)}.")
        self.missing = tuple(name[:_LONGEST_NAME] for name in missing[:_NAMED])
        self.unknown = tuple(name[:_LONGEST_NAME] for name in unknown[:_NAMED])


class NonFiniteError(TensorsError):
    """A tensor with NaN or infinity where numbers are needed."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"Tensor '{name}' holds {count} NaN or infinite values; remove or repair them first."
        )
        self.tensor = name
        self.count = count


class MissingActivationsError(MissingTensorError):
    """Samples come without the activations of a teacher whose weights are not here."""

    def __init__(self, missing: Sequence[str], unknown: Sequence[str]) -> None:
        super().__init__(missing, unknown)
        self.args = (
            "The weights of this teacher are not here, so that each chunk must hold the "
            f"activations and logits of its samples. {self.args[0]}",
        )


class NeedlessActivationsError(TensorsError):
    """Samples come with the activations of a teacher that the service runs itself."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"The weights of this teacher are here and its activations are computed from them: "
            f"leave out {_names(names)}, or register the network alone as another teacher."
        )
        self.unknown = tuple(name[:_LONGEST_NAME] for name in names[:_NAMED])


class ActivationRangeError(TensorsError):
    """An activation that the network's layer cannot have."""

    def __init__(self, name: str, lowest: float, highest: float, allowed: str) -> None:
        super().__init__(
            f"Tensor '{name}' holds values from {lowest:g} to {highest:g}, but {allowed}: send "
            "what the layer puts out, behind its activation function."
        )
        self.tensor = name
        self.lowest = lowest
        self.highest = highest


class ForeignActivationsError(TensorsError):
    """Activations that the network cannot have computed from those of the layers before."""

    def __init__(self, layer: str, unexplained: float) -> None:
        super().__init__(
            f"The activations of layer '{layer}' do not belong to the network that was registered: "
            f"no weights give them from what the layer reads, {100 * unexplained:.0f} % of their "
            "variance is left. Check the names of the layers, that all tensors hold the samples in "
            "one order, and that the model was in evaluation mode."
        )
        self.layer = layer
        self.unexplained = unexplained


class LabelRangeError(TensorsError):
    """A label that is not the number of a class."""

    def __init__(self, lowest: int, highest: int, classes: int) -> None:
        super().__init__(
            f"Labels run from {lowest} to {highest}, but the network has {classes} classes: "
            f"labels must lie between 0 and {classes - 1}."
        )
        self.lowest = lowest
        self.highest = highest
        self.classes = classes


class DataFormatError(CalibrationError):
    """A file of samples that cannot be read."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"'{source}' cannot be read: {reason}.")
        self.source = source
        self.reason = reason


class PickleRefusedError(DataFormatError):
    """A file is a Python pickle: reading one runs whatever code it holds."""

    def __init__(self, source: str, instead: str) -> None:
        super().__init__(
            source, f"it is a Python pickle, and reading one runs whatever code is in it; {instead}"
        )


class SettingError(CalibrationError):
    """A setting or an argument is outside of what is allowed."""


class SilentLayerError(CalibrationError):
    """All activations of a teacher layer are zero, so there is no rate to teach."""

    def __init__(self, layer: str) -> None:
        super().__init__(
            f"Teacher layer '{layer}' is silent on every sample, so it has no rate to teach; check "
            "the teacher's weights or the activations that were sent, and that the inputs are "
            "scaled as they were in its training."
        )
        self.layer = layer


class ChipError(CalibrationError):
    """Root of errors about one chip."""


class ChipUnavailableError(ChipError):
    """The chip does not answer, or another run holds it."""

    def __init__(self, chip_id: str, reason: str) -> None:
        super().__init__(f"Chip {chip_id} is unavailable: {reason}.")
        self.chip_id = chip_id
        self.reason = reason


class CapacityError(ChipError):
    """The network needs more tiles than the chip has."""

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(
            f"The network needs {needed} tiles, but the chip has {available}: "
            "use a smaller network or a chip with more tiles."
        )
        self.needed = needed
        self.available = available


class TooManyPassesError(CapacityError):
    """The chip can hold the network in parts, one after the other, but this was not allowed."""

    def __init__(self, needed: int, available: int, passes: int, cells_per_run: int) -> None:
        CalibrationError.__init__(
            self,
            f"The network needs {needed} tiles, but the chip has {available}. It can be placed in "
            f"{passes} passes, which write up to {cells_per_run} cells in every run of the chip: "
            f"allow it with passes_max {passes}, or use a smaller network or a larger chip.",
        )
        self.needed = needed
        self.available = available
        self.passes = passes
        self.cells_per_run = cells_per_run


class LossCurveError(CalibrationError):
    """A loss curve that was stored cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The loss curve of the student does not fit: {reason}.")


class ShelfLifeError(CalibrationError):
    """A validity that was stored cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The validity of the version does not fit: {reason}.")


class FingerprintError(ChipError):
    """A fingerprint cannot be compared with what the chip answers now."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The fingerprint of publication does not fit: {reason}. Calibrate the chip, "
            "which takes a new one."
        )


class NotTunableError(ChipError):
    """A chip has no registers that make its circuits alike."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(
            f"Chip {chip_id} has no registers to tune, or its driver does not reach them: "
            "calibrate it as it is."
        )
        self.chip_id = chip_id


class NoSideWeightsError(ChipError):
    """A chip has no digital weights beside its arrays."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(
            f"Chip {chip_id} has no digital side weights, or its driver does not reach them: "
            "put the weights into its cells."
        )
        self.chip_id = chip_id


class CodeRangeError(ChipError):
    """A weight, trim or register code is outside of the chip's range. Nothing was written."""

    def __init__(self, layer: str, what: str, lowest: int, highest: int) -> None:
        super().__init__(
            f"The {what} codes for layer '{layer}' leave the chip's range {lowest} to {highest}; "
            "clamp them before programming."
        )
        self.layer = layer
        self.lowest = lowest
        self.highest = highest


class LeaseLostError(ChipError):
    """The lease of the chip was lost; another holder may drive it now."""

    def __init__(self, chip_id: str, token: int) -> None:
        super().__init__(
            f"The lease of chip {chip_id} with token {token} is no longer held; "
            "nothing more is written."
        )
        self.chip_id = chip_id
        self.token = token


def _shape(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _names(names: Sequence[str]) -> str:
    """Return the first names, and how many there are besides."""
    listed = ", ".join(name[:_LONGEST_NAME] for name in names[:_NAMED])
    return f"{listed} and {len(names) - _NAMED} more" if len(names) > _NAMED else listed
