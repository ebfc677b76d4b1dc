"""Stimuli made from the student alone, for a calibration without the data of the lab."""
