"""Noise that each multiply meets: every weight is read a little differently each time."""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

_STREAMS = 2


def read_noise_spread(
    rows: Float[Tensor, "*group row point"], sigma: float
) -> Float[Tensor, "*group point"]:
    """Standard deviation of a column sum when every weight is read with N(0, sigma^2).

    The second product, sqrt(sum_j sigma^2 x_j^2). All cells have the same sigma, so that it is the
    same for all columns.
    """
    return rows.square().sum(-2).to(torch.float32).sqrt_().mul_(sigma)


class NormalStreams:
    """Normal numbers, half of them from each of two streams: the same on one thread or two.

    Drawing them takes longer than the product they are added to, and torch draws on one thread.
    """

    def __init__(self, rng: torch.Generator) -> None:
        seeds = torch.randint(1 << 62, (_STREAMS,), generator=rng).tolist()
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._helpers: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if torch.get_num_threads() > 1:
            self._helpers = ThreadPoolExecutor(_STREAMS - 1, "read-noise")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._helpers is not None:
            self._helpers.shutdown()

    def fill_(self, numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Numbers that lie in memory one after the other."""
        mine, theirs = numbers.view(-1).tensor_split(_STREAMS)
        if self._helpers is None:
            mine.normal_(generator=self._streams[0])
            theirs.normal_(generator=self._streams[1])
            return numbers
        drawn = self._helpers.submit(theirs.normal_, generator=self._streams[1])
        mine.normal_(generator=self._streams[0])
        drawn.result()
        return numbers
