"""Spectrograms of spoken digits, and who speaks in which part."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.missing_data import MissingDataError
from benchmarks.spoken_digits import WORDS, spectrogram, spoken_digits, takes
from ltl_core.packing import pack

RATE = 22_050
BANDS = 32


def band_of(hertz: float) -> int:
    """Return the band whose centre is nearest, on the mel scale from 100 Hz to 8 kHz."""
    low, high, here = (2595 * math.log10(1 + f / 700) for f in (100, 8000, hertz))
    return round((here - low) / (high - low) * (BANDS + 1)) - 1


@pytest.mark.parametrize("hertz", [400.0, 1000.0, 4000.0])
def test_a_tone_is_loudest_in_its_band(hertz: float) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    levels = spectrogram(tone, torch.Generator().manual_seed(0))
    assert levels.shape == (1, BANDS, 32)
    assert levels.max() == 255
    loudest = int(levels[0].float().mean(1).argmax())
    assert abs(loudest - band_of(hertz)) <= 1


def test_noise_and_start_differ_from_recording_to_recording() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE).astype(np.float32)
    generator = torch.Generator().manual_seed(0)
    first, second = spectrogram(tone, generator), spectrogram(tone, generator)
    again = spectrogram(tone, torch.Generator().manual_seed(0))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_no_voice_of_the_test_is_heard_in_training() -> None:
    voices = [f"voice{number:02}" for number in range(12)]
    train, test = takes(voices)
    assert {take.voice for take in train}.isdisjoint(take.voice for take in test)
    assert {take.voice for take in (*train, *test)} == set(voices)
    assert (len(train), len(test)) == (9 * 3 * 4 * len(WORDS), 3 * 3 * 4 * len(WORDS))
    assert takes(reversed(voices)) == (train, test)


def test_spectrograms_that_were_kept_are_read(tmp_path: Path) -> None:
    kept = {
        "train.pixels": torch.zeros(2, 1, BANDS, 32, dtype=torch.uint8),
        "train.labels": torch.tensor([3, 4]),
        "test.pixels": torch.full((1, 1, BANDS, 32), 7, dtype=torch.uint8),
        "test.labels": torch.tensor([9]),
    }
    (tmp_path / "spoken-digits.safetensors").write_bytes(pack(kept, {}))
    train, test = spoken_digits(tmp_path)
    assert (train.size, test.size) == (2, 1)
    assert test.classes[int(test.labels[0])] == "nine"
    assert int(test.pixels.max()) == 7


def test_a_machine_without_the_program_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDataError, match="install Debian's package espeak-ng"):
        spoken_digits(tmp_path)
