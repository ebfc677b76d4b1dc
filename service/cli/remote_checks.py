"""Checks of a service over HTTP: its address, clock, version, readiness, key, agents and queue."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice

import httpx

from service.cli.findings import Finding, failed, ok, skipped, warning
from service.client.errors import TandemcalError, problem_of
from service.client.sdk import Tandemcal
from service.client.transport import Retry
from service.formatting import plural
from service.schemas.resources import HealthView
from service.version import code_version

SKEW_MAX = timedelta(seconds=5)  # keys expire and jobs begin by the clock of the service
QUEUED_MAX = timedelta(minutes=2)  # a job that no chip holds up begins sooner
_TIMEOUT = 5.0  # s
_LISTED = 200  # waiting jobs that are looked at


def check_service(url: str, key: str) -> Iterator[Finding]:
    """Check a service from outside; nothing more is checked where none answers."""
    with httpx.Client(base_url=url, timeout=_TIMEOUT) as http:
        try:
            answer = http.get("/healthz")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            said = f"{url} does not answer: {str(error) or type(error).__name__}"
            advice = "Start a service with `tandemcal up`, or give its address with --url."
            yield failed("address", said, advice)
            return
        try:
            version = HealthView.model_validate_json(answer.content).version
        except ValueError:
            said = f"{url} answers, but is no Tandemcal service (status {answer.status_code})"
            yield failed("address", said, "Give the address of the service with --url.")
            return
        yield ok("address", f"{url} answers")
        yield check_clock(answer.headers.get("Date"), datetime.now(UTC))
        yield check_version(version)
        yield _ready(http.get("/readyz"))
    with Tandemcal(url, key, timeout=_TIMEOUT, retry=Retry(tries=1)) as client:
        yield from _with_key(client)


def check_clock(date: str | None, now: datetime) -> Finding:
    """Compare the clock of the service, by its header `Date`, with that of this machine."""
    if date is None:
        return skipped("clock", "the service does not tell its time")
    skew = parsedate_to_datetime(date) - now
    found = f"{abs(skew).total_seconds():.0f} s between the service and this machine"
    if abs(skew) <= SKEW_MAX:
        return ok("clock", found)
    advice = "Set both clocks by NTP: keys expire and jobs begin by the clock of the service."
    return warning("clock", found, advice)


def check_version(version: str) -> Finding:
    """Compare the version of the service with that of this command."""
    ours = code_version()
    if version == ours:
        return ok("version", version)
    advice = f"Install the same version here: pip install 'tandemcal=={version}'."
    return warning("version", f"the service is {version}, this command {ours}", advice)


def _ready(answer: httpx.Response) -> Finding:
    """Say whether database, migrations and disk of the service are as they should be."""
    if answer.is_success:
        return ok("readiness", "database, migrations and disk of the service are ready")
    problem = problem_of(answer)
    advice = (
        "Free space on its disk."
        if answer.status_code == httpx.codes.INSUFFICIENT_STORAGE
        else ("Start its database, or run `tandemcal migrate` on its machine.")
    )
    return failed("readiness", problem.detail, advice)


def _with_key(client: Tandemcal) -> Iterator[Finding]:
    try:
        chips = list(client.chips.list())
    except TandemcalError as error:
        advice = "Give a valid key with --key or TANDEMCAL_KEY: tandemcal keys make."
        yield failed("key", error.detail, advice)
        return
    yield ok("key", "the key is valid and may read")
    silent = [chip.name for chip in chips if chip.state == "offline"]
    if silent:
        found = f"{plural(len(silent), 'chip')} of {len(chips)} offline: {', '.join(silent[:5])}"
        advice = "Start their agents with `tandemcal agent`; jobs wait until they are back."
        yield warning("agents", found, advice)
    else:
        yield ok("agents", f"none of {plural(len(chips), 'chip')} is offline")
    yield _queue(client)


def _queue(client: Tandemcal) -> Finding:
    """Say whether jobs wait although no chip holds them up: then no worker takes them."""
    since = datetime.now(UTC) - QUEUED_MAX
    stuck = [
        job
        for job in islice(client.jobs.list(status="queued"), _LISTED)
        if max(job.created_at, job.not_before or job.created_at) < since
    ]
    if stuck and next(client.jobs.list(status="running"), None) is None:
        found = f"{plural(len(stuck), 'job')} queued for minutes, and none runs"
        return failed("queue", found, "Start a worker with `tandemcal worker`.")
    return ok("queue", "no job waits in vain for a worker")
