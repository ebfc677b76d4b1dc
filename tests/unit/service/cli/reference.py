"""Writes the reference of the command line from the help texts of the program.

python -m tests.unit.service.cli.reference    # writes docs/reference/command-line.md
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from service.cli.exit_codes import ExitCode
from service.cli.main import app

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "command-line.md"
_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the job, or the command itself, failed",
    ExitCode.USAGE: "wrong use: an option, a file, or no key",
    ExitCode.REFUSED: "the service answered, and refused",
    ExitCode.NO_ANSWER: "no service answers at the address",
}
_INTRODUCTION = """\
# Command line

Commands of a client find the service by `--url` or `TANDEMCAL_URL`, and their key by `--key`,
`TANDEMCAL_KEY`, or in the data folder of a service on the same machine. Chips are named by name, id
or short id (the last 8 characters), jobs by id or short id, teachers and target sets like chips,
students by id, short id or the name of their teacher; of several of a name the newest is meant.
`--json` prints what the HTTP API answers. `tandemcal --install-completion` completes commands in
the shell.

| exit code | meaning |
|---|---|
"""


def page() -> str:
    """Return the page: exit codes, then the help text of each command."""
    codes = "".join(f"| {code.value} | {_MEANINGS[code]} |\n" for code in ExitCode)
    return _INTRODUCTION + codes + "".join(_sections())


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each command with its words."""
    found: Any = get_command(app) if group is None else group
    for name, command in found.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def _sections() -> Iterator[str]:
    for words, command in commands():
        if not command.hidden:
            shown = CliRunner().invoke(
                app, [*words.split(), "--help"], prog_name="tandemcal", env={"COLUMNS": "80"}
            )
            text = "\n".join(line.rstrip() for line in shown.stdout.strip().splitlines())
            yield f"\n## tandemcal {words}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page())
