"""What the readout is taught: the gradient of its loss by its logits, the mean over samples."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Goal(Protocol):
    """A loss of the readout on some samples."""

    def error(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        """dloss / dlogits, step by step where there are several."""
        ...

    def loss(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        """The mean over the samples."""
        ...

    def part(self, samples: slice) -> "Goal":
        """The same for some of the samples."""
        ...


class Classes(NamedTuple):
    """Cross-entropy with labels: softmax(Y) - onehot(y)."""

    labels: Int[Tensor, " batch"]

    def error(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        wanted = F.one_hot(self.labels, logits.shape[-1])
        return (logits.softmax(-1) - wanted) / len(self.labels)

    def loss(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        return F.cross_entropy(logits, self.labels)

    def part(self, samples: slice) -> "Classes":
        return Classes(self.labels[samples])


class TeacherClasses(NamedTuple):
    """Cross-entropy with the teacher's softmax, where a lab gives no labels."""

    logits: Float[Tensor, "batch output"]

    def error(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        return (logits.softmax(-1) - self.logits.softmax(-1)) / len(self.logits)

    def loss(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        return F.cross_entropy(logits, self.logits.softmax(-1))

    def part(self, samples: slice) -> "TeacherClasses":
        return TeacherClasses(self.logits[samples])


class Values(NamedTuple):
    """Mean squared error, for regression and reconstruction: 2 (Y - y) / outputs."""

    values: Float[Tensor, "batch output"]

    def error(self, logits: Float[Tensor, "*time batch output"]) -> Tensor:
        return (logits - self.values) * (2 / self.values.numel())

    def loss(self, logits: Float[Tensor, "batch output"]) -> Float[Tensor, ""]:
        return F.mse_loss(logits, self.values)

    def part(self, samples: slice) -> "Values":
        return Values(self.values[samples])


def correct(logits: Float[Tensor, "batch output"], labels: Tensor) -> float:
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
