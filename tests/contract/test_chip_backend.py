"""The tests of `tandemcal.testing.test_chip_backend`, against the chips of this repository."""

from tandemcal.testing.test_chip_backend import *  # noqa: F403
