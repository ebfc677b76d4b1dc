"""The tests of `tandemcal.testing.test_optional_verbs`, against the chips of this repository."""

from tandemcal.testing.test_optional_verbs import *  # noqa: F403
