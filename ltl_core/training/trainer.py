"""Trainers: what one batch teaches a student in codes, whatever the rule."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.rules.end_to_end import EndToEndRule, Model
from ltl_core.rules.rule import Rule
from ltl_core.rules.select import select_end_to_end, select_rule
from ltl_core.settings import Scales, TrainingSettings
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.forward import layerwise_forward_student
from ltl_core.student.layerwise import Supervision
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch
from ltl_core.training.adam_state import adam_tensors, load_adam


class BatchGradients(NamedTuple):
    """Gradients of one batch by matrix, and the logits of the student before it learned."""

    gradients: dict[str, Gradient]
    logits: Float[Tensor, "batch output"]


@runtime_checkable
class Trainer(Protocol):
    """A rule with the state that it keeps from batch to batch."""

    def begin_epoch(self, fraction_done: float, student: Student, batch: Batch) -> None:
        """Choose what the rule chooses once an epoch, on one batch.

        `fraction_done` is the fraction of the training that is done, from 0 to 1.
        """
        ...

    def learn(self, student: Student, batch: Batch) -> BatchGradients:
        """Return the gradients of one batch; move the rule's own state, if it has any.

        Raises SettingError if the batch lacks what the readout is to learn.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the rule's state, for a checkpoint."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        ...


def make_trainer(settings: TrainingSettings, network: NetworkSpec) -> Trainer:
    """Return the trainer of the settings' rule."""
    if settings.rule.is_local:
        return _LocalTrainer(select_rule(settings.rule), settings)
    return _EndToEndTrainer(select_end_to_end(settings, network), settings)


class _LocalTrainer:
    """A local rule, which has no state and is the same in every epoch."""

    def __init__(self, rule: Rule, settings: TrainingSettings) -> None:
        self._rule, self._settings = rule, settings

    def begin_epoch(self, fraction_done: float, student: Student, batch: Batch) -> None:
        """Do nothing."""

    def learn(self, student: Student, batch: Batch) -> BatchGradients:
        if self._settings.scales is Scales.BATCH:
            batch = batch.rescaled(self._settings.percentile)
        loss, bits = batch.readout_loss(self._settings.readout), self._settings.delta_bits
        supervision = Supervision(self._rule, batch.rates, loss, bits)
        result = layerwise_forward_student(student, batch.inputs, supervision)
        return BatchGradients(result.gradients, result.logits)

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Do nothing."""


class _EndToEndTrainer:
    """An end-to-end rule; Adam moves the rule's own state, at the student's learning rate."""

    def __init__(self, rule: EndToEndRule, settings: TrainingSettings) -> None:
        self._rule, self._readout, self._full_rate = rule, settings.readout, settings.learning_rate
        self._state = rule.state
        # Adam refuses to hold no parameter, and most of these rules have no state.
        parameters = list(self._state.values()) or [torch.zeros(0)]
        self._adam = torch.optim.Adam(parameters, settings.learning_rate)

    def begin_epoch(self, fraction_done: float, student: Student, batch: Batch) -> None:
        self._adam.param_groups[0]["lr"] = self._full_rate * (1 - fraction_done)
        loss = batch.readout_loss(self._readout)
        self._rule.begin_epoch(fraction_done, _model(student), batch.inputs, loss)

    def learn(self, student: Student, batch: Batch) -> BatchGradients:
        loss = batch.readout_loss(self._readout)
        result = self._rule.learn(_model(student), batch.inputs, loss)
        for name, parameter in self._state.items():
            parameter.grad = result.state_gradients.get(name)
        self._adam.step()
        return BatchGradients(result.gradients, result.logits)

    def tensors(self) -> dict[str, Tensor]:
        state = {name: tensor.clone() for name, tensor in self._state.items()}
        return state | adam_tensors(self._adam, self._state)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self._state.items():
            tensor.copy_(tensors[name])
        load_adam(self._adam, self._state, tensors)


def _model(student: Student) -> Model:
    return Model(student.network, student.weights(), student.neuron)
