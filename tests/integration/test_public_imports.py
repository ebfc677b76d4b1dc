"""`tandemcal` loads no more than what is used of it needs."""

import subprocess
import sys

import tandemcal

NEED_TORCH = ("TeacherOutput", "from_torch", "replace_max_pool", "run_teacher")


def loaded(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after this code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_neither_scripts_nor_drivers_load_torch_or_the_server() -> None:
    used = [name for name in tandemcal.__all__ if name not in NEED_TORCH]
    code = f"from tandemcal import {', '.join(used)}\nimport tandemcal.backend, tandemcal.progress"
    packages = loaded(code)
    assert "httpx" in packages
    assert not {"torch", "fastapi", "sqlalchemy", "dbos"} & packages


def test_torch_is_loaded_where_from_torch_is_used() -> None:
    assert "torch" in loaded("from tandemcal import from_torch")


def test_the_pytest_plugin_loads_none_of_our_packages() -> None:
    """Every pytest of an environment with Tandemcal loads it, before import hooks are set."""
    packages = loaded("import tandemcal.testing.plugin")
    assert not {"torch", "httpx", "pydantic", "ltl_core", "service"} & packages
