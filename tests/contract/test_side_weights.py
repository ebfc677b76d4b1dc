"""The tests of `tandemcal.testing.test_side_weights`, against the chips of this repository."""

from tandemcal.testing.test_side_weights import *  # noqa: F403
