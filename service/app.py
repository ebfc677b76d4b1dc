"""Composition root: builds the application from its settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from service.api import (
    agents,
    audit,
    chips,
    events,
    health,
    jobs,
    keys,
    metrics,
    sessions,
    students,
    target_sets,
    teachers,
    upkeep,
    webhooks,
)
from service.api.batches import Batches
from service.api.context import Context
from service.api.credentials import CredentialStore
from service.api.document import PROBLEMS, document_router, operation_id
from service.api.errors import add_error_handlers
from service.api.gate import Gate
from service.api.hosts import ServedHosts
from service.api.job_reader import JobReader
from service.api.job_status import StatusAnswers
from service.api.notifier import EventNotifier
from service.api.queries import KNOWN_QUERIES
from service.api.rate_limits import RateLimits
from service.api.submissions import submit_together
from service.api.threads import make_threads
from service.artifacts import ArtifactStore
from service.db.session import Database
from service.disk_space import DiskSpace
from service.jobs.engine import JobEngine
from service.jobs.kinds.memory import limit_of
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.submit import Submitter
from service.metrics import make_registry
from service.secret_cipher import open_cipher
from service.settings import Settings
from service.startup import prepare
from service.version import code_version
from service.web import pages
from service.web.parts import SentParts
from service.web.rendering import show_error

MakeEngine = Callable[[Settings, Database, JobKinds], JobEngine]

_ROUTERS = (  # searched from the top: the most frequent requests first
    events.router,
    agents.router,
    chips.router,
    teachers.router,
    target_sets.router,
    students.router,
    upkeep.router,
    keys.router,
    audit.router,
    webhooks.router,
    sessions.router,
    health.router,
)


def run_jobs_here(settings: Settings, database: Database, kinds: JobKinds) -> JobEngine:
    """Return the job engine of a service that runs its own jobs."""
    # Imported here because a service that only answers requests works without it.
    from service.jobs.queue.dbos_engine import ExecutingEngine

    return ExecutingEngine(settings, database, kinds)


def leave_jobs_to_workers(settings: Settings, database: Database, _: JobKinds) -> JobEngine:
    """Return the job engine of a service that only answers requests; workers run the jobs."""
    from service.jobs.queue.dbos_engine import SubmittingEngine

    return SubmittingEngine(settings, database)


def create_app(
    settings: Settings,
    engine: MakeEngine | JobEngine = run_jobs_here,
    kinds: JobKinds = KINDS,
) -> FastAPI:
    """Create the application; `engine` decides where jobs run, `kinds` which kinds there are."""
    app = FastAPI(
        title="Tandemcal",
        version=code_version(),
        lifespan=_lifespan(settings, engine, kinds),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=PROBLEMS,
        dependencies=[KNOWN_QUERIES],
        generate_unique_id_function=operation_id,
    )
    app.add_middleware(StatusAnswers)  # within the gate
    app.add_middleware(
        Gate,
        hosts=ServedHosts((settings.host, *settings.served_hosts)),
        limits=RateLimits(settings.requests_per_s, settings.wrong_keys_per_minute),
    )
    for router in (jobs.make_router(kinds), *_ROUTERS):
        app.include_router(router)
    if settings.metrics_port is None:
        app.include_router(metrics.router)
    app.include_router(pages.router)
    app.include_router(document_router(app, kinds))
    add_error_handlers(app, show_error)
    app.state.sent_parts = SentParts()
    return app


def _lifespan(
    settings: Settings, engine: MakeEngine | JobEngine, kinds: JobKinds
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(prepare, settings)
        context = _compose(settings, engine, kinds)
        app.state.context = context
        context.artifacts.delete_abandoned_uploads()
        async with AsyncExitStack() as ends:  # each is called whatever another one raises
            ends.callback(context.database.close)
            await run_in_threadpool(context.engine.launch)
            ends.push_async_callback(run_in_threadpool, context.engine.stop)
            ends.push_async_callback(context.notifier.close)
            context.credentials.use.start()
            ends.push_async_callback(context.credentials.use.stop)
            ends.enter_context(metrics.metrics_server(settings, context.database, kinds))
            yield

    return lifespan


def _compose(settings: Settings, engine: MakeEngine | JobEngine, kinds: JobKinds) -> Context:
    database = Database(settings.database)
    made = engine(settings, database, kinds) if callable(engine) else engine
    threads = make_threads()
    cipher = open_cipher(settings.secret_key_texts, settings.secret_key_file)
    memory_limit = limit_of(settings) if made.runs_jobs_here else settings.job_memory_bytes

    def submitter(session: Session, now: datetime) -> Submitter:
        return Submitter(session, made, now, kinds=kinds, memory_limit=memory_limit)

    silence = timedelta(seconds=settings.agent_silence_s)
    return Context(
        settings=settings,
        database=database,
        artifacts=ArtifactStore(settings.artifacts_dir),
        engine=made,
        credentials=CredentialStore(database, settings.session_days),
        cipher=cipher,
        notifier=EventNotifier(database),
        kinds=kinds,
        metrics=make_registry(database, kinds),
        disk=DiskSpace(settings.data_dir, settings.reserve_bytes, settings.artifacts_dir),
        memory_limit=memory_limit,
        threads=threads,
        jobs=Batches(JobReader(database).read),
        submissions=Batches(partial(submit_together, database, submitter), threads.writers),
        heartbeats=Batches(partial(agents.hear, database, cipher, silence), threads.writers),
    )
