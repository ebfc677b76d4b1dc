"""What users are shown imports `tandemcal` alone."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
INTERNAL = {"ltl_core", "chip_sim", "service"}
SHOWN = ("README.md", "docs/quickstart.md", "docs/guides", "docs/reference", "examples")
RECIPE = "new-"  # guides whose name starts so are for those who change our packages


def internal_imports(code: str) -> set[str]:
    """The internal modules that this code imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
    return {module for module in found if module.partition(".")[0] in INTERNAL}


def shown_code() -> Iterator[tuple[str, str]]:
    """Every Python file and Python snippet that users are shown, with its place."""
    for place in map(ROOT.joinpath, SHOWN):
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            name = str(path.relative_to(ROOT))
            if path.suffix == ".py":
                yield name, path.read_text()
            elif path.suffix == ".ipynb":
                cells = json.loads(path.read_text())["cells"]
                codes = (cell for cell in cells if cell["cell_type"] == "code")
                yield from ((name, "".join(cell["source"])) for cell in codes)
            elif path.suffix == ".md" and not path.name.startswith(RECIPE):
                snippets = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
                yield from ((name, snippet) for snippet in snippets)


def test_what_users_are_shown_imports_the_public_face_alone() -> None:
    shown = list(shown_code())
    known = {"README.md", "examples/lab_script.py", "examples/calibrate_chips.ipynb"}
    assert known <= {name for name, _ in shown}
    assert [(name, found) for name, code in shown if (found := internal_imports(code))] == []


def test_an_internal_import_would_be_seen() -> None:
    code = "import os\nfrom service.client.sdk import Tandemcal"
    assert internal_imports(code) == {"service.client.sdk"}
