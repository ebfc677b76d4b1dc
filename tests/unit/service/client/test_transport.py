"""Retries and errors of the client when the network or the service fails."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import BaseModel

from service.client.errors import DownloadError, ServiceUnreachableError, TandemcalError
from service.client.jobs import Jobs
from service.client.transport import Retry, Transport
from service.digests import content_digest

Answer = Callable[[httpx.Request], httpx.Response]
QUICK = Retry(tries=3, first_pause=0.0, longest_pause=0.0)


class Thing(BaseModel):
    name: str


class Line:
    """A network with scripted answers, which records the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.seen: list[httpx.Request] = []
        self._answers: Iterator[httpx.Response | Exception] = iter(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def transport(self, retry: Retry = QUICK) -> Transport:
        http = httpx.Client(base_url="http://bench", transport=httpx.MockTransport(self))
        return Transport(http, retry)


def lost() -> httpx.ConnectError:
    return httpx.ConnectError("connection refused")


def test_a_post_is_sent_again_under_the_same_key_when_the_connection_is_lost() -> None:
    line = Line(lost(), httpx.Response(201, json={"name": "chip"}))
    assert line.transport().post("/v1/chips", {}, Thing).name == "chip"
    first, second = (request.headers["Idempotency-Key"] for request in line.seen)
    assert first == second


def test_two_posts_have_different_keys() -> None:
    line = Line(*(httpx.Response(201, json={"name": "chip"}) for _ in range(2)))
    transport = line.transport()
    for _ in range(2):
        transport.post("/v1/chips", {}, Thing)
    first, second = (request.headers["Idempotency-Key"] for request in line.seen)
    assert first != second


def test_a_post_without_a_key_is_never_sent_twice() -> None:
    line = Line(lost(), httpx.Response(200))
    with pytest.raises(ServiceUnreachableError):
        line.transport().send("POST", "/v1/chips")
    assert len(line.seen) == 1


def test_after_the_last_try_the_error_names_the_address_and_what_to_do() -> None:
    line = Line(lost(), lost(), lost())
    with pytest.raises(
        ServiceUnreachableError, match=r"http://bench does not answer.*tandemcal up"
    ):
        line.transport().get("/healthz", Thing)
    assert len(line.seen) == 3


def test_a_service_that_is_not_ready_is_asked_again() -> None:
    line = Line(httpx.Response(503, json={}), httpx.Response(200, json={"name": "chip"}))
    assert line.transport().get("/v1/chips/1", Thing).name == "chip"


def test_a_problem_becomes_an_error_with_its_fields() -> None:
    problem = {
        "type": "/problems/capacity",
        "title": "Too large",
        "status": 422,
        "detail": "The network needs 80 tiles, but the chip has 64.",
        "needed": 80,
    }
    line = Line(httpx.Response(422, json=problem))
    with pytest.raises(TandemcalError, match="needs 80 tiles") as raised:
        line.transport().get("/v1/jobs/1", Thing)
    assert (raised.value.status, raised.value.slug) == (422, "capacity")
    assert raised.value.problem["needed"] == 80


def test_each_wrong_field_is_named() -> None:
    errors = [{"pointer": "/settings/budget/samples", "message": "must not be negative"}]
    line = Line(httpx.Response(422, json={"detail": "Not valid.", "errors": errors}))
    with pytest.raises(TandemcalError, match="/settings/budget/samples: must not be negative"):
        line.transport().get("/v1/jobs/1", Thing)


def test_an_error_that_is_no_problem_document_is_an_error_all_the_same() -> None:
    line = Line(httpx.Response(502, text="<html>Bad gateway</html>"))
    with pytest.raises(TandemcalError, match="Bad gateway"):
        line.transport().get("/v1/jobs/1", Thing)


def test_all_pages_of_a_list_are_read() -> None:
    line = Line(
        httpx.Response(200, json={"items": [{"name": "a"}], "next_cursor": "1"}),
        httpx.Response(200, json={"items": [{"name": "b"}], "next_cursor": None}),
    )
    assert [thing.name for thing in line.transport().every("/v1/chips", Thing)] == ["a", "b"]
    assert line.seen[1].url.params["cursor"] == "1"


def test_a_download_is_checked_against_its_digest() -> None:
    digest = {"Content-Digest": content_digest(b"weights")}
    line = Line(
        httpx.Response(200, content=b"weights", headers=digest),
        httpx.Response(200, content=b"weighty", headers=digest),
    )
    transport = line.transport()
    assert transport.download("/v1/students/1/weights") == b"weights"
    with pytest.raises(DownloadError):
        transport.download("/v1/students/1/weights")


def event(seq: int, kind: str) -> str:
    body = f'{{"seq": {seq}, "type": "{kind}", "job_id": "1", "chip_id": null, "data": {{}},'
    return f'id: {seq}\nevent: {kind}\ndata: {body} "created_at": "2026-01-01T00:00:00Z"}}\n\n'


def test_an_event_stream_that_breaks_off_goes_on_where_it_broke() -> None:
    line = Line(
        httpx.Response(200, text=": hello\n\n" + event(3, "job.started")),
        httpx.Response(200, text=event(4, "job.progress") + event(5, "job.ended")),
    )
    emitted = list(Jobs(line.transport()).events("1"))
    assert [one.seq for one in emitted] == [3, 4, 5]
    assert line.seen[1].headers["Last-Event-ID"] == "3"


def test_events_end_at_once_when_all_were_sent() -> None:
    assert list(Jobs(Line(httpx.Response(204)).transport()).events("1", after=9)) == []


def test_a_list_that_leaves_out_damaged_rows_warns_and_names_them() -> None:
    left_out = [f"row-{number}" for number in range(7)]
    page = {"items": [{"name": "a"}], "next_cursor": None, "unreadable": left_out}
    with pytest.warns(UserWarning, match=r"/v1/things leaves out row-0, .*row-4 and 2 more: "):
        (found,) = Line(httpx.Response(200, json=page)).transport().every("/v1/things", Thing)
    assert found.name == "a"
