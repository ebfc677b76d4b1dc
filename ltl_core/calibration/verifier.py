"""Measures and judges a chip before and after a calibration, on samples that it does not learn."""

from functools import partial
from typing import NamedTuple

from ltl_core.calibration.accuracy_test import AccuracyTest
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.judge import Judge, Judgement
from ltl_core.calibration.result import Measured
from ltl_core.calibration.samples import CalibrationSamples
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import Quality


class Candidate(NamedTuple):
    """What was learned, judged; and measured too where the same answers served both."""

    judgement: Judgement
    test: Quality | None


class Verifier:
    """Measures a chip on test samples, and judges it by those for verification and acceptance."""

    def __init__(
        self,
        session: ChipSession,
        test: AccuracyTest,
        samples: CalibrationSamples,
        settings: CalibrationSettings,
    ) -> None:
        make = partial(Judge, answers=session.answers, are_values=test.are_values)
        self.judge, self.acceptance = make(samples.verification), make(samples.acceptance)
        self._session, self._test = session, test
        self._verified = samples.verification.size
        self._accepts_verified = samples.acceptance is samples.verification
        self._learns, self._limit = settings.learns, settings.target_points

    def begin(self) -> Measured:
        """Measure and judge the chip at the start; the first stage begins with this judgement."""
        found = self._measured()
        if self._accepts_verified:
            self.acceptance.take_over(found.verification)
        return found

    def judge_learned(self) -> Candidate:
        """Judge the chip as it was learned; where nothing is learned it is measured with that."""
        if self._learns:
            return Candidate(self.judge.judge(), None)
        found = self._measured()
        return Candidate(found.verification, found.test)

    def accept(self, candidate: Judgement) -> Judgement:
        """Judge what was learned by the samples that began the stages."""
        return candidate if self._accepts_verified else self.acceptance.judge(self._limit)

    def measure(self) -> Quality:
        """Measure the chip on test samples."""
        return self._test.measure(self._session)

    def _measured(self) -> Measured:
        """Measure and judge the chip: by the same answers if it learns nothing."""
        test = self.measure()
        if not self._learns:
            self.judge.take_answers(self._test.logits[: self._verified])
        return Measured(test, self.judge.judge())
