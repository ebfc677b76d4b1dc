"""The devices of a layer: what a write changes, and what it leaves as it is."""

import pytest
import torch
from torch import Tensor

from chip_sim.cells import Cells, WriteTimes
from chip_sim.devices.device import power
from chip_sim.devices.select import device_model
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec


def random_cells(columns: int, rows: int, spec: ChipSpec) -> Cells:
    cells = Cells.never_written(columns, rows)
    write(cells, torch.arange(2 * columns * rows), spec, seed=1)
    return cells


def write(cells: Cells, devices: Tensor, spec: ChipSpec, seed: int) -> None:
    """Give both devices of some cells random codes and conductances."""
    rng = torch.Generator().manual_seed(seed)
    cell = devices[: len(devices) // 2]  # the plus devices; then come the minus ones
    cells.codes.view(-1)[cell] = torch.randint(-63, 64, cell.shape, generator=rng).int()
    g = torch.rand(devices.shape, generator=rng) * spec.device.g_max
    model = device_model(spec.device)
    cells.put(devices, g, model.draw_drift(g, g, rng), model, spec)
    cells.times.write(devices, float(seed))


def constants(cells: Cells, spec: ChipSpec) -> tuple[Tensor, ...]:
    return cells.constants(device_model(spec.device), spec)


@pytest.mark.parametrize("name", ["ideal", "pcm", "hermes", "reram"])
@pytest.mark.parametrize(("columns", "rows"), [(64, 32), (7, 131), (3, 5)])
def test_a_write_renews_constants_to_the_bit(name: str, columns: int, rows: int) -> None:
    spec = preset(name)
    cells = random_cells(columns, rows, spec)
    before = [values.clone() for values in constants(cells, spec)]
    for seed in (2, 3):
        cell = torch.randperm(columns * rows)[: columns * rows // 3].sort().values
        write(cells, torch.cat((cell, cell + columns * rows)), spec, seed)
    renewed = constants(cells, spec)
    computed = constants(Cells.from_tensors(cells.tensors()), spec)
    assert all(torch.equal(*both) for both in zip(renewed, computed, strict=True))
    assert not any(torch.equal(*both) for both in zip(before, computed, strict=True))


def test_a_power_is_the_same_in_any_company() -> None:
    values, threads = torch.rand(100_003, generator=torch.Generator().manual_seed(1)), 2
    alone = torch.cat([power(part, 0.65) for part in values.split(32_000)])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(power(values, 0.65), alone)
    finally:
        torch.set_num_threads(before)


def test_times_of_writes() -> None:
    times = WriteTimes.from_clock(torch.tensor([3.0, 1.0, 3.0], dtype=torch.float64))
    times.write(torch.tensor([1]), 7.5)
    assert times.written_at.tolist() == [3.0, 7.5, 3.0]
    assert float(times.moments[times.oldest]) == 3.0
    times.write(torch.tensor([0, 2]), 9.0)
    assert float(times.moments[times.oldest]) == 7.5
    assert times.written_at.tolist() == [9.0, 7.5, 9.0]


def test_cells_do_not_change_the_tensors_that_they_come_from() -> None:
    spec = preset("pcm")
    saved = {name: v.clone() for name, v in random_cells(4, 4, spec).tensors().items()}
    kept = {name: v.clone() for name, v in saved.items()}
    cells = Cells.from_tensors(saved)
    write(cells, torch.arange(32), spec, 5)
    assert all(torch.equal(saved[name], kept[name]) for name in kept)
    assert not any(torch.equal(cells.tensors()[name], kept[name]) for name in kept)
