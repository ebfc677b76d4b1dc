"""Teachers of the learning benchmark, and their targets."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD, lr_scheduler

from benchmarks.datasets import Split
from benchmarks.tasks import Recipe, Task
from ltl_core.data.augment import crop_and_flip
from ltl_core.data.images import Images, Scaling, as_samples
from ltl_core.interop.from_torch import Imported, from_torch
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import pack, unpack
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import warm_start
from ltl_core.teaching.live import Teacher
from ltl_core.teaching.targets import Samples, Targets, evenly_spaced_indices
from ltl_core.teaching.teacher import collect

_SCALE_SAMPLES = 5000  # the scales k are measured on so many


def teacher_of(task: Task, split: Split, seed: int, cache: Path | None) -> Imported:
    """Trained teacher, from the cache if one of this recipe is there."""
    kept = None if cache is None else cache / f"{task.name}-{seed}.safetensors"
    recipe = json.dumps(task.recipe._asdict())
    if kept is not None and kept.is_file():
        weights, about = unpack(kept.read_bytes())
        if about.get("recipe") == recipe:
            device = torch.get_default_device()
            placed = {name: weight.to(device) for name, weight in weights.items()}
            return Imported(NetworkSpec.model_validate_json(about["network"]), placed)
    teacher = _train(task, split.train, seed)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        about = {"network": teacher.network.model_dump_json(), "recipe": recipe}
        kept.write_bytes(pack({n: weight.cpu() for n, weight in teacher.weights.items()}, about))
    return teacher


def shown(images: Images, scaling: Scaling) -> Samples:
    """Scale pictures and place them where tensors are made now: main memory or accelerator."""
    (inputs, labels), device = as_samples(images, scaling), torch.get_default_device()
    return Samples(inputs.to(device), None if labels is None else labels.to(device))


def scaled(teacher: Imported, samples: Samples, percentile: float) -> Teacher:
    """Teacher with its scales, measured on some of the samples."""
    some = samples.take(evenly_spaced_indices(len(samples.inputs), _SCALE_SAMPLES))
    return Teacher(*teacher, collect(*teacher, some, percentile=percentile).scales)


def default_start(
    task: Task, targets: Targets, neuron: NeuronSettings, seed: int
) -> dict[str, Tensor]:
    """Weights that the warm start turns into the published start, PyTorch's initialisation.

    W = W_default k_l / (k_{l-1} threshold),  b = b_default k_l / threshold;  readout: W_default /
    k_{L-1}: what `warm_start` undoes.
    """
    torch.manual_seed(seed)
    shape = tuple(targets.samples.inputs.shape[1:])
    network, weights = from_torch(task.module().eval(), shape)
    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}
    factors = warm_start(network, ones, targets.scales, neuron)
    return {name: weight / factors[name] for name, weight in weights.items()}


def _train(task: Task, images: Images, seed: int) -> Imported:
    torch.manual_seed(seed)
    module = task.module()
    parameters, recipe = module.parameters(), task.recipe
    optimizer = SGD(
        parameters,
        recipe.learning_rate,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
        nesterov=not recipe.milestones,
    )
    schedule = _schedule(optimizer, recipe, math.ceil(images.size / recipe.batch))
    for inputs, labels in _batches(images, task.scaling, recipe, seed):
        optimizer.zero_grad()
        F.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
        schedule.step()
    return from_torch(module.eval(), tuple(images.pixels.shape[1:]))


def _schedule(optimizer: SGD, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    """Schedule of the rate for this number of steps an epoch."""
    if recipe.milestones:
        falls = [epoch * steps for epoch in recipe.milestones]
        return lr_scheduler.MultiStepLR(optimizer, falls, recipe.gamma)
    return lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps
    )


def _batches(
    images: Images, scaling: Scaling, recipe: Recipe, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield scaled pictures with their labels in random order, epoch after epoch."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.epochs):
        for index in torch.randperm(images.size, generator=generator, device="cpu").split(
            recipe.batch
        ):
            taken = images.take(index)
            inputs = shown(taken, scaling).inputs
            if recipe.padding or recipe.flip:
                inputs = crop_and_flip(inputs, generator, padding=recipe.padding, flip=recipe.flip)
            yield inputs, taken.labels.to(inputs.device)
