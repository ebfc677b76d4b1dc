"""Training of a student in software, in the codes that chips accept: the golden student."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.progress import Phase, Progress, Spent
from ltl_core.settings import TrainingSettings
from ltl_core.student.codes import CodeFormat
from ltl_core.student.student import Student
from ltl_core.teaching.readout import accuracy_of
from ltl_core.teaching.targets import Batch, Targets
from ltl_core.training.latent_weights import LatentWeights, LearningRates
from ltl_core.training.start import set_ranges, start_student, with_activity
from ltl_core.training.trainer import make_trainer
from ltl_core.training.weight_noise import with_weight_noise

_RULE = "rule:"  # prefix of the rule's tensors in a checkpoint


class TrainingCheckpoint(NamedTuple):
    """All that is needed to go on after an epoch."""

    tensors: dict[str, Tensor]
    epoch: int  # number of whole epochs done


class Training:
    """Epochs of one rule over a target set, from the teacher's scaled weights.

    The forward pass uses integer codes; the gradient moves the latent weights behind them.
    """

    def __init__(
        self,
        network: NetworkSpec,
        weights: Mapping[str, Tensor],
        targets: Targets,
        settings: TrainingSettings,
        checkpoint: TrainingCheckpoint | None = None,
    ) -> None:
        """Start from the teacher's `weights`, or continue from a checkpoint."""
        self._settings, self._targets = settings, targets
        self._trainer = make_trainer(settings, network)
        form = CodeFormat(**settings.codes.model_dump())
        self._student = start_student(network, weights, targets, settings.neuron, form)
        rate = settings.learning_rate
        self._latent = LatentWeights(self._student, LearningRates(rate, rate, 0.0))
        self._epoch = 0
        if checkpoint is not None:
            self._latent.load(checkpoint.tensors)
            kept = checkpoint.tensors.items()
            rule = {n.removeprefix(_RULE): t for n, t in kept if n.startswith(_RULE)}
            self._trainer.load(rule)
            self._epoch = checkpoint.epoch

    def epochs(self) -> Iterator[Progress]:
        """Train the epochs that are left, and yield the progress after each.

        Raises SettingError if the targets lack what the readout is to learn.
        """
        epochs = self._settings.epochs
        while self._epoch < epochs:
            accuracy = self._run_epoch()
            self._epoch += 1
            samples = self._epoch * self._targets.size
            spent = Spent(samples=samples)
            yield Progress(Phase.TRAINING, self._epoch, epochs, accuracy=accuracy, spent=spent)

    def checkpoint(self) -> TrainingCheckpoint:
        """Return the state after the last whole epoch."""
        rule = {f"{_RULE}{name}": tensor for name, tensor in self._trainer.tensors().items()}
        return TrainingCheckpoint(self._latent.tensors() | rule, self._epoch)

    @property
    def student(self) -> Student:
        """The student so far, with converter ranges and activity of its present codes."""
        student = self._student.with_codes(self._latent.codes)
        return with_activity(set_ranges(student, self._targets), self._targets)

    def _run_epoch(self) -> float:
        """Train one epoch and return the mean accuracy of its batches."""
        generator = torch.Generator().manual_seed(self._settings.seed * 100_003 + self._epoch)
        order = torch.randperm(self._targets.size, generator=generator, device="cpu")
        batches = order.split(self._settings.batch)
        student = self._student.with_codes(self._latent.update_codes())
        fraction_done = self._epoch / self._settings.epochs
        self._trainer.begin_epoch(fraction_done, student, self._targets.take(batches[0]))
        accuracy = 0.0
        for number, index in enumerate(batches):
            epochs_done = self._epoch + number / len(batches)
            self._latent.scale_learning_rates(self._settings.rate_fraction(epochs_done))
            accuracy += self._run_batch(self._targets.take(index), generator)
        return accuracy / len(batches)

    def _run_batch(self, batch: Batch, generator: torch.Generator) -> float:
        student = self._student.with_codes(self._latent.update_codes())
        if self._settings.weight_noise:
            student = with_weight_noise(student, self._settings.weight_noise, generator)
        result = self._trainer.learn(student, batch)
        for name, gradient in result.gradients.items():
            self._latent.set_gradient(name, gradient)
        self._latent.step()
        return accuracy_of(result.logits, batch.expected)
