"""A new kind of job is one file and one line: this is such a file, and `KINDS.adding` the line."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from ltl_core.progress import Phase, Progress
from service.app import create_app, run_jobs_here
from service.db.tables import Job
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.registry import KINDS
from service.jobs.kinds.spec import Facts, JobKindSpec, JobSubject, ResultStore
from service.jobs.messages import Ended, Json
from service.schemas.jobs import Submission
from service.settings import Settings
from service.states import JobStatus
from tests.recording import RecordingEngine


class CountRequest(Submission):
    """Count the letters of a word."""

    kind: Literal["count"]
    word: str


def admit(session: Session, request: CountRequest) -> JobSubject:
    del session, request
    return JobSubject()


def inputs(session: Session, job: Job) -> Json:
    del session
    return {"extra": {"word": job.request["word"].upper()}}


def count(context: JobContext) -> Ended:
    context.report(Progress(Phase.COLLECTING, 1, 1))
    word = context.description.extra["word"]
    return Ended(status=JobStatus.SUCCEEDED, result={"word": word, "letters": len(word)})


def store(to: ResultStore, ended: Ended) -> Json:
    return (ended.result or {}) | {"attempt": to.job.attempt}


def outcome(result: Json) -> str:
    return f"{result['word']} has {result['letters']} letters"


def facts(job: Job) -> Facts:
    return [("Asked for", job.request["word"])]


KIND = JobKindSpec(
    name="count",
    noun="Count",
    request=CountRequest,
    needs_chip=False,
    admit=admit,
    work=count,
    inputs=inputs,
    store=store,
    outcome=outcome,
    facts=facts,
)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A service that knows one kind more, and runs its jobs."""
    with TestClient(create_app(settings, run_jobs_here, KINDS.adding(KIND))) as client:
        client.headers["Authorization"] = f"Bearer {settings.key_file.read_text().strip()}"
        yield client


def submitted(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": str(uuid7())})


def test_a_made_up_kind_runs_from_the_request_to_the_page(client: TestClient) -> None:
    accepted = submitted(client, kind="count", word="chip")
    assert accepted.status_code == 202, accepted.text
    job_id = accepted.json()["id"]
    job = client.get(f"/v1/jobs/{job_id}", params={"wait": 60}).json()
    assert (job["kind"], job["status"]) == ("count", "succeeded"), job["reason"]
    assert job["result"] == {"word": "CHIP", "letters": 4, "attempt": 1}
    client.post("/login", data={"key": client.headers["Authorization"].split()[1]})
    page = client.get(f"/jobs/{job_id}").text
    assert "Count: CHIP has 4 letters." in page
    assert "Asked for" in page
    assert "CHIP has 4 letters" in client.get("/").text


def test_a_made_up_kind_is_published_and_its_body_is_checked(client: TestClient) -> None:
    schemas = client.get("/v1/openapi.json").json()["components"]["schemas"]
    assert schemas["JobKind"]["enum"][-1] == "count"
    assert schemas["CountRequest"]["required"] == ["kind", "word"]
    refused = submitted(client, kind="count")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/word"


def test_a_kind_that_is_not_registered_is_refused(client: TestClient) -> None:
    assert submitted(client, kind="weigh", word="chip").status_code == 422
    assert client.get("/v1/jobs", params={"kind": "count"}).json()["items"] == []
    assert client.get("/v1/jobs", params={"kind": "weigh"}).status_code == 422


def test_the_fleet_page_lists_jobs_of_a_kind_that_is_not_known(client: TestClient) -> None:
    job_id = submitted(client, kind="count", word="chip").json()["id"]
    client.get(f"/v1/jobs/{job_id}", params={"wait": 60})
    context: Any = client.app.state.context  # type: ignore[attr-defined]
    client.app.state.context = context._replace(kinds=KINDS)  # type: ignore[attr-defined]
    client.post("/login", data={"key": client.headers["Authorization"].split()[1]})
    page = client.get("/")
    assert page.status_code == 200
    assert job_id in page.text


def test_the_service_asks_for_collect_jobs_itself(client: TestClient) -> None:
    assert submitted(client, kind="collect", target_set_id="any").status_code == 422


@pytest.mark.parametrize("here", [True, False])
def test_a_limit_of_memory_is_known_where_the_jobs_run(settings: Settings, here: bool) -> None:
    engine = RecordingEngine()
    engine.runs_jobs_here = here
    with TestClient(create_app(settings, lambda *_: engine)) as client:
        context = client.app.state.context  # type: ignore[attr-defined]
        assert (context.memory_limit is not None) is here
