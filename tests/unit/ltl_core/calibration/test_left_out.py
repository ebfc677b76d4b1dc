"""What a driver may leave out: a calibration works with what is there, or says what is missing."""

import pytest
import torch

from ltl_core.calibration.abilities import what_is_missing
from ltl_core.calibration.drift import drift_between, measure_fingerprint
from ltl_core.calibration.loop import Calibration
from ltl_core.chip import ChipBackend, LayerCodes, Observable
from ltl_core.errors import ChipError, NotTunableError, SettingError
from ltl_core.optional_verbs import (
    BulkWriter,
    ProbingChip,
    StreamingBackend,
    TunableChip,
    write_layers,
)
from ltl_core.settings import STAGES, Budget, CalibrationSettings, Data, MethodName, StageName
from ltl_core.student.codes import format_of
from ltl_core.student.student import Student
from tests.bare_chip import BareChip
from tests.blobs import World, chip

TRIMS, CELLS, TUNE, SIDE = StageName.TRIMS, StageName.CELLS, StageName.TUNE, StageName.SIDE


def settings_of(
    method: MethodName = MethodName.LTL,
    samples: int = 32,
    stages: tuple[StageName, ...] = (TRIMS,),
) -> CalibrationSettings:
    return CalibrationSettings(
        stages=stages,
        method=method,
        observable=method.observables[0],
        budget=Budget(samples=samples),
        batch=8,
        data=Data.LAB,
        target_points=None,
        settle_s=0.0,
        verification_samples=64,
        test_samples=20,
    )


def calibrated(
    world: World, backend: ChipBackend, student: Student, settings: CalibrationSettings
) -> Calibration:
    calibration = Calibration(backend, student, world.targets, world.test, settings)
    for _ in calibration.steps():
        pass
    return calibration


def without_trims(world: World, backend: ChipBackend) -> Student:
    """The golden student for a chip without trims: its biases are zero."""
    codes = {
        name: LayerCodes(code.weight, torch.zeros_like(code.bias), code.threshold)
        for name, code in world.student.codes.items()
    }
    return world.student._replace(format=format_of(backend.info), codes=codes)


def moved(codes: dict[str, LayerCodes], field: str) -> bool:
    return any(bool(getattr(code, field).any()) for code in codes.values())


def test_the_bare_chip_has_nothing_that_is_optional() -> None:
    bare = BareChip()
    assert isinstance(bare, ChipBackend)
    assert not isinstance(bare, BulkWriter)
    for protocol in (ProbingChip, StreamingBackend, TunableChip):
        assert not isinstance(bare, protocol)
        assert isinstance(chip("pcm"), protocol)


def test_a_bare_chip_is_calibrated_with_what_it_has(world: World) -> None:
    found = calibrated(
        world, BareChip("harsh"), world.student, settings_of(samples=400, stages=STAGES)
    ).result
    assert [stage.stage for stage in found.stages] == [TRIMS, CELLS]
    assert found.spent.cells > 0
    assert found.improved
    assert found.after.verification.loss < 0.8 * found.before.verification.loss


@pytest.mark.parametrize("method", [m for m in MethodName if Observable.COUNTS in m.observables])
def test_no_method_moves_thresholds_that_have_no_trims(world: World, method: MethodName) -> None:
    student, settings = world.student, settings_of(method)
    bare = calibrated(world, BareChip("harsh"), student, settings).codes
    assert not moved(bare, "threshold")
    assert moved(bare, "bias")
    assert moved(calibrated(world, chip("harsh"), student, settings).codes, "threshold")


def test_statistics_move_biases_alone_where_thresholds_have_no_trims(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, settings = chip("harsh"), settings_of(MethodName.ADABS)
    assert moved(calibrated(world, backend, world.student, settings).codes, "threshold")
    lacking = chip("harsh")
    monkeypatch.setattr(lacking, "_info", lacking.info._replace(threshold_trims=False))
    codes = calibrated(world, lacking, world.student, settings).codes
    assert not moved(codes, "threshold")
    assert moved(codes, "bias")


def test_a_chip_without_trims_learns_weights_alone(world: World) -> None:
    backend = BareChip("harsh", has_trims=False)
    calibration = calibrated(
        world, backend, without_trims(world, backend), settings_of(samples=160, stages=STAGES)
    )
    found = calibration.result
    assert [stage.stage for stage in found.stages] == [CELLS]
    assert not moved(calibration.codes, "bias")
    assert found.improved


@pytest.mark.parametrize(
    ("stages", "missing"),
    [
        ((TRIMS,), ("trims",)),
        ((TUNE, TRIMS), ("registers to tune", "trims")),
        ((TUNE, SIDE), ("registers to tune", "digital side weights")),
        ((TRIMS, CELLS), ()),
        ((TUNE, SIDE, CELLS), ()),
    ],
)
def test_stages_that_a_chip_cannot_do_are_refused_and_named(
    world: World, stages: tuple[StageName, ...], missing: tuple[str, ...]
) -> None:
    backend = BareChip(has_trims=False)
    settings = settings_of(stages=stages)
    assert what_is_missing(settings, backend.info) == missing
    assert what_is_missing(settings, chip("pcm-side").info) == ()
    student = without_trims(world, backend)
    if not missing:
        Calibration(backend, student, world.targets, world.test, settings)
        return
    with pytest.raises(SettingError, match=f"has no {' and no '.join(missing)}"):
        Calibration(backend, student, world.targets, world.test, settings)


def test_a_method_of_trims_is_refused_on_a_chip_without_any() -> None:
    settings = settings_of(MethodName.SPSA, stages=STAGES)
    assert what_is_missing(settings, BareChip().info) == ()
    missing = what_is_missing(settings, BareChip(has_trims=False).info)
    assert set(missing) == {"registers to tune", "trims"}


def test_a_tuning_alone_is_refused_on_a_chip_without_registers(world: World) -> None:
    settings = settings_of(stages=(TUNE,))
    with pytest.raises(NotTunableError):
        Calibration(BareChip(), world.student, world.targets, world.test, settings)
    Calibration(chip("pcm"), world.student, world.targets, world.test, settings)


def test_a_chip_without_a_probe_is_probed_by_its_runs(world: World) -> None:
    bare, placement = BareChip(), world.student.placement()
    bare.place(placement)
    write_layers(bare, world.student.codes)
    published = measure_fingerprint(bare, placement=placement)
    assert published.rates.keys() == {stage.name for stage in world.network.stages}
    assert drift_between(measure_fingerprint(bare, placement=placement), published).score < 0.02
    bare.settle(30 * 86_400.0)
    assert drift_between(measure_fingerprint(bare, placement=placement), published).score > 0.1
    with pytest.raises(ChipError, match="No network is placed"):
        measure_fingerprint(bare)


def test_the_default_probe_sees_what_a_chip_of_its_own_sees(world: World) -> None:
    ideal, placement = chip("ideal"), world.student.placement()
    ideal.place(placement)
    write_layers(ideal, world.student.codes)
    bare = BareChip("ideal")
    bare.place(placement)
    write_layers(bare, world.student.codes)
    own, default = ideal.probe(), measure_fingerprint(bare, 1, placement=placement)
    assert default.rates.keys() == own.rates.keys()
    for name, rates in own.rates.items():  # other random inputs, the same network
        assert float((default.rates[name] - rates).abs().max()) < 0.1
        assert float(rates.max() - rates.min()) > 0.15
