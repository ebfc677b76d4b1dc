"""The loop: run the chip, compare with the teacher, correct every layer, program, verify."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.observe import measured_gradient, measured_rate, seen_layers
from ltl_core.calibration.result import CalibrationResult, Checkpoint, EndedBy, Measured
from ltl_core.chip import ChipBackend, LayerCodes, LayerRecording
from ltl_core.errors import SettingError
from ltl_core.progress import Phase, Progress
from ltl_core.rules.select import select_rule
from ltl_core.settings import CalibrationSettings, Change
from ltl_core.student.evaluate import Quality, student_quality
from ltl_core.student.student import Student
from ltl_core.teaching.readout import accuracy_of
from ltl_core.teaching.targets import Batch, TargetSet
from ltl_core.training.latent_weights import LatentWeights, LearningRates


class _Glance(NamedTuple):
    """How good the chip was on the batch of one step."""

    accuracy: float
    rate_error: tuple[float, ...]


class Calibration:
    """One chip, one student, one rule.

    `steps` yields a Progress after each step; between two of them the caller may take a
    `checkpoint`, `stop` the learning, or leave and `roll_back`.
    """

    def __init__(
        self,
        backend: ChipBackend,
        student: Student,
        targets: TargetSet,
        test: TargetSet,
        settings: CalibrationSettings,
        *,
        start: Mapping[str, LayerCodes] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Starts from the codes of `start`, else the student's; never learns from `test`."""
        self._golden, self._settings, self._test = student, settings, test
        self._student = student if start is None else student.with_codes(start)
        self._learn, self._verify = split(targets, settings)
        self._rule = select_rule(settings.rule)
        self._latent = LatentWeights(self._student, learning_rates(settings))
        self._session = ChipSession(backend, student, checkpoint.spent if checkpoint else None)
        self._step = 0
        self._before: Measured | None = None
        self._ended_by = EndedBy.SAMPLES
        self._stopped = False
        self._result: CalibrationResult | None = None
        if checkpoint is not None:
            self._latent.load(checkpoint.tensors)
            self._step, self._before = checkpoint.step, checkpoint.before

    @property
    def total_steps(self) -> int:
        """How many steps the sample budget allows."""
        samples = self._settings.budget.samples
        return (self._learn.size if samples is None else samples) // self._settings.batch

    @property
    def can_checkpoint(self) -> bool:
        """Not before the chip was measured for the first time."""
        return self._before is not None

    @property
    def result(self) -> CalibrationResult:
        """Once `steps` has come to its end."""
        if self._result is None:
            raise SettingError("The calibration has not ended: run its steps first.")
        return self._result

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """What was last programmed to learn with."""
        return self._latent.codes

    def checkpoint(self) -> Checkpoint:
        """The state after the last whole step."""
        if self._before is None:
            raise SettingError("There is nothing to resume before the chip was measured.")
        return Checkpoint(self._latent.tensors(), self._step, self._session.spent, self._before)

    def stop(self, reason: EndedBy) -> None:
        """Learn no more; verify what there is."""
        self._stopped, self._ended_by = True, reason

    def roll_back(self) -> None:
        """Put the codes back that the chip had at the start."""
        self._session.write(self._student.codes)

    def steps(self) -> Iterator[Progress]:
        """Place, measure, learn, verify, measure."""
        self._session.place()
        yield self._progress(Phase.PLACING)
        self._session.write(self._latent.codes, free=True)
        if self._before is None:
            self._session.settle(self._settings.settle_s)
            self._before = self._measure()
            yield self._progress(Phase.BEFORE, self._before.test)
        yield from self._learning()
        yield from self._verifying(self._before)

    def _learning(self) -> Iterator[Progress]:
        while self._step < self.total_steps and not self._is_spent():
            if self._step == self._finish_step:
                self._session.settle(self._settings.settle_s)
            self._latent.scale_learning_rates(1 - self._step / self.total_steps)
            batch = self._batch(self._step)
            shown = self._session.present(batch, self._settings.observable)
            quality = self._correct(batch, shown)
            self._session.write(self._latent.update_codes(self._settings.write_margin))
            self._step += 1
            yield self._progress(Phase.CALIBRATING, quality)

    def _verifying(self, before: Measured) -> Iterator[Progress]:
        self._session.settle(self._settings.settle_s)
        candidate = self._session.measure(self._verify)
        improved = is_better(candidate, before.verification)
        yield self._progress(Phase.VERIFYING, candidate)
        if not improved:
            self.roll_back()
            self._session.settle(self._settings.settle_s)
        verification = candidate if improved else self._session.measure(self._verify)
        after = Measured(self._session.measure(self._test), verification)
        self._result = CalibrationResult(
            golden=student_quality(self._golden, self._test),
            before=before,
            after=after,
            candidate=candidate,
            improved=improved,
            ended_by=self._ended_by,
            codes=self._latent.codes if improved else dict(self._student.codes),
            spent=self._session.spent,
        )
        yield self._progress(Phase.AFTER, after.test)

    def _correct(self, batch: Batch, shown: Iterable[tuple[str, LayerRecording]]) -> _Glance:
        """Move the latent weights of every layer by its own error; return how good this batch was.

        A layer's error is found while the chip still plays the layers above it.
        """
        student = self._student.with_codes(self._latent.codes)
        errors: list[float] = []
        accuracy = 0.0
        for seen in seen_layers(student, batch, shown):
            gradients = measured_gradient(
                seen, batch, student, self._rule, self._settings.observable
            )
            for name, gradient in gradients.items():
                self._latent.set_gradient(name, gradient, trims_only=not self._moves_weights)
            if seen.stage.is_readout:
                logits = seen.record.membrane[-1]  # type: ignore[index]
                accuracy = accuracy_of(logits, batch.expected)
            else:
                rate = measured_rate(seen.record, student.neuron.steps)
                errors.append(float((rate - batch.rates[seen.stage.name]).square().mean().sqrt()))
        self._latent.step()
        return _Glance(accuracy, tuple(errors))

    def _batch(self, step: int) -> Batch:
        """The samples of a step: every sample once, in an order of their own, then again."""
        size = min(self._settings.batch, self._learn.size)
        per_epoch = self._learn.size // size
        epoch, place = divmod(step, per_epoch)
        generator = torch.Generator().manual_seed(self._settings.seed * 100_003 + epoch)
        order = torch.randperm(self._learn.size, generator=generator, device="cpu")
        return self._learn.take(order[place * size : (place + 1) * size])

    @property
    def _moves_weights(self) -> bool:
        """Trims alone come first and last: they wear nothing and draw no new noise."""
        return self._start_step <= self._step < self._finish_step

    @property
    def _start_step(self) -> int:
        return round(self._settings.start_share * self.total_steps)

    @property
    def _finish_step(self) -> int:
        return round((1 - self._settings.finish_share) * self.total_steps)

    def _is_spent(self) -> bool:
        writes = self._settings.budget.cell_writes_per_cell
        if writes is not None and self._session.spent.cell_writes_per_cell >= writes:
            self.stop(EndedBy.WRITES)
        return self._stopped

    def _measure(self) -> Measured:
        return Measured(self._session.measure(self._test), self._session.measure(self._verify))

    def _progress(self, phase: Phase, quality: Quality | _Glance | None = None) -> Progress:
        return Progress(
            phase,
            self._step,
            self.total_steps,
            accuracy=quality.accuracy if quality else None,
            rate_error=quality.rate_error if quality else (),
            spent=self._session.spent,
        )


def split(targets: TargetSet, settings: CalibrationSettings) -> tuple[TargetSet, TargetSet]:
    """Samples to learn from, and fresh ones to verify with. Raises SettingError."""
    kept = max(1, round(settings.verification_share * targets.size))
    if kept >= targets.size:
        raise SettingError(
            f"{targets.size} samples are too few to keep {kept} of them for verifying; upload more."
        )
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(targets.size, generator=generator, device="cpu")
    return targets.subset(order[kept:]), targets.subset(order[:kept])


def learning_rates(settings: CalibrationSettings) -> LearningRates:
    """What moves, and how fast."""
    weight = settings.learning_rate if settings.change is Change.AUTO else 0.0
    return LearningRates(weight, settings.trim_learning_rate, settings.trim_learning_rate)


def is_better(candidate: Quality, before: Quality) -> bool:
    """Less cross-entropy on the same samples, by more than a standard error of the difference.

    Of a few hundred samples, most of them right, it says more than the number that are right.
    """
    gains = [old - new for old, new in zip(before.losses, candidate.losses, strict=True)]
    mean = statistics.fmean(gains)
    spread = statistics.pstdev(gains, mean)
    return mean > spread / math.sqrt(len(gains))
