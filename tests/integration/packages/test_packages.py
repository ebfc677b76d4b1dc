"""Neither the SDK nor the command line needs torch or the packages of the server to start."""

import subprocess
import sys

import pytest

SDK = ["httpx", "numpy", "pydantic", "safetensors"]
CLI = ["rich", "typer"]
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


SDK_PROGRAM = "import service.client.sdk"
CLI_PROGRAM = "import service.cli.progress, service.cli.main"


def test_the_sdk_imports_without_torch_the_server_and_the_command_line() -> None:
    done = run(SDK_PROGRAM, [*ABSENT, *CLI])
    assert done.returncode == 0, done.stderr


def test_the_command_line_imports_without_torch_and_the_server() -> None:
    done = run(CLI_PROGRAM)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", SDK)
def test_each_package_of_the_sdk_is_really_needed(package: str) -> None:
    assert run(SDK_PROGRAM, [package]).returncode != 0


@pytest.mark.parametrize("package", CLI)
def test_each_package_of_the_command_line_is_really_needed(package: str) -> None:
    assert run(CLI_PROGRAM, [package]).returncode != 0


def test_a_command_of_the_server_says_what_to_install() -> None:
    done = run("sys.argv = ['tandemcal', 'up']; from service.cli.main import main; main()")
    assert done.returncode == 1
    assert "pip install 'tandemcal[server]'" in done.stderr
