"""Writes the client for asyncio, `service/client/aio`, from the client that blocks.

Run it as `python -m tests.unit.service.client.async_source`.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CLIENT = Path(__file__).parents[4] / "service" / "client"
MODULES = ("job", "jobs", "chips", "teachers", "keys", "audit", "webhooks")
CLASSES = (
    "Job",
    "Jobs",
    "Chips",
    "Teachers",
    "TargetSets",
    "Students",
    "Keys",
    "Audit",
    "Webhooks",
)
_KEPT_BLOCKING = ("bound_to",)
_JOB = '''
    _job: Job = PrivateAttr()
    _threads: Threads = PrivateAttr()

    @classmethod
    def of(cls, job: Job, threads: Threads) -> "AsyncJob":
        """Return the job of the client that blocks as one that is awaited."""
        return cls.model_construct(**dict(job)).bound_to(job, threads)

    def bound_to(self, job: Job, threads: Threads) -> "AsyncJob":
        """Return the job with the one that blocks, and the threads for its calls."""
        self._job, self._threads = job, threads
        return self
'''
_OTHER = """
    def __init__(self, client: {name}, threads: Threads) -> None:
        self._client, self._threads = client, threads
"""


def source(module: str) -> str:
    """Return the source of the asynchronous module of this name."""
    tree = ast.parse((CLIENT / f"{module}.py").read_text())
    classes = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in CLASSES
    ]
    names = ", ".join(node.name for node in classes)
    parts = [
        f'"""The module `service.client.{module}` for asyncio, written by `async_source`."""\n',
        *(ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)),
        "from collections.abc import AsyncIterator",
        "from service.client.aio.threads import Threads",
        "" if module == "job" else "from service.client.aio.job import AsyncJob",
        f"from service.client.{module} import {names}",
        *(
            f"from service.client.{module} import {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node not in classes
        ),
        *(ast.unparse(node) for node in tree.body if isinstance(node, ast.If)),
        *(_class(node) for node in classes),
    ]
    return _tidied("\n".join(parts))


def _class(node: ast.ClassDef) -> str:
    bases = "(JobView)" if node.name == "Job" else ""
    head = f'class Async{node.name}{bases}:\n    """{_first_line(node)}"""\n'
    begin = _JOB if node.name == "Job" else _OTHER.format(name=node.name)
    return head + begin + "".join(_methods(node))


def _methods(node: ast.ClassDef) -> Iterator[str]:
    for method in node.body:
        public = isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
        if isinstance(method, ast.FunctionDef) and public and method.name not in _KEPT_BLOCKING:
            yield _method(method, "self._job" if node.name == "Job" else "self._client")


def _method(method: ast.FunctionDef, blocking: str) -> str:
    returns = ast.unparse(method.returns) if method.returns else "None"
    returns = returns.strip("'")
    awaited = re.sub(r"\bJob\b", "AsyncJob", returns.replace("Iterator[", "AsyncIterator["))
    given = ", ".join([f"{blocking}.{method.name}", *_passed_on(method.args)])
    many, jobs = returns.startswith("Iterator"), "AsyncJob" in awaited
    one = "AsyncJob.of({}, self._threads)" if jobs else "{}"
    if many:
        body = f"async for one in self._threads.each({given}):\n            yield "
        body += one.format("one")
    else:
        body = "return " + one.format(f"await self._threads.call({given})")
    head = f"    async def {method.name}({ast.unparse(method.args)}) -> {_quoted(awaited)}:"
    return f'\n{head}\n        """{_first_line(method)}"""\n        {body}\n'


def _quoted(name: str) -> str:
    return f'"{name}"' if "AsyncJob" in name or name == "Figure" else name


def _passed_on(arguments: ast.arguments) -> Iterator[str]:
    yield from (argument.arg for argument in arguments.args[1:])
    yield from (f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs)


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Return the first paragraph of a docstring in one line."""
    text = ast.get_docstring(node) or ""
    return " ".join(text.split("\n\n")[0].split())


def _tidied(text: str) -> str:
    """Return the source without imports that it does not need, sorted and formatted."""
    named = "--stdin-filename=service/client/aio/x.py"
    for command in (
        ["check", "--fix-only", "--select=F401,F811,I,TC005", "--exit-zero", "--quiet"],
        ["format", "--quiet"],
    ):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, named, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=CLIENT.parents[1],
        ).stdout
    return text


if __name__ == "__main__":
    for name in MODULES:
        (CLIENT / "aio" / f"{name}.py").write_text(source(name))
