"""The tasks of the learning benchmark: data, teacher, recipes, and what has to come out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import nn

from benchmarks.datasets import Split, cifar10, digits, fashion_mnist
from ltl_core.data.images import Scaling
from ltl_core.settings import RuleName, TrainingSettings

Rates = Mapping[RuleName, float]


class Recipe(NamedTuple):
    """How a teacher is trained: SGD with Nesterov momentum 0.9, one cycle of the learning rate."""

    epochs: int
    learning_rate: float
    batch: int = 128
    weight_decay: float = 5e-4
    padding: int = 0  # of the random crop; 0 is none
    flip: bool = False


class Task(NamedTuple):
    """One data set with one architecture."""

    name: str
    load: Callable[[Path], Split]
    module: Callable[[], nn.Module]
    scaling: Scaling
    recipe: Recipe
    epochs: int  # of every rule
    batch: int
    learning_rates: Rates
    teacher_at_least: float
    gaps: Rates  # how far below its teacher a student may stay

    def settings(self, rule: RuleName, seed: int) -> TrainingSettings:
        """Of one run."""
        return TrainingSettings(
            rule=rule,
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rates.get(rule, 1e-3),
            seed=seed,
        )


def tasks() -> dict[str, Task]:
    """All tasks by name."""
    offline, online = RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE
    small = Task(
        name="digits",
        load=digits,
        module=lambda: small_network(side=2),
        scaling=Scaling((0.0,), (1.0,)),
        recipe=Recipe(epochs=15, learning_rate=0.1, batch=64),
        epochs=2,
        batch=16,
        learning_rates={offline: 1e-3, online: 1e-3},
        teacher_at_least=0.96,
        gaps={offline: 0.012, online: 0.012},
    )
    fashion = small._replace(
        name="fashion-mnist",
        load=fashion_mnist,
        module=lambda: small_network(side=7),
        recipe=Recipe(epochs=15, learning_rate=0.1, padding=2, flip=True),
        batch=64,
        teacher_at_least=0.92,
        gaps={offline: 0.003, online: 0.005},
    )
    cifar = fashion._replace(
        name="cifar-10",
        load=cifar10,
        module=lambda: vgg11(width=0.5),
        scaling=Scaling((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        recipe=Recipe(epochs=10, learning_rate=0.1, padding=4, flip=True),
        epochs=5,
        teacher_at_least=0.80,
        gaps={offline: 0.010, online: 0.015},
    )
    return {task.name: task for task in (small, fashion, cifar)}


def small_network(side: int, classes: int = 10) -> nn.Sequential:
    """conv 32/2, conv 64/2, fc 128, fc `classes`; two strides leave `side` x `side` positions."""
    return nn.Sequential(
        *_convolution(1, 32, stride=2),
        *_convolution(32, 64, stride=2),
        nn.Flatten(),
        *_hidden(64 * side * side, 128),
        nn.Linear(128, classes),
    )


def vgg11(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """VGG-11 of the LTL paper, for 3 x 32 x 32 pixels: strides instead of pooling."""
    plan = ((64, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2), (512, 1), (512, 2))
    channels, layers = 3, list[nn.Module]()
    for columns, stride in ((round(width * full), stride) for full, stride in plan):
        layers += _convolution(channels, columns, stride)
        channels = columns
    hidden = round(width * 512)
    layers += [nn.Flatten(), *_hidden(4 * channels, hidden), *_hidden(hidden, hidden)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def _convolution(rows: int, columns: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(rows, columns, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(columns), nn.Hardtanh(0, 2)]


def _hidden(rows: int, columns: int) -> list[nn.Module]:
    return [
        nn.Dropout(0.3),
        nn.Linear(rows, columns, bias=False),
        nn.BatchNorm1d(columns),
        nn.Hardtanh(0, 2),
    ]
