"""Streams of random numbers, each with a name."""

import hashlib

import torch


def stream(seed: int, *words: object) -> torch.Generator:
    """A stream of random numbers that depends on nothing but these words."""
    text = "/".join(map(str, (seed, *words)))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
