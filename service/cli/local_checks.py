"""Checks of an installation on this machine: database, migrations, disk, workers, artifacts."""

import shutil
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from service.artifacts import ArtifactStore
from service.cli.findings import Finding, failed, ok, warning
from service.db.migrate import is_current
from service.db.repositories.artifact_references import ArtifactReferenceRepository
from service.db.repositories.executors import ExecutorRepository
from service.db.session import Database, clock, shown_url
from service.formatting import plural
from service.settings import Settings

_GIB = 2**30


def check_installation(settings: Settings) -> Iterator[Finding]:
    """Check what the settings of this machine name; it is only read."""
    yield _disk(settings)
    database = Database(settings.database)
    try:
        current = is_current(database.engine)
        yield ok("database", f"{shown_url(settings.database)} answers")
        if not current:
            advice = "Run `tandemcal migrate`."
            yield failed("migrations", "the database has not the newest schema", advice)
            return
        yield ok("migrations", "the database has the newest schema")
        yield _workers(settings, database)
        yield _artifacts(settings, database)
    except SQLAlchemyError as error:
        found = f"{shown_url(settings.database)} does not answer ({type(error).__name__})"
        yield failed("database", found, "Start it, or correct TANDEMCAL_DATABASE_URL.")
    finally:
        database.close()


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.data_dir).free
    found = f"{free / _GIB:.1f} GiB free in {settings.data_dir}"
    if free < settings.reserve_bytes:
        return failed("disk", found, "Free some space: nothing new is accepted.")
    if free < 2 * settings.reserve_bytes:
        advice = f"Below {settings.reserve_bytes / _GIB:.1f} GiB nothing new is accepted."
        return warning("disk", found, advice)
    return ok("disk", found)


def _workers(settings: Settings, database: Database) -> Finding:
    silence = timedelta(seconds=settings.executor_silence_s)
    with database.reading() as session:
        executors, now = ExecutorRepository(session), clock(session)
        living, slots = executors.living(silence, now), executors.slots(silence, now)
    if not living:
        advice = "Start `tandemcal up`, or `tandemcal worker` beside an API."
        return failed("workers", "no process runs jobs", advice)
    return ok("workers", f"{', '.join(living[:5])}: {plural(slots, 'job')} at once")


def _artifacts(settings: Settings, database: Database) -> Finding:
    store = ArtifactStore(settings.artifacts_dir)
    with database.reading() as session:
        named = ArtifactReferenceRepository(session).referenced()
        missing = sum(not store.has(sha256) for sha256 in named)
    if missing:
        found = f"{missing} of {plural(len(named), 'block')} are not in {settings.artifacts_dir}"
        return failed("artifacts", found, "Restore them: tandemcal restore, or copy the folder.")
    return ok("artifacts", f"all {plural(len(named), 'block')} that the database names are there")
