"""Gaussian random numbers from a table of quantiles, for noise that is drawn once and forgotten."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.second_thread import Later, SecondThread

_LEVELS = 1 << 16
_A_WORD = 4  # numbers that 64 random bits make
_AHEAD = 1 << 17  # numbers that are looked up at once: more leave the cache, fewer cost more calls
_WORTH = 1 << 14  # numbers that are worth a second thread
_FAR = 1 << 19  # numbers that it looks up at once: they leave its cache anyway
_LAST = 2**64 - 1  # all whole numbers up to here are the words of the stream as they come


class GaussianTable:
    """Draws from 65,536 equally likely quantiles of the normal distribution, with variance one.

    Nowhere is the distribution function further than 2^-16 from the normal one, moments up to the
    sixth agree to 0.2 %, and the largest number is 4.32: finer than a converter can resolve, in
    half the time of numbers of full precision. What is drawn depends on the stream it begins with
    alone, not on threads. Numbers are looked up ahead, many at once, into memory that stays in the
    cache; or by a second thread, while those before are used.
    """

    def __init__(
        self, rng: torch.Generator, expected: int = 0, second: SecondThread | None = None
    ) -> None:
        """Begin with a seed from `rng`, to give out so many numbers as are `expected`.

        Many numbers are looked up ahead by the `second` thread, while those before are used.
        """
        seed = int(torch.randint(2**62, (), generator=rng))
        self._words = np.random.Generator(np.random.SFC64(seed))
        self._block, self._spare = _Block(), _Block()
        self._next = 0
        self._expected = expected  # numbers that are still to be looked up
        is_worth_it = second is not None and second.is_used and expected >= _WORTH
        self._second = second if is_worth_it else None
        self._coming: Later[_Block] | None = None
        self._begin_next(0)

    def take(self, count: int) -> Float[Tensor, " _count"]:
        """Return the next numbers, beginning with a fresh word of random bits.

        They are good until the next call, which may write others over them.
        """
        whole = -(-count // _A_WORD) * _A_WORD
        if self._next + whole > self._block.end:
            self._look_up(whole)
        taken = self._block.numbers[self._next : self._next + count]
        self._next += whole
        return taken

    def _look_up(self, whole: int) -> None:
        """Look up so many numbers that `whole` are there, beginning with those that are left."""
        left = self._block.numbers[self._next : self._block.end]
        if self._coming is None:
            most = min(left.numel() + self._expected, _AHEAD) // _A_WORD * _A_WORD
            count = max(whole, most) - left.numel()
            self._expected -= count
            left, fresh = left.clone(), self._block.fill(self._words, left.numel(), count)
        else:
            fresh, self._spare = self._coming.result(), self._block
        self._block = self._behind(left, fresh, whole)
        self._next = self._block.first - left.numel()
        self._begin_next(whole)

    def _begin_next(self, room: int) -> None:
        """Let the second thread look up the next numbers, with room for those that will be left."""
        count = min(self._expected, _FAR) // _A_WORD * _A_WORD
        self._coming = None
        if self._second is not None and count > 0:
            self._expected -= count
            self._coming = self._second.later(partial(self._spare.fill, self._words, room, count))

    def _behind(self, left: Tensor, fresh: "_Block", whole: int) -> "_Block":
        """Return the fresh numbers behind those that are left, and more if these are too few."""
        missing = whole - left.numel() - (fresh.end - fresh.first)
        if missing <= 0 and left.numel() <= fresh.first:
            fresh.numbers[fresh.first - left.numel() : fresh.first] = left
            return fresh
        more = _Block().fill(self._words, 0, max(missing, 0))
        self._expected -= max(missing, 0)
        whole_block = _Block()
        whole_block.numbers = torch.cat((left, fresh.drawn, more.drawn))
        whole_block.first, whole_block.end = left.numel(), whole_block.numbers.numel()
        return whole_block


class _Block:
    """Numbers that are looked up at once, in memory with room for others before them."""

    def __init__(self) -> None:
        self.numbers = torch.empty(0)
        self.first = self.end = 0
        self._places = torch.empty(0, dtype=torch.int32)

    @property
    def drawn(self) -> Float[Tensor, " _count"]:
        """The numbers that were looked up."""
        return self.numbers[self.first : self.end]

    def fill(self, words: np.random.Generator, first: int, count: int) -> "_Block":
        """Look up so many numbers, a multiple of those that a word makes, from `first` on."""
        self.first, self.end = first, first + count
        if self.end > self.numbers.numel():
            self.numbers = torch.empty(self.end)
        if count > self._places.numel():
            self._places = torch.empty(count, dtype=torch.int32)
        bits = words.integers(_LAST, size=count // _A_WORD, dtype=np.uint64, endpoint=True)
        places = self._places[:count]
        places.copy_(torch.from_numpy(bits.view(np.uint16)))
        torch.index_select(_QUANTILES, 0, places, out=self.drawn)
        return self


def draws_alike(width: int) -> bool:
    """Tell whether lines of so many numbers are the same if they are taken one by one."""
    return width % _A_WORD == 0


def cut(lines: int, width: int) -> list[slice]:
    """Cut lines of so many numbers into parts that stay in the cache.

    Taking the numbers part by part gives the same ones as taking all of them at once.
    """
    count = max(1, _AHEAD // width)
    if count * width % _A_WORD:
        count += -count % _A_WORD
    return [slice(first, min(first + count, lines)) for first in range(0, lines, count)]


def _quantiles() -> Tensor:
    middles = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
    values: Tensor = torch.special.ndtri(middles)
    return (values / values.square().mean().sqrt()).float()


_QUANTILES = _quantiles()
