"""Methods of calibration, one a file: how a chip is corrected by what it was measured to do."""
