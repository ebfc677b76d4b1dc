"""The named chips. Their figures are of the order of published silicon, and never change.

Those of the LTL paper have one non-ideality each, of a strength that may stand behind the name:
`paper-mismatch-0.3`, `paper-quantisation-4`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError

from chip_sim.errors import UnknownPresetError
from chip_sim.spec import ChipSpec, ConverterSpec, DeviceSpec, NeuronSpec, PaperSpec, WriteSpec

NAMES = ("ideal", "pcm", "hermes", "reram", "harsh")
SIDE = "-side"  # the end of a name: the same figures, and digital weights beside the arrays
_SIDE_RANK = 8
# Without a strength: a fraction; of quantisation, bits with the sign.
PAPER: Mapping[str, float] = MappingProxyType(
    {
        "paper-mismatch": 0.2,
        "paper-thermal": 0.2,
        "paper-silencing": 0.2,
        "paper-quantisation": 4,
    }
)


def preset(name: str) -> ChipSpec:
    """Return the spec of the chip of that name; with `SIDE` behind it, with side weights as well.

    Raises UnknownPresetError, also for a strength that a chip of the paper cannot have.
    """
    plain = name.removesuffix(SIDE)
    spec = _named(plain) or _paper(plain)
    if spec is None:
        raise UnknownPresetError(name, [*NAMES, *(known + SIDE for known in NAMES), *PAPER])
    if name.endswith(SIDE):
        return spec.model_copy(update={"model": name, "side_rank": _SIDE_RANK})
    return spec


def is_preset(name: str) -> bool:
    """Tell whether a chip has this name: one with a strength may look like that of a file."""
    try:
        preset(name)
    except UnknownPresetError:
        return False
    return True


def _named(name: str) -> ChipSpec | None:
    match name:
        case "ideal":
            return ChipSpec(model="ideal")
        case "pcm":
            return _pcm()
        case "hermes":
            return _hermes()
        case "reram":
            return _reram()
        case "harsh":
            return _harsh()
        case _:
            return None


def _pcm() -> ChipSpec:
    return ChipSpec(
        model="pcm",
        device=DeviceSpec(model="pcm", g_max=25e-6, variation=0.05, stuck=0.001, read_noise=0.005),
        write=WriteSpec(tolerance_sigma=1.0, pulses_max=8),
        converter=_converter(),
        neuron=_neuron(),
    )


def _hermes() -> ChipSpec:
    return ChipSpec(
        model="hermes",
        device=DeviceSpec(
            model="hermes", g_max=20.7e-6, variation=0.05, stuck=0.001, read_noise=0.005
        ),
        write=WriteSpec(tolerance_sigma=1.0, pulses_max=8),
        converter=_converter(),
        neuron=_neuron(),
    )


def _reram() -> ChipSpec:
    return ChipSpec(
        model="reram",
        device=DeviceSpec(model="reram", g_max=40e-6, variation=0.10, stuck=0.005, read_noise=0.01),
        write=WriteSpec(tolerance_siemens=1e-6, pulses_max=30),
        converter=_converter(),
        neuron=_neuron(),
    )


def _harsh() -> ChipSpec:
    return ChipSpec(
        model="harsh",
        device=DeviceSpec(
            model="pcm",
            g_max=25e-6,
            programming_scale=2.0,
            variation=0.30,
            stuck=0.01,
            read_noise=0.01,
        ),
        converter=ConverterSpec(adc_bits=6, gain_sd=0.08, offset_sd_lsb=2.0),
        neuron=NeuronSpec(
            threshold_mismatch=0.20,
            leak_mismatch=0.10,
            reset_mismatch=0.10,
            bias_mismatch=0.10,
            dead=0.02,
            thermal_noise=0.03,
        ),
    )


def _paper(name: str) -> ChipSpec | None:
    """Return a chip of the LTL paper: ideal converters, and one non-ideality."""
    kind = next((known for known in PAPER if name == known or name.startswith(known + "-")), None)
    if kind is None:
        return None
    try:
        strength = float(name[len(kind) + 1 :] or PAPER[kind])
        return ChipSpec(
            model=name,
            converter=ConverterSpec(dac_bits=16, adc_bits=16, range_factor=4.0),
            paper=_non_ideality(kind, strength),
        )
    except (ValueError, ValidationError):
        return None


def _non_ideality(kind: str, strength: float) -> PaperSpec:
    """Raises ValidationError for a strength that is out of range."""
    field = {
        "paper-mismatch": "mismatch",
        "paper-thermal": "thermal_noise",
        "paper-silencing": "silencing",
        "paper-quantisation": "weight_bits",
    }[kind]
    return PaperSpec.model_validate({field: strength})


def _converter() -> ConverterSpec:
    return ConverterSpec(adc_bits=8, gain_sd=0.03, offset_sd_lsb=2.0)


def _neuron() -> NeuronSpec:
    # Reset and bias have the mismatch of the leak: the three are the same kind of circuit.
    return NeuronSpec(
        threshold_mismatch=0.10,
        leak_mismatch=0.05,
        reset_mismatch=0.05,
        bias_mismatch=0.05,
        dead=0.005,
        thermal_noise=0.01,
    )
