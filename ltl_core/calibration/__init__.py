"""The calibration loop, with the chip in it."""
