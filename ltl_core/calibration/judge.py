"""How near a chip's answers are to the golden student's, without labels.

With p the golden student's softmax, g its class and c the class of the chip, a chip is expected to
lose p(g) - p(c) of a right answer on a sample: nothing where both agree, little where the golden
student hesitates between the two. The mean over samples, in points, predicts the accuracy lost.
"""

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.prediction import Observation
from ltl_core.teaching.targets import TargetSet

_CHUNK = 64  # samples measured at a time: a judgement ends with the chunk that decides
_LEAST = 128  # samples before a judgement may end: a few that all agree prove little
_CLEAR = 2.0  # standard errors from a limit that decide

Answers = Callable[[Tensor], Tensor]  # from inputs to the chip's logits


class Judgement(NamedTuple):
    """Answers of a chip compared with the golden student's, sample by sample."""

    losses: tuple[float, ...]  # Kullback-Leibler divergence from golden to chip, nats
    lost: tuple[float, ...]  # expected loss of a right answer, points
    agreement: float  # fraction of samples on which both choose one class

    @property
    def loss(self) -> float:
        """Mean divergence, in nats; of values, the mean squared difference."""
        return statistics.fmean(self.losses)

    @property
    def points(self) -> float:
        """Predicted loss of accuracy behind the golden student, points."""
        return statistics.fmean(self.lost)

    @property
    def points_error(self) -> float:
        """Standard error of `points`."""
        return statistics.pstdev(self.lost) / math.sqrt(len(self.lost))

    def observation(self) -> Observation:
        """Return the predicted loss as an observation.

        If all samples agree, their scatter says nothing: the error is at least half a sample.
        """
        return Observation(self.points, max(self.points_error, 50 / len(self.lost)))


def compare(
    golden: Float[Tensor, "sample output"],
    chip: Float[Tensor, "sample output"],
    *,
    are_values: bool = False,
) -> Judgement:
    """Compare the logits of the chip with the golden student's on the same samples.

    If the outputs are values, not classes, a sample loses the squared difference as a fraction of
    the variance of the golden outputs.
    """
    if are_values:
        squared = (chip - golden).square().mean(1)
        spread = float((golden - golden.mean(0)).square().mean().clamp(min=1e-12))
        lost = (100 * squared / spread).clamp(max=100)
        return Judgement(tuple(squared.tolist()), tuple(lost.tolist()), float("nan"))
    expected = golden.softmax(1)
    divergence = F.kl_div(chip.log_softmax(1), expected, reduction="none").sum(1)
    ours, theirs = golden.argmax(1, keepdim=True), chip.argmax(1, keepdim=True)
    lost = 100 * (expected.gather(1, ours) - expected.gather(1, theirs))[:, 0]
    agreement = float((ours == theirs).float().mean())
    return Judgement(tuple(divergence.tolist()), tuple(lost.tolist()), agreement)


class Judge:
    """Measures a chip on samples that it does not learn from, no more than a decision needs."""

    def __init__(self, verification: TargetSet, answers: Answers, *, are_values: bool) -> None:
        """`answers` presents inputs to the chip and returns its logits."""
        if verification.logits is None:
            raise ValueError("A judge needs the golden student's outputs.")
        self._inputs, self._golden = verification.samples.inputs, verification.logits
        self._answers, self._are_values = answers, are_values
        self._known: Judgement | None = None

    def take_over(self, found: Judgement) -> None:
        """Answer the next question with a judgement of these samples: the chip has not changed."""
        self._known = found

    def take_answers(self, logits: Float[Tensor, "sample output"]) -> None:
        """Answer the next question from what the chip just answered to these samples."""
        self._known = self._compare([logits])

    def judge(self, limit: float | None = None, *, samples: int | None = None) -> Judgement:
        """Measure all samples, or the first `samples` of them.

        With a `limit` in points, it ends when the loss is clear of it.
        """
        if self._known is not None:
            known, self._known = self._known, None
            return known
        seen: list[Tensor] = []
        for inputs in self._inputs[:samples].split(_CHUNK):
            seen.append(self._answers(inputs))
            if limit is not None and _is_clear(self._compare(seen), limit):
                break
        return self._compare(seen)

    def _compare(self, seen: list[Tensor]) -> Judgement:
        logits = torch.cat(seen)
        return compare(self._golden[: len(logits)], logits, are_values=self._are_values)


def is_better(candidate: Judgement, before: Judgement, *, errors: float = 1.0) -> bool:
    """Tell whether the loss fell on the same samples, by more than `errors` standard errors.

    On a few hundred samples, most of them right, the loss says more than the number that are right.
    If one was judged on fewer samples, these are compared.
    """
    common = min(len(candidate.losses), len(before.losses))
    pairs = zip(before.losses[:common], candidate.losses[:common], strict=True)
    gains = [old - new for old, new in pairs]
    mean = statistics.fmean(gains)
    return mean > errors * statistics.pstdev(gains, mean) / math.sqrt(common)


def _is_clear(found: Judgement, limit: float) -> bool:
    """Tell whether the predicted loss is surely above the limit, or surely below it."""
    distance = abs(found.points - limit)
    return len(found.lost) >= _LEAST and distance > _CLEAR * found.points_error
