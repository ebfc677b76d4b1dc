"""What a driver or an agent says of its chip: the schema of `info`.

The service hands the information on as it is. These models say how it looks, so that a client of
another language knows its fields; `service/bench/protocol/chip_info.py` checks what agents send.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_MOST = 10**15
_Count = Annotated[int, Field(ge=1, le=_MOST)]
_Code = Annotated[int, Field(ge=-_MOST, le=_MOST)]
_Positive = Annotated[float, Field(gt=0, le=_MOST)]
_Text = Annotated[str, Field(max_length=200)]
_Observable = Annotated[str, Field(pattern="^(counts|spikes|window|membrane)$")]


class RegisterInfo(BaseModel):
    """The codes that a tuning register takes; code zero leaves a circuit as it was made."""

    model_config = ConfigDict(frozen=True)

    code_min: _Code
    code_max: _Code
    lsb: float = Field(ge=-_MOST, le=_MOST)  # what one code changes


class ChipTuningInfo(BaseModel):
    """The registers that make a chip's circuits alike, and the range of its test circuits."""

    model_config = ConfigDict(frozen=True)

    adc_offset: RegisterInfo  # lsb in LSB of the converter
    adc_gain: RegisterInfo  # lsb as a fraction of the gain
    adc_range: RegisterInfo  # lsb in octaves: one code scales the full scale by 2 ** lsb
    threshold: RegisterInfo  # lsb as a fraction of the layer's threshold
    leak: RegisterInfo  # lsb as a fraction of the nominal time constant
    adc_code_max: _Code  # converters answer -adc_code_max to +adc_code_max
    current_max: float = Field(ge=-_MOST, le=_MOST)  # largest test current, threshold units
    current_lsb: float = Field(ge=-_MOST, le=_MOST)  # step of the test current, threshold units
    range_by_tile: bool = False  # whether each row of tiles has a range of its own
    readout_gain: RegisterInfo | None = None  # lsb as a fraction of the gain


class ChipInformation(BaseModel):
    """What a chip is: its identity, its size, and the codes that it takes."""

    model_config = ConfigDict(frozen=True)

    chip_id: _Text
    model: _Text
    tile_rows: _Count  # rows of one crossbar tile
    tile_columns: _Count  # columns of one crossbar tile
    tiles: _Count  # number of tiles
    weight_code_max: _Count  # weight codes run from -weight_code_max to +weight_code_max
    trim_code_min: int = Field(ge=-_MOST, le=0)
    trim_code_max: int = Field(ge=0, le=_MOST)
    trim_lsb: _Positive  # what one trim code shifts, as a fraction of the layer's threshold
    observables: list[_Observable] = Field(min_length=1, max_length=16)
    time_step: _Positive = Field(json_schema_extra={"unit": "s"})  # duration of one step
    # Writes that one cell survives; null if it is not known.
    endurance_writes: int | None = Field(ge=-_MOST, le=_MOST)
    tuning: ChipTuningInfo | None = None  # null if the chip has no registers to tune
    side_rank: int = Field(default=0, ge=0, le=_MOST)  # largest rank of a layer's side weights
    threshold_trims: bool = True  # if not, the trims of thresholds are always zero


class NothingKnown(BaseModel):
    """No information: the driver of the chip has not reported it yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")
