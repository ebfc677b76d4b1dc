"""Losses of the readout, as means over samples, with their gradients by the logits."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@runtime_checkable
class ReadoutLoss(Protocol):
    """A loss of the readout on a batch of samples."""

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        """Return dloss / dlogits, step by step if the logits are of several steps."""
        ...

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        """Return the loss, the mean over the samples."""
        ...

    def subset(self, samples: slice) -> "ReadoutLoss":
        """Return the same loss for some of the samples."""
        ...


class LabelCrossEntropy(NamedTuple):
    """Cross-entropy with labels; its gradient is softmax(Y) - onehot(y)."""

    labels: Int[Tensor, " batch"]

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        """Return dloss / dlogits, step by step if the logits are of several steps."""
        expected = F.one_hot(self.labels, logits.shape[-1])
        return (logits.softmax(-1) - expected) / len(self.labels)

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy, in nats."""
        return F.cross_entropy(logits, self.labels)

    def subset(self, samples: slice) -> "LabelCrossEntropy":
        """Return the same loss for some of the samples."""
        return LabelCrossEntropy(self.labels[samples])


class TeacherCrossEntropy(NamedTuple):
    """Cross-entropy with the teacher's softmax, for samples without labels."""

    logits: Float[Tensor, "batch output"]  # the teacher's

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        """Return dloss / dlogits, step by step if the logits are of several steps."""
        return (logits.softmax(-1) - self.logits.softmax(-1)) / len(self.logits)

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy, in nats."""
        return F.cross_entropy(logits, self.logits.softmax(-1))

    def subset(self, samples: slice) -> "TeacherCrossEntropy":
        """Return the same loss for some of the samples."""
        return TeacherCrossEntropy(self.logits[samples])


class SquaredError(NamedTuple):
    """Mean squared error, for regression and reconstruction; gradient 2 (Y - y) / outputs."""

    values: Float[Tensor, "batch output"]

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        """Return dloss / dlogits, step by step if the logits are of several steps."""
        return (logits - self.values) * (2 / self.values.numel())

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        """Return the mean squared error."""
        return F.mse_loss(logits, self.values)

    def subset(self, samples: slice) -> "SquaredError":
        """Return the same loss for some of the samples."""
        return SquaredError(self.values[samples])


def accuracy_of(logits: Float[Tensor, "batch output"], labels: Tensor) -> float:
    """Return the fraction of samples whose largest logit is that of their label.

    If the labels are values: the fraction of their variance over samples that the outputs explain.
    """
    if not labels.is_floating_point():
        return int((logits.argmax(1) == labels).sum()) / len(labels)
    spread = (labels - labels.mean(0)).square().sum()
    return 1 - float((logits - labels).square().sum() / spread)


def right_of(logits: Float[Tensor, "batch output"], labels: Tensor) -> Bool[Tensor, " batch"]:
    """Tell of each sample whether its largest logit is that of its label; no values are right."""
    if labels.is_floating_point():
        return torch.zeros(len(labels), dtype=torch.bool)
    right: Tensor = logits.argmax(1) == labels
    return right


def sample_losses(logits: Float[Tensor, "batch output"], labels: Tensor) -> Float[Tensor, " batch"]:
    """Return the cross-entropy of each sample, or its mean squared error if labels are values."""
    if labels.is_floating_point():
        return (logits - labels).square().mean(1)
    return F.cross_entropy(logits, labels, reduction="none")
