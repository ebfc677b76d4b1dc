"""No job waits for an import: the fork server has loaded all that the kinds of job need."""

import ast
import inspect
import subprocess
import sys

from service.jobs.kinds.registry import KINDS

NAMES = [name.value for name in KINDS.names()]


def late_imports(name: str) -> set[str]:
    """The modules that functions of a kind's file import."""
    tree = ast.parse(inspect.getsource(sys.modules[KINDS[name].work.__module__]))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {
        str(node.module)
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
    }


def not_loaded_by(modules: list[str], wanted: set[str]) -> set[str]:
    """Which of the wanted modules a process lacks that has imported these."""
    code = f"import sys, {', '.join(modules)}; print(*{wanted!r}.difference(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_fork_server_has_loaded_whatever_a_child_imports() -> None:
    files = {KINDS[name].work.__module__ for name in NAMES}
    wanted = files.union(*(late_imports(name) for name in NAMES))
    main = ["service.jobs.kinds.main"]
    # The control: without the kinds' word, all of their own files would be missing.
    assert not_loaded_by(main, wanted) >= files
    assert not_loaded_by([*main, *KINDS.loads()], wanted) == set()
