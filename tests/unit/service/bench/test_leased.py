"""A chip under a lease: calls reach it while the lease is held, and none afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import LayerCodes, Observable, Placement, Stimulus
from ltl_core.default_probe import probe_by_run
from ltl_core.errors import ChipError, LeaseLostError
from service.bench.leased import LeasedBackend
from tests.bare_chip import BareChip

IMAGES = Stimulus(torch.rand(5, 6, generator=torch.Generator().manual_seed(1)), 12)
RECORD = {"hidden": Observable.WINDOW, "readout": Observable.MEMBRANE}
CODES = torch.arange(24).view(4, 6) - 12
NOTHING = torch.zeros(4, dtype=torch.int64)

VERBS: dict[str, Callable[[LeasedBackend], Any]] = {
    "program": lambda chip: chip.program("hidden", CODES),
    "trim": lambda chip: chip.trim("hidden", NOTHING, NOTHING),
    "write": lambda chip: chip.write({"hidden": LayerCodes(CODES, NOTHING, NOTHING)}),
    "run": lambda chip: chip.run(IMAGES, RECORD),
    "iter_layers": lambda chip: list(chip.iter_layers(IMAGES, RECORD)),
    "probe": lambda chip: chip.probe(),
    "settle": lambda chip: chip.settle(1.0),
    "now": lambda chip: chip.now(),
    "temperature": lambda chip: chip.temperature(),
    "tuning": lambda chip: chip.tuning("hidden"),
    "tune": lambda chip: chip.tune("hidden", chip.tuning("hidden")),
    "convert": lambda chip: chip.convert("hidden", 0.5, 32),
    "excite": lambda chip: chip.excite("hidden", torch.zeros(12, 4), 32),
    "clipped": lambda chip: chip.clipped(IMAGES),
    "set_side": lambda chip: chip.set_side("hidden", None),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_whoever_lost_the_lease_drives_no_longer(
    placement: Placement, verb: Callable[[LeasedBackend], Any]
) -> None:
    held = True
    chip = make_chip("bench-1", preset("pcm-side"), 7)
    leased = LeasedBackend(chip, 3, lambda: held)
    leased.place(placement)
    verb(leased)
    stood, held = chip.now(), False
    with pytest.raises(LeaseLostError, match="token 3"):
        verb(leased)
    assert chip.now() == stood
    with pytest.raises(LeaseLostError):
        leased.place(placement)


def test_a_chip_without_a_probe_is_probed_by_its_runs(placement: Placement) -> None:
    leased = LeasedBackend(BareChip("ideal"), 3, lambda: True)
    with pytest.raises(ChipError, match="No network is placed"):
        leased.probe()
    leased.place(placement)
    leased.program("hidden", CODES)
    twin = BareChip("ideal")
    twin.place(placement)
    twin.program("hidden", CODES)
    torch.testing.assert_close(leased.probe().rates, probe_by_run(twin, placement).rates)
