"""Work with a chip: make its converters and neurons alike by its registers."""

from collections.abc import Mapping

from ltl_core.chip import Stimulus
from ltl_core.progress import Phase, Progress
from ltl_core.settings import TuneSettings
from ltl_core.student.evaluate import Quality
from ltl_core.teaching.targets import evenly_spaced_indices
from ltl_core.tuning.result import LayerTuned, Verdict, from_block, to_block
from ltl_core.tuning.tuner import Bench, Tuner
from service.jobs.health import health_by_accuracy
from service.jobs.kinds.chip_session import ChipBench
from service.jobs.kinds.context import Workbench
from service.jobs.kinds.software_work import read_targets
from service.jobs.messages import Ended, JobDescription, Json
from service.states import JobStatus, Split


def tune(description: JobDescription, workbench: Workbench) -> Ended:
    """Search the registers, or set those of an earlier tuning; then check what came of it."""
    bench = ChipBench(description, workbench)
    session, test = bench.prepared(), read_targets(Split.TEST, description, workbench)
    before = session.measure(test)
    bench.tell(Progress(Phase.PLACING, 0, 1, before.accuracy, spent=session.spent))
    tuner = _tuner(bench)
    tuned = _found_before(bench) or _searched(tuner, bench)
    tuner.apply(tuned)
    verdicts = tuner.check(tuned)
    _stop_if_cancelled(tuner, bench)
    quality = session.measure(test)
    bench.tell(Progress(Phase.AFTER, 1, 1, quality.accuracy, quality.rate_error, session.spent))
    registers = workbench.artifacts.put(to_block(tuned))
    about = _accuracy(bench, before, quality) | _layers(tuned, verdicts)
    return Ended(
        status=JobStatus.SUCCEEDED,
        result=about | {"registers_sha256": registers, "chip_time_s": bench.backend.now()},
        blocks={"registers": registers},
        chip_state_sha256=bench.saved_chip(),
    )


def _tuner(bench: ChipBench) -> Tuner:
    settings = TuneSettings.model_validate(bench.description.request.get("settings") or {})
    targets = read_targets(Split.CALIBRATION, bench.description, bench.workbench)
    inputs = targets.samples.inputs[evenly_spaced_indices(targets.size, settings.samples)]
    stimulus = Stimulus(inputs, bench.student.neuron.steps)
    return Tuner(Bench(bench.backend, bench.student.placement(), bench.codes, stimulus), settings)


def _found_before(bench: ChipBench) -> dict[str, LayerTuned] | None:
    sha256 = bench.description.registers_sha256
    return None if sha256 is None else from_block(bench.workbench.artifacts.read(sha256))


def _searched(tuner: Tuner, bench: ChipBench) -> dict[str, LayerTuned]:
    for progress in tuner.steps():
        bench.tell(progress)
        _stop_if_cancelled(tuner, bench)
    return tuner.result


def _stop_if_cancelled(tuner: Tuner, bench: ChipBench) -> None:
    if bench.workbench.link.cancelled():
        tuner.roll_back()
        raise bench.cancelled("cancelled; the registers of before were put back")


def _accuracy(bench: ChipBench, before: Quality, now: Quality) -> Json:
    """With the codes in force, which may have been learned on the chip as it was."""
    accuracy = bench.golden(now.accuracy) | {"untuned": before.accuracy, "now": now.accuracy}
    return {
        "accuracy": accuracy,
        "rate_error": list(now.rate_error),
        "health": health_by_accuracy(now.accuracy, accuracy["golden"]),
    }


def _layers(tuned: Mapping[str, LayerTuned], verdicts: Mapping[str, Verdict]) -> Json:
    failures = [f"{name}: {failure}" for name, v in verdicts.items() for failure in v.failures]
    return {
        "passed": not failures,
        "failures": failures,
        "layers": {
            name: {
                "before": layer.before._asdict(),
                "after": verdicts[name].spread._asdict(),
                "not_tuned": layer.success.failed,
                "adc_range": layer.tuning.adc_range,
            }
            for name, layer in tuned.items()
        },
    }
