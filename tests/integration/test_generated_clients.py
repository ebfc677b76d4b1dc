"""Clients that others generate from the OpenAPI document: one in Python, and types of TypeScript.

The generators are pinned here and installed for these tests alone, since one of them needs an older
typer than our command line. Where no package index answers, the tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.api.document import document
from service.app import create_app
from service.jobs.kinds.registry import KINDS
from service.settings import Settings
from tests.integration.jobs_lab import Lab, Service

PYTHON_GENERATOR = "openapi-python-client==0.29.1"
TYPESCRIPT = ("openapi-typescript@7.13.0", "typescript@5.9.3")
SCRIPT = Path(__file__).parent / "generated_client_lab.py"
PATIENCE = 300  # s


def run(
    words: Sequence[str], folder: Path, path: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command with these folders alone on the path of Python."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def installed(words: Sequence[str], folder: Path) -> None:
    done = run(words, folder)
    if done.returncode != 0:
        pytest.skip(f"the generator cannot be installed: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document, as a file."""
    folder = tmp_path_factory.mktemp("document")
    found = document(create_app(Settings(data_dir=folder)), KINDS)
    path = folder / "openapi.json"
    path.write_text(json.dumps(found))
    return path


@pytest.fixture(scope="module")
def python_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with openapi-python-client and all that it needs."""
    folder = tmp_path_factory.mktemp("generator")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    installed([*pip, "--target", str(folder), PYTHON_GENERATOR], folder)
    return folder


@pytest.fixture(scope="module")
def typescript_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with openapi-typescript and the compiler."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("typescript")
    installed([npm, "install", "--no-fund", "--no-audit", "--silent", *TYPESCRIPT], folder)
    return folder


def python_client(generator: Path, described: Path, folder: Path) -> str:
    """Generate the package `tandemcal_client` in a folder; what the generator says."""
    words = ["generate", "--path", str(described), "--meta", "none"]
    target = ["--output-path", str(folder / "tandemcal_client")]
    done = run(
        [sys.executable, "-m", "openapi_python_client", *words, *target], folder, [generator]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def warnings(said: str) -> list[str]:
    """What the generator could not read."""
    return [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]


def test_the_generated_client_calibrates_a_chip(
    lab: Lab, python_generator: Path, described: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    python_client(python_generator, described, folder)
    service = Service(lab)
    address, key = str(service.http.base_url), lab.settings.key_file.read_text().strip()
    words = [sys.executable, str(SCRIPT), address, key]
    done = run(words, folder, [folder, python_generator])
    service.stop()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ours"] == []
    assert set(answer["result"]["accuracy"]) >= {"golden", "before", "after"}
    assert answer["result"]["spent"]["samples"] > 0
    assert all("hidden.weight" in str(arrays) for arrays in answer["arrays"])


def test_the_generated_client_has_every_operation(
    python_generator: Path, described: Path, tmp_path: Path
) -> None:
    said = python_client(python_generator, described, tmp_path)
    made = {path.stem for path in (tmp_path / "tandemcal_client" / "api").rglob("*.py")}
    paths = json.loads(described.read_text())["paths"]
    operations = [one for methods in paths.values() for one in methods.values()]
    assert {operation["operationId"] for operation in operations} <= made
    # It sends plain bytes and says that it cannot send safetensors; nothing else is left out.
    assert warnings(said) == [
        "WARNING parsing POST /v1/teachers within teachers.",
        "WARNING parsing PUT /v1/target-sets/{target_set_id}/chunks/{index} within target_sets.",
    ]


def test_an_operation_that_cannot_be_generated_would_be_seen(
    python_generator: Path, described: Path, tmp_path: Path
) -> None:
    found: dict[str, Any] = json.loads(described.read_text())
    body = found["paths"]["/v1/teachers"]["post"]["requestBody"]
    body["content"] = {"application/vnd.safetensors": {"schema": {}}}
    broken = tmp_path / "openapi.json"
    broken.write_text(json.dumps(found))
    said = python_client(python_generator, broken, tmp_path)
    assert not (tmp_path / "tandemcal_client/api/teachers/teachers_upload.py").exists()
    assert warnings(said)[0].endswith("Endpoint will not be generated.")


USE = """
import type { paths, components } from "./types";
type Submitted = paths["/v1/jobs"]["post"]["responses"][202]["content"]["application/json"];
type Teacher = NonNullable<paths["/v1/teachers"]["post"]["requestBody"]>["content"];
export const status = (job: Submitted): components["schemas"]["JobStatus"] => job.status;
export const block = (body: Teacher): string => body["application/octet-stream"];
"""


def test_types_of_typescript_compile(typescript_generator: Path, described: Path) -> None:
    folder, programs = typescript_generator, typescript_generator / "node_modules" / ".bin"
    done = run([str(programs / "openapi-typescript"), str(described), "-o", "types.ts"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "use.ts").write_text(USE)
    (folder / "misuse.ts").write_text(USE + "status({});")
    words = [str(programs / "tsc"), "--noEmit", "--strict", "types.ts", "use.ts", "misuse.ts"]
    errors = [line for line in run(words, folder).stdout.splitlines() if "error" in line]
    assert [line.partition("(")[0] for line in errors] == ["misuse.ts"]
