"""The command line, `tandemcal`: its commands, and those of the folders beside it.

Modules that need the packages of the server are imported where they are used: the commands of the
client work without those packages.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from service.cli.agent import agent
from service.cli.audit import audit_app
from service.cli.backup import backup, restore
from service.cli.chip_jobs import probe as probe_chip
from service.cli.chips import Chip, chips_app
from service.cli.client import (
    DEFAULT_URL,
    Key,
    Url,
    complain,
    fail,
    say,
    server_packages,
)
from service.cli.database_faults import database_fault
from service.cli.doctor import doctor
from service.cli.exit_codes import ExitCode
from service.cli.jobs import jobs_app
from service.cli.keys import keys_app
from service.cli.networks import students_app, teachers_app
from service.cli.plots import chip_app
from service.cli.target_sets import targets_app
from service.cli.webhooks import webhooks_app
from service.cli.weights import weights_app
from service.version import code_version

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # it would take square brackets in help texts for its own
    pretty_exceptions_enable=False,
)
app.add_typer(chips_app, name="chips")
app.add_typer(jobs_app, name="jobs")
app.add_typer(teachers_app, name="teachers")
app.add_typer(targets_app, name="targets")
app.add_typer(students_app, name="students")
app.add_typer(weights_app, name="weights")
app.add_typer(chip_app, name="chip")
app.add_typer(keys_app, name="keys")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(audit_app, name="audit")
app.command()(agent)
app.command()(backup)
app.command()(restore)
app.command()(doctor)

Host = Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on, 0 for any (default: 8765).", min=0, max=65535)
]
Check = Annotated[
    bool, typer.Option("--check", help="Say whether the worker of this machine lives, and end.")
]
Version = Annotated[
    bool,
    typer.Option(
        "--version",
        is_eager=True,
        callback=lambda asked: _print_version(asked=asked),
        help="Print the version.",
    ),
]


@app.callback()
def _options(version: Version = False) -> None:  # noqa: ARG001 (its callback ends the command)
    """Calibrates mixed-signal spiking chips with the chip in the loop."""
    for sentence in _misspelt_variables():
        complain(sentence)


def _misspelt_variables() -> list[str]:
    """Return a sentence for each variable of ours that nothing reads."""
    if not any(name.upper().startswith("TANDEMCAL_") for name in os.environ):
        return []
    try:
        from service.cli.environment import unknown_variables
    except ModuleNotFoundError:  # a client alone does not know the settings of the service
        return []
    return unknown_variables(os.environ)


def _print_version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"tandemcal {code_version()}")
        raise typer.Exit()


@app.command()
def up(host: Host = None, port: Port = None) -> None:
    """Run the service: API, pages and jobs in one process."""
    with server_packages():
        from service.cli.serve import serve
        from service.jobs.errors import ExecutorRunningError
        from service.listening import PortTakenError
        from service.private_files import DataFolderError
        from service.secret_cipher import SecretKeysError
        from service.tls import TlsFilesError
    try:
        serve(host, port, Console())
    except (
        PortTakenError,
        TlsFilesError,
        DataFolderError,
        SecretKeysError,
        ExecutorRunningError,
    ) as error:
        fail(str(error))


@app.command()
def api(host: Host = None, port: Port = None) -> None:
    """Run the API and the pages; workers run the jobs."""
    with server_packages():
        from service.cli.serve import serve_api
        from service.listening import PortTakenError
        from service.private_files import DataFolderError
        from service.secret_cipher import SecretKeysError
        from service.tls import TlsFilesError
    try:
        serve_api(host, port, Console())
    except (PortTakenError, TlsFilesError, DataFolderError, SecretKeysError) as error:
        fail(str(error))


@app.command()
def worker(check: Check = False) -> None:
    """Run jobs. Several workers can share one PostgreSQL database."""
    if check:
        _check_worker()
    with server_packages():
        from service.cli.worker import work
        from service.jobs.errors import ExecutorNameTakenError, ExecutorRunningError
        from service.private_files import DataFolderError
        from service.secret_cipher import SecretKeysError
    try:
        work()
    except (
        ExecutorRunningError,
        ExecutorNameTakenError,
        DataFolderError,
        SecretKeysError,
    ) as error:
        fail(str(error))


def _check_worker() -> NoReturn:
    """End the command: with 0 where the worker of this machine lives, else with 1."""
    with server_packages():
        from service.cli.worker_check import worker_lives
    if not worker_lives():
        fail("The worker of this machine has recorded no heartbeat in time.")
    raise typer.Exit()


@app.command()
def demo() -> None:
    """Start a service, calibrate five simulated chips over HTTP, and stop the service."""
    with server_packages("server,examples"):
        from service.cli.demo import DemoError, run_demo
        from service.secret_cipher import SecretKeysError
    try:
        code = run_demo(Console())
    except (DemoError, SecretKeysError) as error:
        fail(str(error))
    raise typer.Exit(code)


@app.command()
def migrate() -> None:
    """Migrate the database to the newest schema, once it answers. `up` does this too."""
    with server_packages():
        from service.cli.environment import read_settings
        from service.db.migrate import upgrade
        from service.db.session import shown_url, wait_for
        from service.private_files import DataFolderError, keep_private
    settings = read_settings()
    try:
        keep_private(settings.data_dir)
    except DataFolderError as error:
        fail(str(error))
    wait_for(settings.database, settings.database_wait_s)
    upgrade(settings.database)
    say(f"The database {shown_url(settings.database)} is up to date.")


@app.command(hidden=True)
def probe(chip: Chip, url: Url = DEFAULT_URL, key: Key = "") -> None:
    """Probe a chip: the earlier name of `tandemcal chips probe`."""
    probe_chip(chip, url=url, key=key)


def main() -> None:
    """Run the `tandemcal` command. A database that cannot be used is said in a sentence."""
    try:
        app()
    except Exception as error:
        sentence = database_fault(error)
        if sentence is None:
            raise
        complain(sentence)
        sys.exit(ExitCode.FAILED)
