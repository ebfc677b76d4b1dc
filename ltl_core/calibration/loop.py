"""The loop: run the chip, compare with the golden student, correct every layer, program, verify."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ltl_core.calibration.abilities import check_chip, has_trims
from ltl_core.calibration.accuracy_test import AccuracyTest, accuracy_test
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.judge import Judgement
from ltl_core.calibration.methods.method import (
    BatchQuality,
    LearningStep,
    MethodSetup,
    SideMethod,
)
from ltl_core.calibration.methods.select import choose_readout, make_method
from ltl_core.calibration.plan import Plan, PlannedStage
from ltl_core.calibration.register_stages import RegisterStages
from ltl_core.calibration.result import (
    CalibrationResult,
    Checkpoint,
    EndedBy,
    Measured,
    Seen,
)
from ltl_core.calibration.safeguard import Conclusion, Safeguard
from ltl_core.calibration.samples import chosen_samples
from ltl_core.calibration.stages import StageGate
from ltl_core.calibration.verifier import Candidate, Verifier
from ltl_core.chip import ChipBackend, LayerCodes, SideWeights
from ltl_core.errors import SettingError
from ltl_core.progress import Phase, Progress
from ltl_core.settings import CalibrationSettings, StageName
from ltl_core.student.evaluate import Quality
from ltl_core.student.student import Student
from ltl_core.teaching.targets import TargetSet


class Calibration:
    """Calibrates one chip for one student with one method.

    `steps` yields a Progress after each step. Between two of them the caller may take a
    `checkpoint`, `stop` the learning, or leave and `roll_back`.
    """

    def __init__(
        self,
        backend: ChipBackend,
        student: Student,
        targets: TargetSet | None,
        test: TargetSet | AccuracyTest,
        settings: CalibrationSettings,
        *,
        start: InForce | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Prepare to learn from `targets`, never from `test`, beginning with the version `start`.

        `targets` are the samples of the lab, None if the settings ask for synthetic ones alone.
        Without `start` the student's own codes are the first; with a `checkpoint` it goes on from
        there. Raises SettingError if chip, student, samples and settings do not fit together, and
        NotTunableError or NoSideWeightsError if the chip lacks what the only stage needs.
        """
        published = None if start is None else start.fingerprint
        check_chip(settings, backend, was_published=published is not None)
        self._settings = settings
        self._student = (
            student if start is None else student._replace(codes=start.codes, side=start.side)
        )
        measured = accuracy_test(student, test, settings)
        self._samples = chosen_samples(student, targets, measured.samples, settings)
        self._session = ChipSession(backend, student, checkpoint.spent if checkpoint else None)
        readout = choose_readout(settings.targets, are_values=measured.are_values)
        self._method = make_method(
            MethodSetup(student, self._student, self._session, settings, readout)
        )
        has_side = self._session.side_rank > 0 and isinstance(self._method, SideMethod)
        has = {"has_side": has_side, "has_trims": has_trims(backend.info)}
        self._plan = Plan(self._samples.learn, settings, **has)
        self._verifier = Verifier(self._session, measured, self._samples, settings)
        begun = () if checkpoint is None else checkpoint.stages
        self._gate = StageGate(self._verifier.acceptance, settings.target_points, begun)
        self._circuits = RegisterStages(backend, student, published, checkpoint, self._session)
        self._step = 0
        self._before: Measured | None = None
        self._ended_by = EndedBy.SAMPLES if self._plan.stages else EndedBy.STAGES
        self._stopped = False
        self._result: CalibrationResult | None = None
        if checkpoint is not None:
            self._resume(checkpoint)

    @property
    def total_steps(self) -> int:
        """Number of steps that the budget of samples allows."""
        return self._plan.total_steps

    @property
    def can_checkpoint(self) -> bool:
        """Whether the chip was measured for the first time; before that nothing can be resumed."""
        return self._before is not None

    @property
    def result(self) -> CalibrationResult:
        """Result of the calibration. Raises SettingError before `steps` has ended."""
        if self._result is None:
            raise SettingError("The calibration has not ended: run its steps first.")
        return self._result

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The codes that were last programmed to learn with."""
        return self._method.codes

    def checkpoint(self) -> Checkpoint:
        """Return the state after the last whole step. Raises SettingError if there is none yet."""
        if self._before is None:
            raise SettingError("There is nothing to resume before the chip was measured.")
        return Checkpoint(
            self._method.tensors(),
            self._step,
            self._session.spent,
            self._before,
            self._gate.begun,
            self._circuits.registers,
            self._circuits.compensation,
            self._guard.best,
            self._guard.checks_worse,
            dict(self._session.failed),
        )

    @property
    def stages_begun(self) -> int:
        """Number of stages that have begun so far."""
        return len(self._gate.begun)

    def stop(self, reason: EndedBy) -> None:
        """Learn no more; `steps` goes on with verifying what was learned."""
        self._stopped, self._ended_by = True, reason

    def roll_back(self) -> Callable[[], None]:
        """Put back the codes and registers of the start.

        What it returns sets the registers and side weights that were found until now again.
        """
        found = self._session.side
        self._circuits.roll_back()
        self._session.write(self._student.codes)  # a tuning that did not end has cleared the trims
        self._session.set_side(self._student.side)

        def redo() -> None:
            self._circuits.restore()
            self._session.set_side(found)

        return redo

    def steps(self) -> Iterator[Progress]:
        """Place, measure, learn, verify and measure again. Raises what the chip raises."""
        self._session.place()
        yield self._progress(Phase.PLACING)
        if self._before is None:
            self._circuits.begin()
        else:
            self._circuits.restore()
        self._session.write(self._method.codes, free=True)
        self._session.set_side(self._side)
        if self._before is None:
            self._session.settle(self._settings.settle_s)
            self._before = self._verifier.begin()
            self._guard = self._make_guard(self._before, None)
            yield self._progress(Phase.BEFORE, self._before.test)
        yield from self._setting_registers()
        for stage in self._plan.stages:
            if self._step < stage.end and self._may_begin(stage):
                yield from self._learning(stage)
        yield from self._verifying(self._before)

    def _resume(self, checkpoint: Checkpoint) -> None:
        self._method.load(checkpoint.tensors)
        self._step, self._before = checkpoint.step, checkpoint.before
        self._guard = self._make_guard(checkpoint.before, checkpoint)
        self._session.failed = dict(checkpoint.failed)

    def _may_begin(self, stage: PlannedStage) -> bool:
        """Tell whether a stage is worth its samples; a stage that was begun already goes on."""
        if self._stopped:
            return False
        begun = self._step > stage.first
        return begun or not stage.is_judged or self._is_needed(stage.name, stage.moves_cells)

    def _is_needed(self, name: StageName, moves_cells: bool) -> bool:
        """Tell whether the target is not met yet; if so, a stage of this name begins."""
        if self._stopped:
            return False
        if self._gate.opens(name, self._session.spent, moves_cells=moves_cells):
            return True
        self.stop(EndedBy.TARGET)
        return False

    def _setting_registers(self) -> Iterator[Progress]:
        """Compensate drift, or tune, before anything is learned."""
        if self._step:
            return
        opens = partial(self._is_needed, moves_cells=False)
        names, codes = self._settings.stages, self._student.codes
        for _ in self._circuits.steps(names, opens, codes, self._samples.learn):
            yield self._progress(Phase.TUNING)

    def _learning(self, stage: PlannedStage) -> Iterator[Progress]:
        while self._goes_on(stage):
            if stage.settles_at(self._step):
                self._session.settle(self._settings.settle_s)
            quality = self._method.step(
                LearningStep(
                    self._step,
                    self._plan.batch(self._step),
                    stage.step_fraction(self._step),
                    moves_cells=stage.moves_cells,
                    cells_max=self._guard.allowance(self._method.codes),
                    moves_side=stage.moves_side,
                )
            )
            self._step += 1
            told = self._progress(Phase.CALIBRATING, quality)
            yield told._replace(rates=quality.rates, stage=stage.title)

    def _verifying(self, before: Measured) -> Iterator[Progress]:
        spent = self._session.spent
        candidate, test = Candidate(before.verification, before.test)
        if self._has_changed:
            self._session.settle(self._settings.settle_s)
            candidate, test = self._verifier.judge_learned()
        stages = self._gate.results(spent, lambda: self._verifier.accept(candidate))
        ended = self._conclude(candidate)
        yield self._progress(Phase.VERIFYING)
        if test is None or ended.kept.judgement is not candidate:
            test = self._verifier.measure()
        after = Measured(test, ended.kept.judgement)
        self._result = CalibrationResult(
            before=before,
            after=after,
            candidate=ended.candidate,
            stages=stages,
            improved=ended.improved,
            ended_by=self._ended_by,
            codes=dict(ended.kept.codes),
            spent=self._session.spent,
            distinct=self._samples.distinct,
            compensation=self._circuits.compensation,
            failed_cells=sum(int(cells.sum()) for cells in self._session.failed.values()),
            side=self._session.side,
        )
        yield self._progress(Phase.AFTER, after.test)

    def _conclude(self, candidate: Judgement) -> Conclusion:
        """Leave the best codes on the chip, with the registers that belong to them."""
        if not self._has_changed:
            start = Seen(self._student.codes, candidate)
            return Conclusion(start, improved=False, candidate=candidate)
        return self._guard.conclude(Seen(self._method.codes, candidate), self.roll_back)

    def _make_guard(self, before: Measured, checkpoint: Checkpoint | None) -> Safeguard:
        start = Seen(self._student.codes, before.verification)
        return Safeguard(self._session, self._verifier.judge, self._settings, start, checkpoint)

    @property
    def _side(self) -> Mapping[str, SideWeights]:
        """The side weights that were last learned, or those of the start."""
        return self._method.side if isinstance(self._method, SideMethod) else self._student.side

    @property
    def _has_changed(self) -> bool:
        """Whether anything was changed on the chip since it was measured for the first time."""
        return self._step > 0 or self._circuits.is_changed

    def _goes_on(self, stage: PlannedStage) -> bool:
        """Tell whether a stage goes on: the learning stops where nothing is gained any more.

        If no cell may be written any more, the stage ends, and trims may follow.
        """
        writes = stage.moves_cells or self._session.writes_in_runs
        if writes and self._step < stage.end and not self._stopped:
            used_up = self._guard.used_up(self._method.codes)
            if used_up is not None:
                self._ended_by, self._step = used_up, stage.end
            elif stage.is_checked(self._step) and not self._guard.check(self._method.codes):
                self.stop(EndedBy.NO_GAIN)
        return self._step < stage.end and not self._stopped

    def _progress(self, phase: Phase, quality: Quality | BatchQuality | None = None) -> Progress:
        return Progress(
            phase,
            self._step,
            self.total_steps,
            accuracy=quality.accuracy if quality else None,
            rate_error=quality.rate_error if quality else (),
            spent=self._session.spent,
            settled_s=self._session.settled_s,
        )
