"""What a simulated chip is made of: plain numbers, readable without torch.

Defaults describe no chip in particular and are perfect: every imperfection is asked for.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from ltl_core.chip import ChipInfo, Observable, Register, TuningInfo
from ltl_core.network.layers import Conv2d
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

Siemens = Annotated[float, Field(ge=0, allow_inf_nan=False, json_schema_extra={"unit": "S"})]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, json_schema_extra={"unit": "s"})]
Relative = Annotated[float, Field(ge=0, allow_inf_nan=False, json_schema_extra={"unit": "1"})]
ElectronVolts = Annotated[float, Field(ge=0, allow_inf_nan=False, json_schema_extra={"unit": "eV"})]
Ohms = Annotated[float, Field(ge=0, allow_inf_nan=False, json_schema_extra={"unit": "Ohm"})]
Kelvins = Annotated[float, Field(gt=0, allow_inf_nan=False, json_schema_extra={"unit": "K"})]
Fraction = Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "1"})]
Bits = Annotated[int, Field(ge=2, le=16)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeviceSpec(_Spec):
    """One memory cell; two of them, plus and minus, are a weight."""

    model: Literal["none", "pcm", "hermes", "reram"] = "none"
    g_min: Siemens = 0.0
    g_max: Siemens = 25e-6
    programming_scale: Relative = 1.0  # times the programming noise that the model publishes
    variation: Relative = 0.0  # sd of the logarithm of each device's fixed gain; its median is 1
    stuck: Fraction = 0.0  # part of the devices; half of them at g_min, half at g_max
    read_noise: Relative = 0.0  # sd of one device in one multiply, in parts of g_max
    drift_activation_ev: ElectronVolts = 0.2  # Arrhenius on the drift exponent; a default, no fit
    after_data: Literal["refuse", "hold"] = "refuse"  # past the published times: an error, or stay

    @model_validator(mode="after")
    def _range_is_open(self) -> "DeviceSpec":
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min {self.g_min} S is not below g_max {self.g_max} S")
        return self


class WriteSpec(_Spec):
    """How a cell is written: one blind pulse, or pulses until it is within a tolerance."""

    tolerance_sigma: Annotated[float, Field(gt=0)] | None = None  # of the device's own noise
    tolerance_siemens: Annotated[float, Field(gt=0, json_schema_extra={"unit": "S"})] | None = None
    pulses_max: PositiveInt = 1
    pulse_time: Seconds = 1e-6  # pulses of one call follow one another

    @property
    def verifies(self) -> bool:
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
    gain_sd: Relative = 0.0  # of each tile's each column's ADC
    offset_sd_lsb: Annotated[float, Field(ge=0, json_schema_extra={"unit": "LSB"})] = 0.0
    inl_sd_lsb: Annotated[float, Field(ge=0, json_schema_extra={"unit": "LSB"})] = 0.0
    columns_per_adc: PositiveInt = 1  # neighbours that take turns at one converter


class WireSpec(_Spec):
    """The wires of a tile. Without resistance, as by default, no voltage drops along them."""

    segment: Ohms = 0.0  # of a column's wire, from one row to the next


class NeuronSpec(_Spec):
    """The neuron at the end of a column; mismatch is a relative sd, drawn once a chip."""

    threshold_mismatch: Relative = 0.0
    leak_mismatch: Relative = 0.0  # of the time constant
    reset_mismatch: Relative = 0.0  # of the part of the membrane that a spike takes away
    bias_mismatch: Relative = 0.0
    dead: Fraction = 0.0  # neurons whose comparator never answers
    thermal_noise: Relative = 0.0  # sd a step, in parts of the layer's threshold
    leak_activation_ev: ElectronVolts = 0.2  # Arrhenius on the leak: a warm membrane forgets sooner


class TrimSpec(_Spec):
    """The digital registers that shift thresholds and biases."""

    bits: Bits = 8
    lsb: Annotated[float, Field(gt=0)] = 1 / 256  # of the layer's threshold: 8 bits over +-50 %


class RegisterSpec(_Spec):
    """One register: signed codes, zero in the middle."""

    bits: Bits
    lsb: Annotated[float, Field(gt=0)]

    @property
    def codes(self) -> Register:
        half = 1 << (self.bits - 1)
        return Register(-half, half - 1, self.lsb)


class TuningSpec(_Spec):
    """Registers that make circuits alike, and the facilities to test them with.

    The noises are those of a test, as good as a bench has them; nothing else ever meets them.
    """

    adc_offset: RegisterSpec = RegisterSpec(bits=6, lsb=0.5)  # LSB of the converter: +-16
    adc_gain: RegisterSpec = RegisterSpec(bits=7, lsb=1 / 128)  # +-50 %
    adc_range: RegisterSpec = RegisterSpec(bits=4, lsb=0.25)  # octaves: a quarter to 3.4 times
    threshold: RegisterSpec = RegisterSpec(bits=8, lsb=0.005)  # of the threshold: +-64 %
    leak: RegisterSpec = RegisterSpec(bits=7, lsb=0.01)  # of the time constant: +-64 %
    reference_noise_lsb: Annotated[float, Field(ge=0, json_schema_extra={"unit": "LSB"})] = 0.5
    current_noise: Relative = 0.002  # sd a step, in parts of the layer's threshold
    current_max: Annotated[float, Field(gt=0)] = 2.0  # likewise
    current_lsb: Annotated[float, Field(gt=0)] = 1 / 512  # likewise


class ChipSpec(_Spec):
    """One kind of chip. With a seed it becomes one chip."""

    model: Annotated[str, Field(min_length=1, max_length=80)] = "custom"
    device: DeviceSpec = DeviceSpec()
    write: WriteSpec = WriteSpec()
    converter: ConverterSpec = ConverterSpec()
    neuron: NeuronSpec = NeuronSpec()
    wire: WireSpec = WireSpec()
    trim: TrimSpec = TrimSpec()
    tuning: TuningSpec = TuningSpec()
    weight_bits: Annotated[int, Field(ge=1, le=12)] = 6  # beside the sign
    tile_rows: PositiveInt = 256
    tile_columns: PositiveInt = 256
    tiles: PositiveInt = 64
    time_step: Seconds = 1e-5  # all positions of a convolution share their columns within it
    endurance_writes: PositiveInt | None = None
    temperature: Kelvins = 300.0  # at which the figures above hold, and the chip starts

    @property
    def code_max(self) -> int:
        return (1 << self.weight_bits) - 1

    @property
    def trim_code_min(self) -> int:
        return -(1 << (self.trim.bits - 1))

    @property
    def trim_code_max(self) -> int:
        return (1 << (self.trim.bits - 1)) - 1


def info_of(spec: ChipSpec, chip_id: str) -> ChipInfo:
    """What the chip will say it is."""
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
    )


def groups_of(stage: Stage) -> int:
    """Into how many a convolution parts its channels; the columns of one see its rows alone."""
    return stage.layer.groups if isinstance(stage.layer, Conv2d) else 1


def tiles_of(stage: Stage, spec: ChipSpec) -> int:
    """Tiles that one layer covers: every layer, and every group of one, begins on a fresh one."""
    groups = groups_of(stage)
    width = stage.columns // groups
    return groups * _blocks(stage.rows, spec.tile_rows) * _blocks(width, spec.tile_columns)


def tiles_needed(network: NetworkSpec, spec: ChipSpec) -> int:
    """Tiles that the whole network covers."""
    return sum(tiles_of(stage, spec) for stage in network.stages)


def _blocks(length: int, block: int) -> int:
    return -(-length // block)
