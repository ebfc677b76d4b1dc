"""The process that serves HTTP does not load torch."""

import subprocess
import sys

import pytest


def loads_torch(module: str) -> bool:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 1


@pytest.mark.parametrize(
    "module",
    [
        *("service.app", "service.schemas.resources", "service.bench.simulated"),
        *("chip_sim.presets", "chip_sim.spec"),
    ],
)
def test_no_torch_is_loaded_where_none_is_needed(module: str) -> None:
    assert not loads_torch(module)


def test_torch_would_be_seen() -> None:
    assert loads_torch("ltl_core.packing")
