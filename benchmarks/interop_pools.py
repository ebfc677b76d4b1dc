"""What it costs to replace max pools, before and after fine-tuning: on the digits."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from ltl_core.interop.max_pools import replace_max_pool

EPOCHS, TUNED, HELD_OUT, SEEDS = 15, 2, 360, 3


class PoolRow(NamedTuple):
    """Accuracy on held-out digits, over the seeds: mean, lowest and highest."""

    network: str
    mean: float
    lowest: float
    highest: float


class _Digits(NamedTuple):
    inputs: Tensor
    labels: Tensor


def pool_rows() -> list[PoolRow]:
    """Train networks with max pools, replace these in each way, and fine-tune."""
    runs = [_run(seed) for seed in range(SEEDS)]
    names = ["max pools"]
    for kind in ("average pools", "strided convolutions"):
        names += [f"{kind}, not tuned", f"{kind}, {TUNED} epochs of tuning"]
    return [
        PoolRow(name, sum(found) / len(found), min(found), max(found))
        for name, found in zip(names, zip(*runs, strict=True), strict=True)
    ]


def _run(seed: int) -> list[float]:
    """Return the accuracy of one network, and of each replacement, before and after tuning."""
    torch.manual_seed(seed)
    train, test = _split(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    _train(module, train, EPOCHS, 1e-3)
    accuracies = [_accuracy(module, test)]
    replacements = (
        replace_max_pool(module),
        replace_max_pool(module, "strided-convolution", input_shape=(1, 8, 8)),
    )
    for replaced in replacements:
        accuracies.append(_accuracy(replaced, test))
        _train(replaced, train, TUNED, 1e-3)
        accuracies.append(_accuracy(replaced, test))
    return accuracies


def _split(seed: int) -> tuple[_Digits, _Digits]:
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]
    return _Digits(inputs[kept], labels[kept]), _Digits(inputs[held], labels[held])


def _train(module: nn.Module, digits: _Digits, epochs: int, rate: float) -> None:
    optimizer = torch.optim.Adam(module.parameters(), rate)
    module.train()
    for _ in range(epochs):
        for index in torch.randperm(len(digits.labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(module(digits.inputs[index]), digits.labels[index]).backward()
            optimizer.step()


def _accuracy(module: nn.Module, digits: _Digits) -> float:
    with torch.no_grad():
        return float((module.eval()(digits.inputs).argmax(1) == digits.labels).float().mean())
