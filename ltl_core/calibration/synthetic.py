"""Stimuli made from the student alone, for a calibration without the lab's data.

Smooth random fields of several scales on a masked background, with some grain, over the range of
the inputs. They drive a network's layers as pictures do; the golden student's answers to them are
the targets. Inputs without neighbourhood (vectors) are mixtures of a few random patterns.

A network of sequences is shown pictures that move; one of two polarities, the events that a camera
sees of them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.random_fields import mixtures, pictures
from ltl_core.calibration.random_motion import synthetic_sequences
from ltl_core.spiking.inputs import unscaled_inputs
from ltl_core.student.student import Student


def synthetic_inputs(
    student: Student, count: int, seed: int, *, are_sequences: bool = False
) -> Float[Tensor, "sample *input"]:
    """Return `count` stimuli in the units of the lab's samples; one seed, one set.

    If they are sequences, each has a frame for every time step of the student, and a frame holds
    whole numbers of events.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = student.network.input_shape
    if are_sequences:
        values = synthetic_sequences((count, student.neuron.steps, *shape), generator)
        return (values * student.input_full_scale).round()
    if len(shape) == 3:
        values = pictures(count, shape[0], (shape[1], shape[2]), generator)
    else:
        values = mixtures((count, *shape), generator)
    return unscaled_inputs(student.network, values * student.input_full_scale)
