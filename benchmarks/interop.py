"""Which networks of other projects are imported, how far do they agree, and what do changes cost?

    python -m benchmarks.interop [--json FILE] [--check] [--networks NAME ...]

torchvision's networks are built with random weights, unmodified; those with max pools are imported
through `replace_max_pool`. NIR files are written by snnTorch and by our own export. A network with
max pools is trained on the digits, and fine-tuned for two epochs after they were replaced.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.interop_nir import TO_ZERO, NirRow, nir_rows
from benchmarks.interop_pools import PoolRow, pool_rows
from benchmarks.machine import about
from benchmarks.torchvision_networks import load_torchvision
from ltl_core.errors import NetworkError
from ltl_core.interop.agreement import TOLERANCE
from ltl_core.interop.from_torch import Imported, from_torch
from ltl_core.interop.max_pools import replace_max_pool
from ltl_core.teaching.teacher import run_teacher

NETWORKS = {  # rows and columns of the input
    "alexnet": 224,
    "vgg11_bn": 32,
    "resnet18": 224,
    "resnext50_32x4d": 64,
    "squeezenet1_1": 64,
    "mobilenet_v2": 64,
    "mnasnet0_5": 64,
    "googlenet": 64,
    "shufflenet_v2_x0_5": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "regnet_y_400mf": 64,
    "convnext_tiny": 64,
    "vit_b_16": 224,
}
# Activations, gates and norms that no chip of ours has.
REFUSED = {
    "mobilenet_v3_small",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
}
DEFAULT = ("alexnet", "resnet18", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small")


class NetworkRow(NamedTuple):
    """What became of one network."""

    network: str
    side: int
    imported: str  # "as it is", "without max pools", or the reason of the refusal
    matrices: int
    additions: int
    weights: int  # of the network, biases with them
    parameters: int  # of the module
    difference: float | None  # largest difference of a logit, of the largest logit
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Import all; exit code 1 where --check finds a network that was not imported, or differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interop")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=DEFAULT)
    options = parser.parse_args(arguments)
    heading, console = about("benchmarks.interop"), Console(width=150)
    networks, files, pools = list(network_rows(options.networks)), nir_rows(), pool_rows()
    console.print(_table("networks", networks), _table("NIR", files), _table("max pools", pools))
    if options.json is not None:
        content = {
            "networks": [row._asdict() for row in networks],
            "nir": [row._asdict() for row in files],
            "pools": [row._asdict() for row in pools],
        }
        options.json.write_text(json.dumps(heading | content, indent=2) + "\n")
    wrong = missed(networks, files) if options.check else []
    for line in wrong:
        console.print(f"missed: {line}")
    return 1 if wrong else 0


def network_rows(names: Sequence[str]) -> Iterator[NetworkRow]:
    """Yield a row for each network; none if torchvision is not installed."""
    models = load_torchvision()
    if models is None:
        sys.stderr.write("torchvision is not installed: its networks are left out.\n")
        return
    for name in names:
        torch.manual_seed(0)
        more = {"init_weights": False} if name == "googlenet" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = getattr(models, name)(weights=None, **more).eval()
        yield network_row(name, module, NETWORKS[name])


def network_row(name: str, module: nn.Module, side: int) -> NetworkRow:
    """Import a module, without its max pools if it has some."""
    start = time.perf_counter()
    parameters = sum(values.numel() for values in module.parameters())
    how = "as it is"
    if any(isinstance(part, nn.MaxPool2d) for part in module.modules()):
        module, how = replace_max_pool(module), "without max pools"
    try:
        imported = from_torch(module, (3, side, side))
    except NetworkError as error:
        elapsed = time.perf_counter() - start
        return NetworkRow(name, side, str(error), 0, 0, 0, parameters, None, elapsed)
    elapsed = time.perf_counter() - start
    network, weights = imported
    return NetworkRow(
        name,
        side,
        how,
        len(network.matrices),
        sum(layer.kind == "add" for layer in network.layers),
        sum(values.numel() for values in weights.values()),
        parameters,
        _difference(module, imported, side),
        elapsed,
    )


def _difference(module: nn.Module, imported: Imported, side: int) -> float:
    network, weights = imported
    inputs = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(inputs)
        found = run_teacher(network, weights, inputs).logits
    return float((found - expected).abs().max() / expected.abs().max())


def missed(networks: Sequence[NetworkRow], files: Sequence[NirRow]) -> list[str]:
    """Return what was not imported, or differs, in words; nothing imported is no agreement."""
    wrong = [] if networks else ["no network of torchvision was imported"]
    for row in networks:
        if row.difference is None:
            if row.network not in REFUSED:
                wrong.append(f"{row.network} was refused: {row.imported}")
        elif not row.difference < TOLERANCE:
            wrong.append(f"{row.network} differs by {row.difference:.2g}")
    to_zero = [row for row in files if row.network == TO_ZERO]
    if not to_zero or any(row.differ != 0 for row in to_zero):
        wrong.append(f"NIR, {TO_ZERO}: the spike counts do not agree")
    return wrong


def _table(title: str, rows: Sequence[NetworkRow] | Sequence[NirRow] | Sequence[PoolRow]) -> Table:
    table = Table(title=title, box=box.SIMPLE)
    for name in rows[0]._fields if rows else ():
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*[f"{v:.2g}" if isinstance(v, float) else str(v) for v in row])
    return table


if __name__ == "__main__":
    sys.exit(main())
