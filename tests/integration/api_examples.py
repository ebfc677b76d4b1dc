"""The examples of the OpenAPI document: what a lab and a service said to each other.

`python -m tests.integration.api_examples` writes them anew; `test_api_examples` compares.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import safetensors.numpy

from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.api.examples import EXAMPLES
from tests.integration import lab_seed
from tests.integration.jobs_lab import Lab, SeededLab, Service, a_lab
from tests.warm.client import WarmServer
from tests.world import upload_headers

Json = dict[str, Any]
# What a reader must not take for a secret of somebody.
_MASKED = {"key": "tandemcal_" + "x" * 43, "secret": "x" * 43, "credential": "x" * 43}
_REF = re.compile(r"#/components/schemas/(\w+)")


class Operation(NamedTuple):
    """A method of the API, and what its body and its answers are called."""

    path: re.Pattern[str]
    body: Callable[[Json], str | None]
    answers: Mapping[str, str | None]


class Conversation:
    """Sends requests to a service; keeps the last body of each model, in both directions."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.said: dict[str, Json] = {}
        document = http.get("/v1/openapi.json").json()
        self._operations = {
            (path, method): _operation(path, described)
            for path, methods in document["paths"].items()
            for method, described in methods.items()
        }

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid4())} | parts.pop("headers", {})
        answer = self.http.request(method, path, headers=headers, **parts)
        operation = self._operation(answer.request)
        if "json" in parts:
            self._keep(operation.body(parts["json"]), parts["json"])
        if "problem" in answer.headers.get("Content-Type", ""):
            self._keep("Problem", answer.json())
        elif answer.content and answer.headers.get("Content-Type") == "application/json":
            self._keep(operation.answers.get(str(answer.status_code)), answer.json())
        return answer

    def ask(self, method: str, path: str, **parts: Any) -> Any:
        answer = self.send(method, path, **parts)
        assert answer.is_success, answer.text
        return answer.json()

    def ended(self, job: Json) -> Json:
        """Wait for a job, which has to succeed."""
        while not job["terminal"]:
            job = self.ask("GET", f"/v1/jobs/{job['id']}", params={"wait": 10})
        assert job["status"] == "succeeded", job["reason"]
        return job

    def run(self, **request: Any) -> Json:
        return self.ended(self.ask("POST", "/v1/jobs", json=request))

    def _keep(self, model: str | None, body: Json) -> None:
        if model is not None:
            self.said[model] = _masked(body)

    def _operation(self, request: httpx.Request) -> Operation:
        found = [
            operation
            for (_, method), operation in self._operations.items()
            if method == request.method.lower() and operation.path.fullmatch(request.url.path)
        ]
        return found[0]


def _operation(path: str, described: Json) -> Operation:
    content = described.get("requestBody", {}).get("content", {}).get("application/json", {})
    answers = {
        status: _named(answer.get("content", {}).get("application/json", {}).get("schema", {}))
        for status, answer in described["responses"].items()
    }
    pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
    return Operation(pattern, lambda body: _named(content.get("schema", {}), body), answers)


def _named(schema: Json, body: Json | None = None) -> str | None:
    """The name of a schema; of one of several, that of the kind that the body names."""
    kinds = schema.get("discriminator", {}).get("mapping", {})
    reference = kinds.get((body or {}).get("kind"), schema.get("$ref", ""))
    found = _REF.search(reference)
    return found[1] if found else None


def _masked(body: Any) -> Any:
    if isinstance(body, list):
        return [_masked(one) for one in body]
    if not isinstance(body, dict):
        return body
    return {
        name: _mask(name, value) if name in _MASKED and isinstance(value, str) else _masked(value)
        for name, value in body.items()
    }


def _mask(name: str, value: str) -> str:
    """What a secret looks like; one of a webhook says that it is one."""
    prefix = "whsec_"
    return f"{prefix}{'x' * 32}" if value.startswith(prefix) else _MASKED[name]


def converse(service: Service) -> dict[str, Json]:
    """Say all that the API knows; return the last body of each model."""
    lab = Conversation(service.http)
    _keys(lab)
    _webhooks(lab)
    _agents(lab)
    student = _student(lab, _targets(lab, _teacher(lab)))
    chip = _chip(lab)
    _jobs(lab, chip, student)
    _upkeep(lab, chip)
    lab.send("PATCH", f"/v1/chips/{chip}", json={"name": "bench-3b"})
    for path in ("/healthz", "/v1/audit?limit=2", "/v1/chips?limit=1", "/v1/jobs?limit=1"):
        lab.ask("GET", path)
    lab.send("GET", "/v1/chips/bench-9")  # a problem
    return lab.said


def _keys(lab: Conversation) -> None:
    body = {"name": "dashboard", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"}
    key = lab.ask("POST", "/v1/keys", json=body)
    lab.ask("DELETE", f"/v1/keys/{key['id']}")
    lab.ask("GET", "/v1/keys", params={"limit": 1})


def _webhooks(lab: Conversation) -> None:
    body = {
        "url": "http://127.0.0.1:18765/tandemcal",
        "events": ["job.ended", "chip.health_changed"],
    }
    path = f"/v1/webhooks/{lab.ask('POST', '/v1/webhooks', json=body)['id']}"
    lab.ask("POST", f"{path}/test")  # nobody listens there
    lab.ask("PATCH", path, json={"enabled": False})
    lab.ask("GET", "/v1/webhooks")
    assert lab.send("DELETE", path).status_code == 204


def _agents(lab: Conversation) -> None:
    body = {
        "agent_id": "bench-7",
        "name": "bench-7",
        "url": "http://127.0.0.1:8770",
        "secret": "s" * 43,
        "signed": True,
        "version": "0.1.0",
        "info": info_to_json(info_of(preset("pcm"), "bench-7")),
    }
    chip = lab.ask("POST", "/v1/agents", json=body)["chip_id"]
    lab.ask("GET", f"/v1/chips/{chip}/agent")


def _teacher(lab: Conversation) -> str:
    body = {"name": "digits of another lab", "network": lab_seed.NETWORK}
    sent = httpx.Request("POST", "http://lab", json=body).content
    digest = {"Content-Digest": upload_headers(sent)["Content-Digest"]}
    lab.ask("POST", "/v1/teachers", json=body, headers=digest)  # whose weights stay there
    weights = safetensors.numpy.load(lab_seed.weights())
    about = {"name": "digits", "network": json.dumps(lab_seed.NETWORK)}
    block = safetensors.numpy.save(weights, about)
    teacher = lab.ask("POST", "/v1/teachers", content=block, headers=upload_headers(block))
    lab.ask("GET", "/v1/teachers", params={"limit": 1})
    return str(teacher["id"])


def _targets(lab: Conversation, teacher: str) -> str:
    body = {"name": "digits", "teacher_id": teacher, "chunks": 2}
    path = f"/v1/target-sets/{lab.ask('POST', '/v1/target-sets', json=body)['id']}"
    for index, split in enumerate(("calibration", "test")):
        block = lab_seed.samples(index)
        parts: Any = {"content": block, "headers": upload_headers(block)}
        lab.ask("PUT", f"{path}/chunks/{index}", params={"split": split}, **parts)
    lab.ended(lab.ask("POST", f"{path}/complete"))
    lab.ask("GET", "/v1/target-sets", params={"limit": 1})
    return str(lab.ask("GET", path)["id"])


def _student(lab: Conversation, targets: str) -> str:
    job = lab.run(kind="train", target_set_id=targets, settings={"epochs": 10})
    lab.ask("GET", "/v1/students", params={"limit": 1})
    return str(lab.ask("GET", f"/v1/students/{job['student_id']}")["id"])


def _chip(lab: Conversation) -> str:
    body = {"name": "bench-3", "settings": {"preset": "pcm", "seed": 3}}
    return str(lab.ask("POST", "/v1/chips", json=body)["id"])


def _jobs(lab: Conversation, chip: str, student: str) -> None:
    both = {"chip_id": chip, "student_id": student}
    later = lab.ask("POST", "/v1/jobs", json=both | {"kind": "tune", "not_before": _LATER})
    lab.ask("POST", f"/v1/jobs/{later['id']}/cancel")
    lab.ask("POST", "/v1/jobs", json=both | {"kind": "evaluate", "not_before": _LATER})
    lab.ask("POST", "/v1/jobs/cancel", json={"chip_id": "bench-3", "status": ["queued"]})
    lab.run(kind="evaluate", **both)
    job = _published(lab, both)
    lab.run(kind="probe", chip_id=chip)
    for path in ("weights", "weights/1", "fingerprints", "history?limit=1"):
        lab.ask("GET", f"/v1/chips/{chip}/{path}")
    found = lab.said["Page_FingerprintView_"]["items"][0]["id"]
    lab.ask("GET", f"/v1/chips/{chip}/fingerprints/{found}")
    lab.ask("GET", f"/v1/jobs/{job['id']}")


def _published(lab: Conversation, both: Json) -> Json:
    """A calibration that was published. Of so few samples, not every choice makes it better."""
    for seed in range(8):
        job = lab.run(kind="calibrate", settings=_SETTINGS | {"seed": seed}, **both)
        if job["result"]["published"]:
            return job
    raise AssertionError("no calibration made the chip better")


def _upkeep(lab: Conversation, chip: str) -> None:
    body = {"probe_every_s": 86_400, "calibrate_at_score": 3.0, "calibrate_before_expiry": True}
    lab.ask("PUT", f"/v1/chips/{chip}/policy", json=body)


_LATER = "2100-01-01T00:00:00Z"
_SETTINGS = {
    "budget": {"samples": 640},
    "batch": 32,
    "settle_s": 0,
    "target_points": None,
    "stages": ["trims", "cells"],
    "data": "lab",
}


def main() -> None:
    """Write the examples of a service that this starts."""
    with TemporaryDirectory() as seeded, TemporaryDirectory() as own, closing(WarmServer()) as warm:
        root = Path(seeded)
        with a_lab(SeededLab(root, lab_seed.seed(root), warm), Path(own)) as lab:
            write(lab)


def write(lab: Lab) -> None:
    """Write the examples."""
    service = Service(lab)
    said = converse(service)
    service.stop()
    EXAMPLES.write_text(json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
