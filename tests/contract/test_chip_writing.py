"""The tests of `tandemcal.testing.test_chip_writing`, against the chips of this repository."""

from tandemcal.testing.test_chip_writing import *  # noqa: F403
