"""A crossbar chip in software, behind the port of `ltl_core.chip`."""
