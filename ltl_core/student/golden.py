"""Targets from the golden student: its own rates and outputs on any inputs, without labels.

A chip has to become the golden student, not the teacher: what the student cannot do in its codes
and steps, no chip that holds it can do either.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.student.forward import pack_student
from ltl_core.student.layerwise import layerwise_forward_packed
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet, to_levels

_CHUNK = 128  # samples at a time


def golden_targets(student: Student, samples: Samples) -> TargetSet:
    """Return the student's rates and logits on these samples as targets; labels are kept.

    Raises LayerShapeError if the inputs are not the network's.
    """
    packed, neuron = pack_student(student), student.neuron
    rates: dict[str, list[Tensor]] = {s.name: [] for s in student.network.stages[:-1]}
    logits: list[Float[Tensor, "chunk output"]] = []
    for inputs in samples.inputs.split(_CHUNK):
        found = layerwise_forward_packed(student.network, packed, inputs, neuron)
        logits.append(found.logits)
        for name, rate in found.rates.items():
            rates[name].append(to_levels(rate, 1.0))
    return TargetSet(
        samples,
        dict.fromkeys(rates, 1.0),
        {name: torch.cat(parts) for name, parts in rates.items()},
        torch.cat(logits),
    )
