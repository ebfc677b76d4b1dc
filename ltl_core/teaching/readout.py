"""What the readout is taught: the gradient of its loss by its logits, the mean over samples."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class ReadoutLoss(Protocol):
    """A loss of the readout on some samples."""

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        """dloss / dlogits, step by step where there are several."""
        ...

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        """The mean over the samples."""
        ...

    def subset(self, samples: slice) -> "ReadoutLoss":
        """The same for some of the samples."""
        ...


class LabelCrossEntropy(NamedTuple):
    """Cross-entropy with labels: softmax(Y) - onehot(y)."""

    labels: Int[Tensor, " batch"]

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        wanted = F.one_hot(self.labels, logits.shape[-1])
        return (logits.softmax(-1) - wanted) / len(self.labels)

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        return F.cross_entropy(logits, self.labels)

    def subset(self, samples: slice) -> "LabelCrossEntropy":
        return LabelCrossEntropy(self.labels[samples])


class TeacherCrossEntropy(NamedTuple):
    """Cross-entropy with the teacher's softmax, where a lab gives no labels."""

    logits: Float[Tensor, "batch output"]

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        return (logits.softmax(-1) - self.logits.softmax(-1)) / len(self.logits)

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        return F.cross_entropy(logits, self.logits.softmax(-1))

    def subset(self, samples: slice) -> "TeacherCrossEntropy":
        return TeacherCrossEntropy(self.logits[samples])


class SquaredError(NamedTuple):
    """Mean squared error, for regression and reconstruction: 2 (Y - y) / outputs."""

    values: Float[Tensor, "batch output"]

    def gradient(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        return (logits - self.values) * (2 / self.values.numel())

    def value(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        return F.mse_loss(logits, self.values)

    def subset(self, samples: slice) -> "SquaredError":
        return SquaredError(self.values[samples])


def accuracy_of(logits: Float[Tensor, "batch output"], labels: Tensor) -> float:
    """Part of the samples whose largest logit is that of their label.

    Where labels are values: the part of their variance, over samples, that the outputs explain.
    """
    if not labels.is_floating_point():
        return int((logits.argmax(1) == labels).sum()) / len(labels)
    spread = (labels - labels.mean(0)).square().sum()
    return 1 - float((logits - labels).square().sum() / spread)


def sample_losses(logits: Float[Tensor, "batch output"], labels: Tensor) -> Tensor:
    """Cross-entropy, or the mean squared error where labels are values."""
    if labels.is_floating_point():
        return (logits - labels).square().mean(1)
    return F.cross_entropy(logits, labels, reduction="none")
