"""Lists every public name of `tandemcal` with its signature.

    python -m tests.unit.tandemcal.public_api    # writes public_api.txt

The listing is read from the sources, so that it is the same on every version of Python.
"""

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

MODULES = ("tandemcal", "tandemcal.network", "tandemcal.progress", "tandemcal.backend")
OURS = ("ltl_core", "chip_sim", "service", "tandemcal")
LISTING = Path(__file__).with_name("public_api.txt")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Member(NamedTuple):
    """One public member of a class, in the lines that list it."""

    name: str
    lines: tuple[str, ...]


def listing() -> str:
    """Every public name, module by module."""
    return "\n".join(line for module in MODULES for line in _lines_of_module(module)) + "\n"


def names_of(module: str) -> list[str]:
    """The names that a module imports or defines for its users, as a type checker sees them."""
    tree = ast.parse(Path(str(import_module(module).__file__)).read_text())
    imported = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None
    }
    return sorted(imported)


def _lines_of_module(module: str) -> Iterator[str]:
    yield f"# {module}"
    for name in names_of(module):
        yield from _lines_of(getattr(import_module(module), name))
    yield ""


def _lines_of(value: object) -> Iterator[str]:
    node = _source_of(value)
    if isinstance(value, type):
        yield f"class {value.__name__}({', '.join(_bases(value))})"
        members = [member for owner in _ours(value) for member in _members(owner)]
        for name in dict.fromkeys(member.name for member in members):
            first = next(member for member in members if member.name == name)
            yield from (f"    {line}" for line in first.lines)
    elif isinstance(node, Function):
        yield _signature(node)
    else:
        raise TypeError(f"{value!r} is neither a class nor a function")


def _source_of(value: object) -> ast.ClassDef | Function:
    """The definition of a class or function in its module."""
    module, name = str(value.__module__), str(getattr(value, "__qualname__", ""))
    tree = ast.parse(Path(str(sys.modules[module].__file__)).read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and node.name == name:
            return node
    raise LookupError(f"{module} defines no {name}")


def _ours(value: type) -> Iterator[ast.ClassDef]:
    """The definitions of a class and of those of its base classes that are in our packages."""
    for owner in value.__mro__:
        if owner.__module__.partition(".")[0] in OURS:
            node = _source_of(owner)
            assert isinstance(node, ast.ClassDef)
            yield node


def _bases(value: type) -> list[str]:
    """The public classes that a class is one of, as our sources name them."""
    names = [ast.unparse(base) for node in _ours(value) for base in node.bases]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def _members(owner: ast.ClassDef) -> Iterator[Member]:
    """Fields, values, methods, and what `__init__` keeps under a public name."""
    for node in owner.body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if _is_public(ast.unparse(target)):
                yield Member(ast.unparse(target), (ast.unparse(node),))
        elif isinstance(node, Function) and node.name == "__init__":
            kept = (f"self.{name}" for name in _attributes(node))
            yield Member("__init__", (_signature(node), *kept))
        elif isinstance(node, Function) and _is_public(node.name):
            decorators = (f"@{ast.unparse(decorator)}" for decorator in node.decorator_list)
            yield Member(node.name, (*decorators, _signature(node)))


def _attributes(init: Function) -> Iterator[str]:
    for node in ast.walk(init):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute) and _is_public(target.attr):
                yield target.attr


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name != "model_config"


def _signature(node: Function) -> str:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{word} {node.name}({ast.unparse(node.args)}){returns}"


if __name__ == "__main__":
    LISTING.write_text(listing())
