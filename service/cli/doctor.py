"""`tandemcal doctor`: checks a service and this machine, and says what to do."""

import json
from collections.abc import Iterator
from importlib.util import find_spec

import typer

from service.cli.client import DEFAULT_URL, AsJson, Key, Url, key_file, say
from service.cli.exit_codes import ExitCode
from service.cli.findings import Finding, Outcome, failed, skipped
from service.cli.remote_checks import check_service


def doctor(url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Check address, key, clock, versions, database, disk, workers, agents and artifacts.

    What belongs to an installation is checked where one is on this machine. The exit code is 0 if
    nothing failed, 4 if no service answers, and 1 otherwise.
    """
    found = [*_from_outside(url, key), *_on_this_machine()]
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
    else:
        for one in found:
            say(f"{one.outcome:<8} {one.check:<11} {one.found}")
            if one.advice is not None:
                say(f"{'':<20} {one.advice}")
    bad = [one.check for one in found if one.outcome is Outcome.FAILED]
    if bad:
        raise typer.Exit(ExitCode.NO_ANSWER if "address" in bad else ExitCode.FAILED)


def _from_outside(url: str, key: str) -> Iterator[Finding]:
    try:
        chosen = key or key_file().read_text().strip()
    except OSError as error:
        found = f"no key in {key_file()} ({error.strerror or error})"
        yield failed("key", found, "Give one with --key or TANDEMCAL_KEY.")
        chosen = ""
    for one in check_service(url, chosen):
        if chosen or one.check != "key":
            yield one


def _on_this_machine() -> Iterator[Finding]:
    if find_spec("sqlalchemy") is None or find_spec("dbos") is None:
        yield skipped("machine", "the server's packages are not installed here")
        return
    from service.cli.environment import read_settings
    from service.cli.local_checks import check_installation

    settings = read_settings()
    if not settings.data_dir.is_dir() or not settings.key_file.exists():
        yield skipped("machine", f"no installation in {settings.data_dir}")
        return
    yield from check_installation(settings)
