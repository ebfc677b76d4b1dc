"""What is played into the rows of a layer."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from chip_sim.converter import converter_codes, level_max
from chip_sim.row_values import pool
from chip_sim.spec import ChipSpec
from ltl_core.chip import Stimulus
from ltl_core.errors import LayerShapeError, NonFiniteError, SettingError
from ltl_core.network.stages import Stage


class Drive(NamedTuple):
    """Spikes [time, batch, *source], or analog values [batch, *source] held for all steps."""

    values: Float[Tensor, "*shape"]
    steps: int
    analog_full_scale: float | None  # input units; None for spikes
    binary: bool = False  # whether every value is known to be 0 or 1

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.values.shape[1 if self.analog_full_scale is None else 0]


class RowDrive(NamedTuple):
    """What the row drivers play, and how much of a stimulus one unit of it is."""

    values: Float[Tensor, "*shape"]  # [batch, *input] in DAC codes, or [time * batch, *input]
    unit: float
    binary: bool = False  # whether every value is known to be 0 or 1


def drive_of(stimulus: Stimulus, stage: Stage, input_full_scale: float) -> Drive:
    """Return the stimulus as it is played into this layer.

    Raises SettingError for no steps, LayerShapeError for values of another shape, and
    NonFiniteError for NaN or infinity among them.
    """
    if stimulus.steps < 1:
        raise SettingError("A stimulus needs at least one step.")
    values, analog = stimulus.values, stimulus.layer is None
    lead = ("batch",) if analog else (stimulus.steps, "batch")
    fits = tuple(values.shape[len(lead) :]) == stage.source_shape
    if not fits or (not analog and values.shape[0] != stimulus.steps):
        raise LayerShapeError(stage.name, (*lead, *stage.source_shape), tuple(values.shape))
    finite = values.isfinite()
    if not finite.all():
        raise NonFiniteError("stimulus", int((~finite).sum()))
    return Drive(values.float(), stimulus.steps, input_full_scale if analog else None)


def row_drive(stage: Stage, drive: Drive, spec: ChipSpec) -> RowDrive:
    """Pool what reaches a layer, and convert analog values to whole DAC codes.

    Spikes, averaged over pools, are their own unit; they come as [time * batch, *input].
    """
    if drive.analog_full_scale is None:
        rows = pool(drive.values.flatten(0, 1), stage.pools)
        return RowDrive(rows, 1.0, drive.binary and not stage.pools)
    bits, full_scale = spec.converter.dac_bits, drive.analog_full_scale
    codes = converter_codes(pool(drive.values, stage.pools), full_scale, bits)
    return RowDrive(codes, full_scale / level_max(bits))
