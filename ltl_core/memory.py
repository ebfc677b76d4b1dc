"""Estimates of the memory that learning and measuring take, from network, batch and time window.

They are upper figures. The measured peak of a training is between a half and all of its figure, as
a test checks for one rule of each kind. What the process itself takes, with torch, is among them.
"""

from importlib.metadata import version
from typing import NamedTuple

from ltl_core.at_once import NUMBERS_AT_ONCE, NUMBERS_FITTED, STEPS_AT_ONCE
from ltl_core.chip import Observable
from ltl_core.network.layers import size
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.settings import CalibrationSettings, MethodName, RuleName, TrainingSettings

_TORCH = 320 * 2**20  # torch and what it loads for its optimisers
_CUDA = 160 * 2**20  # what the libraries add that every other build loads: 142 MiB of torch 2.13
_PROCESS = _TORCH if version("torch").endswith("+cpu") else _TORCH + _CUDA
_SLICE_BYTES = 12  # of each number that is worked on at once: rows, membranes and deltas
_MEASURED_AT_ONCE = 256  # samples
_PER_WEIGHT = 48  # bytes: weights, latent weights, gradients, codes, two moments of Adam
_FITTED_COPIES = 3  # of the unfolded inputs of a layer, and of its residuals
_PER_CELL = 160  # bytes: both devices of a simulated cell, and codes


class NetworkSize(NamedTuple):
    """How many numbers one sample and one step of a network are."""

    inputs: int
    neurons: int  # of all layers
    weights: int
    unfolded: int  # most inputs of one layer, unfolded for the product with its weights
    largest: int  # most neurons of one layer


def network_size(network: NetworkSpec) -> NetworkSize:
    """Count the numbers of one sample and one step."""
    neurons = [size(stage.output_shape) for stage in network.stages]
    return NetworkSize(
        inputs=size(network.input_shape),
        neurons=sum(neurons),
        weights=sum(size(shape) for shape in network.tensor_shapes.values()),
        unfolded=max(_unfolded(stage) for stage in network.stages),
        largest=max(neurons),
    )


def training_bytes(
    network: NetworkSpec, settings: TrainingSettings, samples: int, frames: int | None = None
) -> int:
    """Estimate the memory of training on so many samples, in bytes.

    A sample has so many `frames`, or is one still input.
    """
    found, steps = network_size(network), settings.neuron.steps
    batch = min(settings.batch, samples) if samples else settings.batch
    whole = _PROCESS + _PER_WEIGHT * found.weights + _data(found, samples, frames or 1)
    if settings.rule.is_local:
        needs_all = settings.rule is RuleName.LTL_OFFLINE
        return whole + _layerwise(found, batch, steps if needs_all else min(steps, STEPS_AT_ONCE))
    one_layer = max(4 * found.unfolded + 8 * found.largest, 12 * found.largest)
    others = 8 * (found.largest if settings.rule is RuleName.TANDEM else found.neurons)
    return whole + batch * steps * (one_layer + others)


def calibration_bytes(
    network: NetworkSpec, settings: CalibrationSettings, steps: int, samples: int
) -> int:
    """Estimate the memory of calibrating a simulated chip in windows of so many steps, in bytes."""
    found = network_size(network)
    batch = settings.batch * settings.method.presentations
    if settings.method is MethodName.SURROGATE or settings.observable is Observable.MEMBRANE:
        per_number = 36
    else:
        per_number = 8 if settings.observable is Observable.COUNTS else 16
    answers = batch * steps * found.neurons * per_number
    return measuring_bytes(network, steps, samples) + answers


def measuring_bytes(network: NetworkSpec, steps: int, samples: int) -> int:
    """Estimate the memory of measuring a simulated chip in windows of so many steps, in bytes."""
    found = network_size(network)
    cells = (_PER_WEIGHT + _PER_CELL) * found.weights
    answers = min(samples or _MEASURED_AT_ONCE, _MEASURED_AT_ONCE) * steps * found.neurons * 8
    return _PROCESS + cells + answers + _data(found, samples, 1) + _SLICE_BYTES * NUMBERS_AT_ONCE


def collecting_bytes(network: NetworkSpec, samples: int) -> int:
    """Estimate the memory of running a teacher over so many samples, in bytes."""
    found = network_size(network)
    one = 12 * found.inputs + 9 * found.neurons + 8 * found.largest
    unfolded = 4 * min(samples, _MEASURED_AT_ONCE) * found.unfolded
    return _PROCESS + _PER_WEIGHT * found.weights + samples * one + unfolded


def given_bytes(network: NetworkSpec, samples: int) -> int:
    """Estimate the memory of collecting activations that were uploaded, in bytes.

    They may be of double precision; weights are fitted to them, layer by layer.
    """
    found = network_size(network)
    one = 12 * found.inputs + 21 * found.neurons
    fitted = _FITTED_COPIES * 4 * (NUMBERS_FITTED + 2 * samples * found.largest)
    return _PROCESS + _PER_WEIGHT * found.weights + samples * one + fitted


def _layerwise(found: NetworkSize, batch: int, steps: int) -> int:
    """Estimate a pass of a local rule, which keeps spikes in bytes and works on a few samples."""
    one_sample = steps * (found.unfolded + 2 * found.largest)
    worked_on = max(one_sample, min(NUMBERS_AT_ONCE, batch * one_sample))
    return batch * found.neurons * (steps + 12) + _SLICE_BYTES * worked_on


def _data(found: NetworkSize, samples: int, frames: int) -> int:
    """Estimate a target set: inputs in floats, rates in bytes, as a block and as tensors."""
    return 2 * samples * (4 * found.inputs * frames + found.neurons)


def _unfolded(stage: Stage) -> int:
    """Count the numbers that the inputs of a stage unfold to: a patch for each position."""
    positions = size(stage.output_shape) // stage.columns
    return positions * sum(size(layer.weight_shape[1:]) for layer in stage.matrices)
