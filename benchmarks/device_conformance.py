"""Do the simulated memory cells behave as published? A table to judge any simulator by.

Populations of devices are written blindly and left alone; mean and spread of their conductance are
compared with the statistics of aihwkit 1.1.0 at every level and time of its file, and with the
published formulas, integrated by quadrature, at levels and times between. A mean may be off by five
standard errors, a spread by 1.5 %. Then the 512 x 512 product: the factor that compensates the
drift, and the error that is left.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.device_formulas import HERMES, PCM, Formulas, moments
from chip_sim.clock import log_age
from chip_sim.devices.device import DeviceModel, KnownAge, normal
from chip_sim.devices.hermes import HermesDevice
from chip_sim.devices.pcm import PcmDevice
from chip_sim.devices.reram import ReramDevice
from chip_sim.flicker_noise import FlickerNoise
from chip_sim.spec import WriteSpec
from chip_sim.writer import Fault, write

REFERENCE = Path(__file__).parents[1] / "tests" / "data" / "aihwkit.json"
MICRO = 1e-6
DAY, YEAR = 86400.0, 365 * 86400.0
DEVICES, QUICK_DEVICES = 1_000_000, 100_000
THEIR_DEVICES = 1_000_000
FACTOR_WITHIN = 0.001
_ROUNDED = 0.5e-5  # of the figures in the file
_G_MAX = {"pcm": 25.0, "hermes": 20.7, "reram": 40.0}  # uS
ERRORS, SPREAD = 5.0, 0.015  # standard errors of a mean; relative, of a spread
BETWEEN_LEVELS, BETWEEN_TIMES = (0.05, 0.2, 0.3, 0.6, 0.9), (0.0, 3.0, 600.0, 10 * DAY, 10 * YEAR)
MODELS: dict[str, Formulas] = {"pcm": PCM, "hermes": HERMES}


class Expected(NamedTuple):
    """Mean and standard deviation that a population should have, in uS."""

    source: str
    device: str
    r: float
    elapsed: float | None  # s since the write; None of a drift exponent, which has no unit
    flicker: bool
    mean: float
    sd: float
    mean_error: float  # standard error of `mean` itself


class Row(NamedTuple):
    """One figure beside its reference."""

    expected: Expected
    mean: float
    sd: float
    errors_off: float  # standard errors
    spread_off: float  # relative

    @property
    def misses(self) -> bool:
        return not (abs(self.errors_off) <= ERRORS and abs(self.spread_off) <= SPREAD)


class Product(NamedTuple):
    """Figures of the drifted 512 x 512 product."""

    elapsed: float
    figure: str
    expected: float
    found: float
    allowed: float  # relative

    @property
    def misses(self) -> bool:
        return not abs(self.found / self.expected - 1) <= self.allowed


def main(arguments: Sequence[str]) -> int:
    """Compare and print; exit code 1 where `--check` finds a figure that misses."""
    options = _options(arguments)
    devices = QUICK_DEVICES if options.quick else DEVICES
    reference = json.loads(REFERENCE.read_text())
    rows = [row for name in MODELS for row in compare(name, reference, devices)]
    rows += reram_rows(devices)
    products = product_rows(reference)
    console = Console(soft_wrap=True, highlight=False)
    console.print(_device_table(rows, devices))
    console.print(_product_table(products))
    missed = [_name(row) for row in rows if row.misses]
    missed += [f"product after {_time(p.elapsed)}: {p.figure}" for p in products if p.misses]
    console.print(f"{len(rows) + len(products)} figures, {len(missed)} miss.")
    for name in missed:
        console.print(f"Misses: {name}")
    if options.json:
        Path(options.json).write_text(json.dumps(_as_json(rows, products), indent=1) + "\n")
    return 1 if options.check and missed else 0


def compare(name: str, reference: dict[str, Any], devices: int) -> Iterator[Row]:
    """Compare every level of one device: those of the reference file, then levels between them."""
    g_max = reference[name]["g_max"] * MICRO
    model = PcmDevice(g_max) if name == "pcm" else HermesDevice(g_max)
    for row in reference[name]["rows"]:
        yield from _level(model, name, row["r"], list(_published(name, row)), devices)
    for r in BETWEEN_LEVELS:
        yield from _level(model, name, r, list(_computed(name, r)), devices)


def reram_rows(devices: int) -> list[Row]:
    """Compare blind writes of ReRAM at the published times, and between them, linear in ln t."""
    model, rows = ReramDevice(40e-6), list[Row]()
    second, day, two = model.after_a_second, model.after_a_day, model.after_two_days
    hour = math.log(3600) / math.log(DAY)
    for r in (0.3, 0.5, 0.7):  # far from zero, where the cut-off would enter
        at = [_polynomial(fit, r) for fit in (second, day, two)]
        times = [(1.0, at[0]), (3600.0, at[0] + hour * (at[1] - at[0])), (DAY, at[1])]
        expected = [
            Expected("published fit", "reram", r, time, True, 40 * r, sd, 0.0)
            for time, sd in (*times, (2 * DAY, at[2]))
        ]
        rows += _level(model, "reram", r, expected, devices)
    return rows


def _published(name: str, row: dict[str, Any]) -> Iterator[Expected]:
    source, r = "aihwkit 1.1.0", row["r"]
    nu_mean, nu_sd = row["nu"]
    yield Expected(source, name, r, None, False, nu_mean, nu_sd, nu_sd / THEIR_DEVICES**0.5)
    for kind, flicker in (("drifted", False), ("drifted_and_flickering", True)):
        for time, mean, sd in row[kind]:
            error = sd / THEIR_DEVICES**0.5
            yield Expected(source, name, r, float(time), flicker, mean, sd, error)


def _computed(name: str, r: float) -> Iterator[Expected]:
    for elapsed in BETWEEN_TIMES:
        for flicker in (False, True):
            mean, sd = moments(MODELS[name], r, elapsed, flicker=flicker)
            yield Expected("formula", name, r, elapsed, flicker, mean, sd, 0.0)


def _level(
    model: DeviceModel, name: str, r: float, expected: Sequence[Expected], devices: int
) -> Iterator[Row]:
    """Write one population once, and read it at every time for which a figure is expected."""
    rng = torch.Generator().manual_seed(round(1000 * r) + len(name))
    target = torch.full((devices,), r * _G_MAX[name] * MICRO)
    free = Fault(torch.zeros(devices, dtype=torch.bool), torch.zeros(devices))
    g = write(target, free, model, WriteSpec(), rng).g
    draw = model.draw_drift(target, g, rng)
    flicker = FlickerNoise(round(1000 * r), name, (devices,))
    for one in expected:
        if one.elapsed is None:
            yield _judge(one, draw.nu)
            continue
        elapsed = torch.full((devices,), one.elapsed)
        moved = flicker.at(one.elapsed, elapsed, model.t0)
        age = KnownAge(elapsed, log_age(elapsed, model.t0), moved * one.flicker)
        seen = draw if one.flicker or name == "reram" else draw._replace(wander=0 * draw.wander)
        yield _judge(one, model.conductance(model.constants(target, g, seen), age) / MICRO)


def _judge(expected: Expected, values: torch.Tensor) -> Row:
    values = values.double()
    mean, sd = float(values.mean()), float(values.std())
    error = math.hypot(expected.sd / len(values) ** 0.5, expected.mean_error) + _ROUNDED
    return Row(expected, mean, sd, (mean - expected.mean) / error, sd / expected.sd - 1)


def product_rows(reference: dict[str, Any]) -> list[Product]:
    """Compare the 512 x 512 product: drift compensation, and the errors with and without it."""
    rows: list[Product] = []
    for elapsed, factor, error in reference["product_512x512_pcm"]:
        rows += [
            Product(elapsed, "compensation factor", factor, drifted(elapsed).factor, FACTOR_WITHIN),
            Product(elapsed, "error, compensated", error, drifted(elapsed).error, SPREAD),
        ]
    for elapsed, error in reference["product_512x512_pcm_uncompensated"]:
        rows.append(
            Product(elapsed, "error, as it is", error, drifted(elapsed).uncompensated, SPREAD)
        )
    return rows


class Drifted(NamedTuple):
    """Result of one product after drift."""

    factor: float  # sum of conductances then, over now
    error: float  # relative, Frobenius norm, after compensation
    uncompensated: float


def drifted(elapsed: float) -> Drifted:
    """Weights N(0, 1 / 512) within three sigma, 256 inputs N(0, 1), perfect converters; pcm.

    After programming the reference keeps only the difference of a pair, scaled to g_max again; our
    devices keep their own residue, so they are folded together here before they are compared.
    """
    rng = torch.Generator().manual_seed(3)
    weight = (torch.randn(512, 512, generator=rng) / 512**0.5).clamp(-3 / 512**0.5, 3 / 512**0.5)
    g_max = 25 * MICRO
    device, scale = PcmDevice(g_max), g_max / weight.abs().max()
    target = torch.stack((weight, -weight)).clamp(min=0) * scale
    g = (target + device.programming_noise(target) * normal(target, rng)).clamp(min=0)
    net = g[0] - g[1]
    stretch = g_max / net.abs().max()
    g = torch.stack((net, -net)).clamp(min=0) * stretch
    draw = device.draw_drift(target, g, rng)
    ages = torch.full_like(g, elapsed)
    flicker = FlickerNoise(3, "product", tuple(g.shape)).at(elapsed, ages, device.t0)
    now = device.conductance(
        device.constants(target, g, draw), KnownAge(ages, log_age(ages, device.t0), flicker)
    )
    factor = float(g.sum() / now.sum())
    inputs = torch.randn(256, 512, generator=rng)
    seen, ideal = inputs @ (now[0] - now[1]).T / (stretch * scale), inputs @ weight.T
    compensated, plain = (float((k * seen - ideal).norm() / ideal.norm()) for k in (factor, 1.0))
    return Drifted(factor, compensated, plain)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device_conformance", description=__doc__
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DEVICES} devices a level")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure misses")
    return parser.parse_args(arguments)


def _device_table(rows: Sequence[Row], devices: int) -> Table:
    table = Table(title=f"{devices} devices a level; uS, drift exponents without unit")
    for heading in ("source", "device", "r", "time", "1/f"):
        table.add_column(heading)
    for heading in ("mean", "ours", "errors off", "sd", "ours", "% off"):
        table.add_column(heading, justify="right")
    for row in rows:
        e = row.expected
        table.add_row(
            *(e.source, e.device, f"{e.r:g}", _time(e.elapsed), "yes" if e.flicker else "no"),
            *(f"{e.mean:.5f}", f"{row.mean:.5f}", f"{row.errors_off:+.1f}"),
            *(f"{e.sd:.5f}", f"{row.sd:.5f}", f"{100 * row.spread_off:+.2f}"),
            style="red" if row.misses else None,
        )
    return table


def _product_table(products: Sequence[Product]) -> Table:
    table = Table(title="512 x 512 product on pcm, 256 inputs")
    for heading in ("time", "figure", "aihwkit 1.1.0", "ours", "% off", "% allowed"):
        table.add_column(heading, justify="left" if heading in ("time", "figure") else "right")
    for p in products:
        off = 100 * (p.found / p.expected - 1)
        figures = (f"{p.expected:.4f}", f"{p.found:.4f}", f"{off:+.2f}", f"{100 * p.allowed:g}")
        table.add_row(_time(p.elapsed), p.figure, *figures, style="red" if p.misses else None)
    return table


def _as_json(rows: Sequence[Row], products: Sequence[Product]) -> dict[str, Any]:
    return {
        "devices": [
            {**r.expected._asdict(), "found_mean": r.mean, "found_sd": r.sd, "misses": r.misses}
            for r in rows
        ],
        "product": [{**p._asdict(), "misses": p.misses} for p in products],
    }


def _name(row: Row) -> str:
    e = row.expected
    what = f"{row.errors_off:+.1f} standard errors, sd {100 * row.spread_off:+.2f} %"
    return f"{e.device} r = {e.r:g} {_time(e.elapsed)} ({e.source}): {what}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "nu"
    for unit, length in (("year", YEAR), ("day", DAY), ("h", 3600.0)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def _polynomial(fit: tuple[float, ...], r: float) -> float:
    return sum(coefficient * r**power for power, coefficient in enumerate(fit))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
