"""The accuracy of a chip on test samples, of which no more are measured than it takes.

What is uncertain about a chip is how it differs from the golden student, whose accuracy is known.
So both answer the same samples, and with d_i = 1, 0 or -1 where the chip alone is right, both or
none, or the golden student alone,

    accuracy = golden accuracy on all samples + mean_i d_i,    error = sd(d) / sqrt(n)

Measuring ends when the error is small. If no sample is left out, this is the fraction that the chip
has right.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.samples import tested
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import Quality, student_right
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet

_LEAST = 128  # samples
_ERROR = 0.015  # standard error of the accuracy that is small enough
_FRACTION = 0.25  # and as a fraction of what the chip lacks: a bad chip need not be known as well


class AccuracyTest:
    """Measures a chip on test samples, again and again on the first ones of the same order."""

    def __init__(
        self,
        student: Student,
        test: TargetSet,
        settings: CalibrationSettings,
        golden: float | None = None,
    ) -> None:
        """Choose the samples that the settings ask for; if those are all, none is ever left out.

        `golden` is the accuracy of the ideal student on all that are chosen; None if not known yet.
        """
        chosen = tested(test, settings)
        self._test = chosen.subset(_spread(chosen.size))
        self._student, self._golden = student, golden
        self._of_all = settings.test_samples is None
        self._logits = torch.empty(0, 0)
        self._right = torch.zeros(0, dtype=torch.bool)  # the golden student, on the first samples

    @property
    def samples(self) -> Samples:
        """The chosen samples."""
        return self._test.samples

    @property
    def are_values(self) -> bool:
        """Whether the student's outputs are values, not classes."""
        labels = self._test.samples.labels
        return labels is not None and labels.is_floating_point()

    @property
    def logits(self) -> Float[Tensor, "sample output"]:
        """Logits of the chip on the first samples, as it was measured last; at first none."""
        return self._logits

    def measure(self, session: ChipSession) -> Quality:
        """Measure the chip as it is.

        Raises what the chip raises, and SettingError if the samples have neither labels nor the
        teacher's logits.
        """
        found = session.measure_until(self._test, self._is_enough)
        self._logits = found.logits
        if len(found.right) == self._test.size:
            return found.quality
        if self._golden is None:
            self._golden = float(self._golden_right(self._test.size).double().mean())
        accuracy = self._golden + float(self._differences(found.right).double().mean())
        return found.quality._replace(accuracy=min(max(accuracy, 0.0), 1.0))

    def _is_enough(self, right: Bool[Tensor, " sample"]) -> bool:
        count = len(right)
        if self._of_all or self.are_values or not _LEAST <= count < self._test.size:
            return False
        differences = self._differences(right)
        error = float(differences.std(correction=0)) / math.sqrt(count)
        largest: float = max(_ERROR, _FRACTION * abs(float(differences.mean())))
        return error <= largest

    def _differences(self, right: Bool[Tensor, " sample"]) -> Float[Tensor, " sample"]:
        return right.float() - self._golden_right(len(right)).float()

    def _golden_right(self, count: int) -> Bool[Tensor, " _count"]:
        """Tell of the first samples whether the golden student is right; each is asked once."""
        known = len(self._right)
        if count > known:
            more = self._test.subset(torch.arange(known, count))
            self._right = torch.cat((self._right, student_right(self._student, more)))
        return self._right[:count]


def accuracy_test(
    student: Student, test: TargetSet | AccuracyTest, settings: CalibrationSettings
) -> AccuracyTest:
    """Return the accuracy test on these samples, or the one that is given."""
    return test if isinstance(test, AccuracyTest) else AccuracyTest(student, test, settings)


def _spread(size: int) -> Tensor:
    """Return an order of samples whose beginnings are spread over all of them.

    Data are often sorted by class. It does not depend on the job, so that two jobs compare.
    """
    generator = torch.Generator().manual_seed(size)
    return torch.randperm(size, generator=generator, device="cpu")
