"""Contract tests for chip drivers, run from the project of the driver.

    pip install 'tandemcal[testing]'
    pytest -rs --pyargs tandemcal.testing --chip my_lab.driver:make_chip

`make_chip(chip_id, settings)` is the factory that the driver's project also registers in the
entry-point group `tandemcal.chip_backends`; `--chip-settings` gives the settings as a JSON object.
Every test makes a chip with it, and places another network than that of the tests on it first.

What a chip need not have (observables, many layers written by one call, answers layer by layer,
registers for tuning) is skipped where it is missing; `-rs` shows the reason. An error that the
driver raises carries a note that names the factory, and the driver's file and line.
"""
