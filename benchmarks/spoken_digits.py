"""Spoken digits: ten words by many synthetic voices, as spectrograms.

Debian's `espeak-ng` speaks each word; nobody's recordings are needed. Every fourth voice is heard
in the test alone, so a network meets speakers that it never learned from. Each recording starts at
a random time, and white noise lies over it, 5 to 20 dB below the word.
"""

import itertools
import math
import os
import random
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.missing_data import MissingDataError
from ltl_core.data.images import Images
from ltl_core.packing import pack, unpack

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ACCENTS = ("en-gb", "en-us", "en-gb-scotland")
_TAKES = 4  # of each word by each voice in each accent, of other speed and pitch
_TEST_EVERY = 4  # voices
_RATE = 22_050  # samples a second, of espeak-ng
_BANDS, _FRAMES = 32, 32
_HOP, _WINDOW = 551, 1024  # samples: a frame each 25 ms, of 46 ms
_LOWEST_HERTZ, _HIGHEST_HERTZ = 100.0, 8000.0
_DEPTH_DB = 60.0  # below the loudest band of a recording is silence
_NOISE_DB = (5.0, 20.0)  # below the word
_LATEST_S = 0.1  # that a word begins
_AT_ONCE = 8  # programs that speak


class Take(NamedTuple):
    """One word by one voice."""

    voice: str
    accent: str
    word: int
    words_a_minute: int
    pitch: int


def spoken_digits(folder: Path) -> tuple[Images, Images]:
    """Return training and test spectrograms, 1 x 32 bands x 32 frames of 25 ms.

    They are read from `spoken-digits.safetensors` of the folder, or spoken, which takes minutes,
    and kept there if it may be written. Raises MissingDataError without the file and the program.
    """
    kept = folder / "spoken-digits.safetensors"
    if kept.is_file():
        tensors, _ = unpack(kept.read_bytes())
    else:
        tensors = _spoken()
        if os.access(folder, os.W_OK):
            kept.write_bytes(pack(tensors, {}))
    train, test = (
        Images(tensors[f"{part}.pixels"], tensors[f"{part}.labels"], WORDS)
        for part in ("train", "test")
    )
    return train, test


def spectrogram(
    sound: Float[np.ndarray, " time"], generator: torch.Generator
) -> UInt8[Tensor, "1 band frame"]:
    """Return the log mel energies of a recording, with a random start and noise; 255 is loudest.

    A level is 255 at the loudest band and frame, and 0 at 60 dB below it and less.
    """
    length = _HOP * _FRAMES
    word = torch.from_numpy(sound).float()
    start = int(_LATEST_S * _RATE * torch.rand((), generator=generator))
    heard = torch.zeros(length)
    part = word[: length - start]
    heard[start : start + len(part)] = part
    low, high = _NOISE_DB
    below = low + (high - low) * torch.rand((), generator=generator)
    level = word.square().mean().sqrt() * 10 ** (-below / 20)
    heard += level * torch.randn(length, generator=generator)
    window = torch.hann_window(_WINDOW)
    frames = torch.stft(heard, _WINDOW, _HOP, window=window, return_complex=True)[:, :_FRAMES]
    decibels = 10 * torch.log10(_mel_bands() @ frames.abs().square() + 1e-12)
    levels = (decibels - decibels.max()).div(_DEPTH_DB).add(1).clamp(0, 1)
    return levels.mul(255).round().to(torch.uint8).unsqueeze(0)


def takes(voices: Iterable[str]) -> tuple[list[Take], list[Take]]:
    """Return what is spoken for training and for the test; the same for the same voices."""
    chosen = random.Random(0)
    parts: tuple[list[Take], list[Take]] = ([], [])
    for (number, voice), accent in itertools.product(enumerate(sorted(voices)), _ACCENTS):
        part = parts[number % _TEST_EVERY == 0]
        for word, _ in itertools.product(range(len(WORDS)), range(_TAKES)):
            speed, pitch = chosen.randint(120, 220), chosen.randint(20, 80)
            part.append(Take(voice, accent, word, speed, pitch))
    return parts


def _spoken() -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for part, spoken in zip(("train", "test"), takes(_voices()), strict=True):
        generator = torch.Generator().manual_seed(0)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sounds = pool.map(_speak, spoken)
            tensors[f"{part}.pixels"] = torch.stack([spectrogram(s, generator) for s in sounds])
        tensors[f"{part}.labels"] = torch.tensor([take.word for take in spoken])
    return tensors


def _speak(take: Take) -> Float[np.ndarray, " time"]:
    """Return the samples of one word, -1 to 1."""
    voice = f"{take.accent}+{take.voice}"
    settings = ["-v", voice, "-s", str(take.words_a_minute), "-p", str(take.pitch)]
    spoken = _run([*settings, "--stdout", WORDS[take.word]])
    header = 44  # bytes of a WAV file; its lengths are not known when the program writes them
    return np.frombuffer(spoken[header:], "<i2").astype(np.float32) / 2**15


def _voices() -> Sequence[str]:
    """Return the names of the variants of a voice."""
    lines = _run(["--voices=variant"]).decode().splitlines()[1:]
    return [line.split("!v/")[1].split()[0] for line in lines if "!v/" in line]


def _run(arguments: list[str]) -> bytes:
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingDataError(
            "There is no program espeak-ng to speak the digits: install Debian's package espeak-ng."
        )
    return subprocess.run([program, *arguments], capture_output=True, check=True).stdout


def _mel_bands() -> Float[Tensor, "band frequency"]:
    """Return triangular filters, evenly spaced on the mel scale, m = 2595 log10(1 + f / 700 Hz)."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (_LOWEST_HERTZ, _HIGHEST_HERTZ))
    edges = 700 * (10 ** (torch.linspace(low, high, _BANDS + 2) / 2595) - 1)
    frequencies = torch.linspace(0, _RATE / 2, _WINDOW // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)
