"""Ways to calibrate that the benchmark of methods compares: baselines, and choices switched off."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ltl_core.chip import Observable
from ltl_core.settings import (
    Budget,
    CalibrationSettings,
    Data,
    MethodName,
    RuleName,
    StageName,
    TargetSource,
)

_LEARNED = (StageName.TUNE, StageName.TRIMS, StageName.CELLS)
_DISTINCT = {"harsh": 500}  # different samples of the lab; of the other presets 100
_DISTINCT_USUAL = 100


class Variant(NamedTuple):
    """One way to calibrate. All variants see the same samples in the same order.

    `changes` are the settings that differ from LTL's defaults; None is no calibration at all.
    """

    changes: Mapping[str, Any] | None
    learns: bool = True  # if not, a budget of presentations means nothing
    noise_trained: bool = False  # whether the golden student was trained with noise
    teacher: bool = False  # whether targets come from the teacher
    ranges: bool = True  # whether tuning sets the ranges of converters

    def settings(self, preset: str, presentations: int) -> CalibrationSettings:
        """Return the settings for a chip of this preset; the whole budget is used up.

        Raises ValueError if nothing is to be calibrated.
        """
        if self.changes is None:
            raise ValueError("This variant does not calibrate.")
        samples = presentations if self.learns else None
        budget = Budget(samples=samples, distinct=_DISTINCT.get(preset, _DISTINCT_USUAL))
        usual: dict[str, Any] = {"stages": _LEARNED, "target_points": None, "test_samples": 1}
        return CalibrationSettings(budget=budget, **(usual | dict(self.changes)))


def _of(**changes: Any) -> Variant:
    return Variant(changes)


LTL = "ltl"  # what the baselines are compared with
METHODS: Mapping[str, Variant] = MappingProxyType(
    {
        "none": Variant(None, learns=False),
        "noise-trained": Variant(None, learns=False, noise_trained=True),
        "tune": Variant({"stages": (StageName.TUNE,)}, learns=False),
        "trims": _of(stages=(StageName.TUNE, StageName.TRIMS)),
        LTL: _of(),
        "tandem": _of(method=MethodName.TANDEM),
        "surrogate": _of(method=MethodName.SURROGATE, observable=Observable.MEMBRANE),
        "metropolis-hastings": _of(method=MethodName.METROPOLIS_HASTINGS),
        "spsa": _of(method=MethodName.SPSA),
        "adabs": _of(method=MethodName.ADABS, observable=Observable.MEMBRANE),
    }
)
# Each differs from `ltl` by one choice; `teacher` needs data of the lab alone, as `lab-alone` has.
ABLATION: Mapping[str, Variant] = MappingProxyType(
    {
        LTL: _of(),
        "teacher": Variant({"targets": TargetSource.TEACHER, "data": Data.LAB}, teacher=True),
        "lab-alone": _of(data=Data.LAB),
        "synthetic-alone": _of(data=Data.SYNTHETIC),
        "batch-16": _of(batch=16),
        "no-noise-floor": _of(noise_floor=0.0),
        "small-margin": _of(write_margin=0.5),
        "no-tune": _of(stages=(StageName.TRIMS, StageName.CELLS)),
        "no-ranges": Variant({}, ranges=False),
        "window": _of(observable=Observable.WINDOW),
        "membrane": _of(observable=Observable.MEMBRANE),
        "spikes": _of(observable=Observable.SPIKES),
        "offline": _of(rule=RuleName.LTL_OFFLINE),
    }
)
SETS: Mapping[str, Mapping[str, Variant]] = MappingProxyType(
    {"methods": METHODS, "ablation": ABLATION}
)
