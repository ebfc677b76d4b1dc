"""Tuning of a chip's own circuits by their registers."""
