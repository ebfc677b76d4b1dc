"""Tasks of the learning benchmark: data, teacher, recipes and limits."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from benchmarks.datasets import (
    Split,
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    spoken_digits,
    tiny_imagenet,
)
from benchmarks.models import VGG11, VGG13, VGG16, ResNet20, vgg
from ltl_core.data.images import Scaling
from ltl_core.presets import PRESETS, PresetName
from ltl_core.settings import NeuronSettings, Readout, RuleName, TrainingSettings

Gaps = Mapping[RuleName, float]
Own = Mapping[RuleName, Mapping[str, Any]]
Presets = Mapping[RuleName, PresetName]
LIF = NeuronSettings()
_LTL_VGG11: Presets = MappingProxyType(
    {
        RuleName.LTL_OFFLINE: PresetName.LTL_OFFLINE_VGG11,
        RuleName.LTL_ONLINE: PresetName.LTL_ONLINE_VGG11,
    }
)
_LTL_VGG16: Presets = MappingProxyType(
    {
        RuleName.LTL_OFFLINE: PresetName.LTL_OFFLINE_VGG16,
        RuleName.LTL_ONLINE: PresetName.LTL_ONLINE_VGG16,
    }
)


class Recipe(NamedTuple):
    """How a teacher is trained: SGD with momentum 0.9.

    The rate makes one cycle (and the momentum is Nesterov's), or falls by `gamma` at milestones.
    """

    epochs: int
    learning_rate: float
    batch: int = 128
    weight_decay: float = 5e-4
    padding: int = 0  # of the random crop; 0 is none
    flip: bool = False
    milestones: tuple[int, ...] = ()
    gamma: float = 0.2


class Task(NamedTuple):
    """One data set with one architecture."""

    name: str
    load: Callable[[Path], Split]
    module: Callable[[], nn.Module]
    scaling: Scaling
    recipe: Recipe
    epochs: int  # of every rule
    batch: int
    teacher_at_least: float
    gaps: Gaps  # how far below its teacher a student may stay
    presets: Presets = MappingProxyType({})  # of the rules that were published for it
    own: Own = MappingProxyType({})  # settings of rules that learn otherwise than the others

    def settings(self, rule: RuleName, seed: int) -> TrainingSettings:
        """Training settings of one run."""
        if rule in self.presets:
            return PRESETS[self.presets[rule]].settings.model_copy(update={"seed": seed})
        neuron = PRESETS[PresetName.TANDEM_IF].settings.neuron if rule is RuleName.TANDEM else LIF
        shared: dict[str, Any] = {"neuron": neuron, "epochs": self.epochs, "batch": self.batch}
        return TrainingSettings(rule=rule, seed=seed, **{**shared, **self.own.get(rule, {})})


def tasks() -> dict[str, Task]:
    """All tasks by name."""
    offline, online = RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE
    small = Task(
        name="digits",
        load=digits,
        module=lambda: small_network(side=2),
        scaling=Scaling((0.0,), (1.0,)),
        recipe=Recipe(epochs=15, learning_rate=0.1, batch=64),
        epochs=4,  # of 1,437 samples
        batch=16,
        own={rule: {"learning_rate": 2e-3} for rule in (offline, online)},
        teacher_at_least=0.96,
        gaps={offline: 0.015, online: 0.015},
    )
    fashion = small._replace(
        name="fashion-mnist",
        load=fashion_mnist,
        module=lambda: small_network(side=7),
        recipe=Recipe(epochs=24, learning_rate=0.05, flip=True),
        epochs=2,
        batch=64,
        own={online: {"batch": 32}},
        teacher_at_least=0.92,
        gaps={offline: 0.003, online: 0.005},
    )
    spoken = fashion._replace(
        name="spoken-digits",
        load=spoken_digits,
        module=lambda: small_network(side=8),
        recipe=Recipe(epochs=24, learning_rate=0.05),
        epochs=8,  # of 9,000 samples
        teacher_at_least=0.90,
        gaps={offline: 0.010, online: 0.015},
    )
    cifar = fashion._replace(
        name="cifar-10",
        load=cifar10,
        module=lambda: vgg(VGG11, width=0.5),
        scaling=Scaling((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        recipe=Recipe(epochs=10, learning_rate=0.1, padding=4, flip=True),
        epochs=5,
        batch=16,  # more can be learned from few samples in small steps
        own={offline: {"readout": Readout.TEACHER}},
        teacher_at_least=0.80,
        gaps={offline: 0.010, online: 0.015},
    )
    return {task.name: task for task in (small, fashion, spoken, cifar, *_published(cifar))}


def _published(cifar: Task) -> Iterator[Task]:
    """Experiments of the LTL paper at full length, which need the data and a GPU."""
    recipe = Recipe(200, 1e-2, 64, padding=4, flip=True, milestones=(60, 120, 160), gamma=0.2)
    whole = cifar._replace(
        name="cifar-10-published",
        module=lambda: vgg(VGG11),
        recipe=recipe,
        presets=_LTL_VGG11,
        batch=64,
        teacher_at_least=0.0,
        gaps={},
    )
    yield whole
    yield whole._replace(
        name="cifar-10-vgg16-published", module=lambda: vgg(VGG16), presets=_LTL_VGG16
    )
    yield whole._replace(name="cifar-10-resnet20-published", module=ResNet20)
    yield whole._replace(
        name="cifar-100-published",
        load=cifar100,
        module=lambda: vgg(VGG11, classes=100),
        scaling=Scaling((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    )
    yield whole._replace(
        name="tiny-imagenet-published",
        load=tiny_imagenet,
        module=lambda: vgg(VGG13, classes=200, side=64),
        scaling=Scaling((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)),
    )


def small_network(side: int, classes: int = 10) -> nn.Sequential:
    """conv 32/2, conv 64/2, fc 128, fc `classes`; two strides leave `side` x `side` positions."""
    return nn.Sequential(
        *_convolution(1, 32, stride=2),
        *_convolution(32, 64, stride=2),
        nn.Flatten(),
        *_hidden(64 * side * side, 128, dropout=0.4),
        nn.Dropout(0.3),
        nn.Linear(128, classes),
    )


def _convolution(rows: int, columns: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(rows, columns, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(columns), nn.Hardtanh(0, 2)]


def _hidden(rows: int, columns: int, dropout: float) -> list[nn.Module]:
    return [
        nn.Dropout(dropout),
        nn.Linear(rows, columns, bias=False),
        nn.BatchNorm1d(columns),
        nn.Hardtanh(0, 2),
    ]
