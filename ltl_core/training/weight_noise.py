"""Noise on the weights of a student in training, so that it bears the noise of a chip's cells.

In each batch every weight gets Gaussian noise of the standard deviation fraction * w_max, forward
and backward, while the latent weights that the gradient moves have none (Joshi et al., Nature
Communications 11, 2473, 2020). w_max is the largest code; noisy weights are rounded to codes and
kept within their range, because a student runs on codes (our own choice).
"""

import torch
from jaxtyping import Int
from torch import Tensor

from ltl_core.student.codes import CodeFormat, as_integers, encode
from ltl_core.student.student import Student


def with_weight_noise(student: Student, fraction: float, rng: torch.Generator) -> Student:
    """Return the student with noise on its weight codes; its trims stay as they are."""
    codes = {
        name: layer._replace(weight=_noisy(layer.weight, fraction, student.format, rng))
        for name, layer in student.codes.items()
    }
    return student.with_codes(codes)


def _noisy(
    weight: Int[Tensor, "column row"], fraction: float, form: CodeFormat, rng: torch.Generator
) -> Int[Tensor, "column row"]:
    noise = torch.randn(weight.shape, generator=rng).to(weight.device)
    return as_integers(encode(weight + fraction * form.weight_max * noise, form))
