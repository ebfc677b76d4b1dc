"""The spec of a simulated chip, in plain numbers. Readable without torch.

Defaults describe a perfect chip, none in particular: every imperfection is asked for.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ltl_core.chip import ChipInfo, Observable, Register, TuningInfo
from ltl_core.network.layers import Conv2d
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

Siemens = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, json_schema_extra={"unit": "S"})]
Seconds = Annotated[
    float, Field(gt=0, le=1e6, allow_inf_nan=False, json_schema_extra={"unit": "s"})
]
Relative = Annotated[
    float, Field(ge=0, le=1e3, allow_inf_nan=False, json_schema_extra={"unit": "1"})
]
ElectronVolts = Annotated[
    float, Field(ge=0, le=10, allow_inf_nan=False, json_schema_extra={"unit": "eV"})
]
Ohms = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, json_schema_extra={"unit": "Ohm"})]
Kelvins = Annotated[
    float, Field(ge=1, le=2000, allow_inf_nan=False, json_schema_extra={"unit": "K"})
]
Fraction = Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "1"})]
Bits = Annotated[int, Field(ge=2, le=16)]
Tolerance = Annotated[float, Field(gt=0, le=1, json_schema_extra={"unit": "S"})]
Writes = Annotated[int, Field(ge=1, le=10**15)]
Rank = Annotated[int, Field(ge=0, le=65_536)]
Side = Annotated[int, Field(ge=1, le=65_536)]  # rows or columns of a tile
Ratio = Annotated[float, Field(ge=1e-9, le=1e3)]
Lsb = Annotated[float, Field(ge=0, le=1e6, json_schema_extra={"unit": "LSB"})]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeviceSpec(_Spec):
    """One memory cell; two of them, plus and minus, make a weight."""

    model: Literal["none", "pcm", "hermes", "reram"] = "none"
    g_min: Siemens = 0.0
    g_max: Siemens = 25e-6
    programming_scale: Relative = 1.0  # factor of the programming noise that was published
    variation: Relative = 0.0  # sd of the logarithm of each device's fixed gain, of median 1
    stuck: Fraction = 0.0  # fraction of the devices; half of them at g_min, half at g_max
    read_noise: Relative = 0.0  # sd of one device in one multiply, as a fraction of g_max
    drift_activation_ev: ElectronVolts = 0.2  # Arrhenius on the drift exponent; a default, no fit
    after_data: Literal["refuse", "hold"] = "refuse"  # past published times: raise, or hold

    @model_validator(mode="after")
    def _range_is_open(self) -> "DeviceSpec":
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min {self.g_min} S is not below g_max {self.g_max} S")
        return self


class WriteSpec(_Spec):
    """How a cell is written: one blind pulse, or pulses until it is within a tolerance."""

    tolerance_sigma: Ratio | None = None  # in sd of programming
    tolerance_siemens: Tolerance | None = None
    pulses_max: Annotated[int, Field(ge=1, le=10_000)] = 1
    pulse_time: Seconds = 1e-6  # of one pulse; all pulses of a call follow one another

    @property
    def verifies(self) -> bool:
        """Whether cells are read after a pulse."""
        return self.tolerance_sigma is not None or self.tolerance_siemens is not None

    @model_validator(mode="after")
    def _one_tolerance_at_most(self) -> "WriteSpec":
        if self.tolerance_sigma is not None and self.tolerance_siemens is not None:
            raise ValueError("give tolerance_sigma or tolerance_siemens, not both")
        if not self.verifies and self.pulses_max != 1:
            raise ValueError("without a tolerance there is one blind pulse: pulses_max must be 1")
        return self


class ConverterSpec(_Spec):
    """The converters at the ends of rows and columns."""

    dac_bits: Bits = 8  # of the analog rows of the first layer
    adc_bits: Bits = 12
    gain_sd: Relative = 0.0  # of the ADC gains, over tiles and columns
    offset_sd_lsb: Lsb = 0.0
    inl_sd_lsb: Lsb = 0.0
    columns_per_adc: Side = 1  # neighbouring columns that share one converter
    range_factor: Ratio = 1.0  # full scale of the ADC, as a multiple of the placement's


class WireSpec(_Spec):
    """The wires of a tile; with no resistance, the default, no voltage drops along them."""

    segment: Ohms = 0.0  # resistance of a column's wire from one row to the next


class NeuronSpec(_Spec):
    """The neuron at the end of a column; mismatch is a relative sd, drawn once for each chip."""

    threshold_mismatch: Relative = 0.0
    leak_mismatch: Relative = 0.0  # of the time constant
    reset_mismatch: Relative = 0.0  # of the fraction of the membrane that a spike takes away
    bias_mismatch: Relative = 0.0
    dead: Fraction = 0.0  # fraction of the neurons whose comparator never fires
    thermal_noise: Relative = 0.0  # sd in each step, as a fraction of the layer's threshold
    leak_activation_ev: ElectronVolts = 0.2  # Arrhenius on the leak: it is faster when warm


class PaperSpec(_Spec):
    """The non-idealities of Yang et al., NeurIPS 2022, as `chip_sim/paper.py` computes them."""

    mismatch: Relative = 0.0  # sd of weights, biases, the time constant and windows
    thermal_noise: Relative = 0.0  # sd of a factor on each input of a hidden layer in each step
    silencing: Fraction = 0.0  # probability that a spike of a hidden layer is deleted
    weight_bits: Bits | None = None  # with the sign; None leaves weights as they are
    readout_quantised: bool = True  # whether `weight_bits` holds for the readout as well


class TrimSpec(_Spec):
    """The digital registers that shift thresholds and biases."""

    bits: Bits = 8
    lsb: Ratio = 1 / 256  # fraction of the layer's threshold: +-50 %


class RegisterSpec(_Spec):
    """One register with signed codes, zero in the middle."""

    bits: Bits
    lsb: Ratio  # what one code changes; TuningSpec gives the unit

    @property
    def codes(self) -> Register:
        """The codes of this register, as the port describes them."""
        half = 1 << (self.bits - 1)
        return Register(-half, half - 1, self.lsb)


class FactorSpec(RegisterSpec):
    """A register of a digital factor 1 + code * lsb, which stays above zero."""

    @property
    def codes(self) -> Register:
        """The codes of this register, as the port describes them."""
        low, high, lsb = super().codes
        return Register(max(low, 1 - math.ceil(1 / lsb)), high, lsb)


class TuningSpec(_Spec):
    """Registers that make circuits alike, and the test circuits to find their codes.

    The noise of reference and test current acts in tests alone.
    """

    adc_offset: RegisterSpec = RegisterSpec(bits=6, lsb=0.5)  # LSB of the converter: +-16
    adc_gain: RegisterSpec = RegisterSpec(bits=7, lsb=1 / 128)  # fraction of the gain: +-50 %
    adc_range: RegisterSpec = RegisterSpec(bits=5, lsb=0.25)  # octaves: a sixteenth to 13 times
    threshold: RegisterSpec = RegisterSpec(bits=8, lsb=0.005)  # fraction of the threshold: +-64 %
    leak: RegisterSpec = RegisterSpec(bits=7, lsb=0.01)  # fraction of the time constant: +-64 %
    readout_gain: FactorSpec | None = FactorSpec(bits=8, lsb=1 / 64)  # digital: 1/64 to 3 times
    reference_noise_lsb: Lsb = 0.5
    current_noise: Relative = 0.002  # sd in each step, as a fraction of the layer's threshold
    current_max: Ratio = 2.0  # multiple of the layer's threshold
    current_lsb: Ratio = 1 / 512  # multiple of the layer's threshold


class ChipSpec(_Spec):
    """One kind of chip. With a seed it becomes one chip."""

    model: Annotated[str, Field(min_length=1, max_length=80)] = "custom"
    device: DeviceSpec = DeviceSpec()
    write: WriteSpec = WriteSpec()
    converter: ConverterSpec = ConverterSpec()
    neuron: NeuronSpec = NeuronSpec()
    wire: WireSpec = WireSpec()
    paper: PaperSpec = PaperSpec()
    trim: TrimSpec = TrimSpec()
    tuning: TuningSpec = TuningSpec()
    weight_bits: Annotated[int, Field(ge=1, le=12)] = 6  # without the sign
    tile_rows: Side = 256
    tile_columns: Side = 256
    tiles: Annotated[int, Field(ge=1, le=10**6)] = 64
    time_step: Seconds = 1e-5  # all positions of a convolution take turns at their columns in it
    endurance_writes: Writes | None = None  # of one cell; None if not known
    side_rank: Rank = 0  # largest rank of a layer's digital side weights; 0: it has none
    temperature: Kelvins = 300.0  # where the figures above hold; the chip starts with it

    @property
    def code_max(self) -> int:
        """Largest weight code."""
        return (1 << self.weight_bits) - 1

    @property
    def trim_code_min(self) -> int:
        """Smallest trim code."""
        return -(1 << (self.trim.bits - 1))

    @property
    def trim_code_max(self) -> int:
        """Largest trim code."""
        return (1 << (self.trim.bits - 1)) - 1


def info_of(spec: ChipSpec, chip_id: str) -> ChipInfo:
    """Return what a chip of this kind says it is."""
    return ChipInfo(
        chip_id=chip_id,
        model=spec.model,
        tile_rows=spec.tile_rows,
        tile_columns=spec.tile_columns,
        tiles=spec.tiles,
        weight_code_max=spec.code_max,
        trim_code_min=spec.trim_code_min,
        trim_code_max=spec.trim_code_max,
        trim_lsb=spec.trim.lsb,
        observables=frozenset(Observable),
        time_step=spec.time_step,
        endurance_writes=spec.endurance_writes,
        tuning=_tuning_info(spec),
        side_rank=spec.side_rank,
    )


def _tuning_info(spec: ChipSpec) -> TuningInfo:
    tuning = spec.tuning
    return TuningInfo(
        adc_offset=tuning.adc_offset.codes,
        adc_gain=tuning.adc_gain.codes,
        adc_range=tuning.adc_range.codes,
        threshold=tuning.threshold.codes,
        leak=tuning.leak.codes,
        adc_code_max=(1 << (spec.converter.adc_bits - 1)) - 1,
        current_max=tuning.current_max,
        current_lsb=tuning.current_lsb,
        range_by_tile=True,
        readout_gain=None if tuning.readout_gain is None else tuning.readout_gain.codes,
    )


def groups_of(stage: Stage) -> int:
    """Return the number of groups of a convolution; the columns of one use its rows alone."""
    return stage.layer.groups if isinstance(stage.layer, Conv2d) else 1


def tiles_of(stage: Stage, spec: ChipSpec) -> int:
    """Return the number of tiles of a layer; every layer and group begins on a new one."""
    groups = groups_of(stage)
    width = stage.columns // groups
    return groups * _blocks(stage.rows, spec.tile_rows) * _blocks(width, spec.tile_columns)


def tiles_needed(network: NetworkSpec, spec: ChipSpec) -> int:
    """Return the number of tiles of the whole network."""
    return sum(tiles_of(stage, spec) for stage in network.stages)


def _blocks(length: int, block: int) -> int:
    return -(-length // block)
