"""The client alone needs neither torch nor anything of the server."""

import subprocess
import sys

import pytest

CLIENT = ["httpx", "numpy", "pydantic", "rich", "safetensors", "typer"]
ABSENT = [
    *("torch", "jaxtyping", "fastapi", "starlette", "sqlalchemy", "alembic", "dbos"),
    *("uvicorn", "jinja2", "structlog", "pydantic_settings"),
]
PROGRAM = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
{body}
"""


def run(body: str, absent: list[str] = ABSENT) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(absent=set(absent), body=body)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_client_imports_without_torch_and_without_the_server() -> None:
    done = run("import service.client.sdk, service.cli.progress, service.cli.main")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", CLIENT)
def test_each_package_of_the_client_is_really_needed(package: str) -> None:
    done = run("import service.client.sdk, service.cli.progress, service.cli.main", [package])
    assert done.returncode != 0


def test_a_command_of_the_server_says_what_to_install() -> None:
    done = run("sys.argv = ['tandemcal', 'up']; from service.cli.main import main; main()")
    assert done.returncode == 1
    assert "pip install 'tandemcal[server]'" in done.stderr
