"""The tests of `tandemcal.testing.test_tunable_chip`, against the chips of this repository."""

from tandemcal.testing.test_tunable_chip import *  # noqa: F403
