"""Independent streams of random numbers, each with a name of its own."""

import hashlib

import torch


def stream(seed: int, *words: object) -> torch.Generator:
    """Return a stream of random numbers that depends on the seed and these words alone."""
    text = "/".join(map(str, (seed, *words)))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
