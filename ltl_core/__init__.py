"""Local Tandem Learning: networks, neurons, rules, and the calibration loop behind a chip port."""
