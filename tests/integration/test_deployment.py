"""What `docker compose up` starts, read as a machine reads it: it fits the code that it runs."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic_settings import BaseSettings
from sqlalchemy import make_url

from chip_sim.presets import NAMES
from service.bench.agent.settings import AgentSettings
from service.cli.main import app
from service.settings import Settings
from tests.world import World

ROOT = Path(__file__).parents[2]
OWN = ("migrate", "api", "worker", "chip", "demo")
SETTINGS: dict[str, type[BaseSettings]] = {
    "TANDEMCAL_AGENT_": AgentSettings,
    "TANDEMCAL_": Settings,
}
SECRET = re.compile(r"\$\{(\w*(?:PASSWORD|KEY)\w*)(:[-?])?")
GIVEN = "a-secret-with-$@:/%-and-more-characters"  # what a lab puts into .env
BY_SCRIPT = {"TANDEMCAL_URL", "TANDEMCAL_KEY_FILE", "TANDEMCAL_DEMO_CHIPS"}
Parsed = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Parsed:
    parsed: Parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="module")
def dockerfile() -> list[list[str]]:
    """Its instructions, continued lines joined, each split at its first space."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [line.split(maxsplit=1) for line in lines]


def environment(service: Parsed) -> dict[str, str]:
    """As a container gets it where secrets alone are set: `${NAME:-default}` is its default."""
    values = {name: str(value) for name, value in service.get("environment", {}).items()}
    plain = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in values.items()}
    return {name: GIVEN if SECRET.match(value) else value for name, value in plain.items()}


def unknown(names: set[str]) -> set[str]:
    """Those of our variables that no setting reads."""
    known = set(BY_SCRIPT)
    for prefix, settings in SETTINGS.items():
        known |= {f"{prefix}{name.upper()}" for name in settings.model_fields}
    return {name for name in names if name.startswith("TANDEMCAL_")} - known


def test_the_fleet_is_one_api_two_workers_and_eight_chips(compose: Parsed) -> None:
    services = compose["services"]
    assert set(services) == {*OWN, "postgres", "prometheus", "grafana"}
    replicas = {
        name: found["deploy"]["replicas"] for name, found in services.items() if "deploy" in found
    }
    assert replicas == {"worker": 2, "chip": 8}
    chips = environment(services["chip"])
    presets = chips["TANDEMCAL_AGENT_CHIP"].split(",")
    assert len(set(presets)) == 4
    assert set(presets) <= set(NAMES)
    assert "{n}" in chips["TANDEMCAL_AGENT_NAME"]  # so that more of them can be asked for
    assert {name for name, found in services.items() if "profiles" in found} == {
        "prometheus",
        "grafana",
    }


def test_each_waits_for_what_it_needs(compose: Parsed) -> None:
    services = compose["services"]
    needs = {
        name: {on: found["depends_on"][on]["condition"] for on in found["depends_on"]}
        for name, found in services.items()
        if isinstance(found.get("depends_on"), dict)
    }
    assert needs == {
        "migrate": {"postgres": "service_healthy"},
        "api": {"migrate": "service_completed_successfully"},
        **{name: {"api": "service_healthy"} for name in ("worker", "chip", "demo")},
    }
    for name in ("postgres", "api", "worker", "chip"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"  # a shell would leave an orphan


def test_signals_reach_every_process_and_a_worker_has_time_to_hand_over(compose: Parsed) -> None:
    for name in (*OWN, "postgres"):  # which takes orphans for its own sessions
        assert compose["services"][name]["init"] is True
    grace = int(compose["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["handover_s"].default


def test_every_variable_is_a_setting_and_has_a_value_that_fits(
    compose: Parsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OWN:
        found = environment(compose["services"][name])
        assert unknown(set(found)) == set(), name
        assert not [value for value in found.values() if "$" in value and value != GIVEN]
        with monkeypatch.context() as patched:
            for variable, value in found.items():
                patched.setenv(variable, value)
            AgentSettings() if name == "chip" else Settings()


def test_a_variable_that_nothing_reads_would_be_seen() -> None:
    wrong = {"TANDEMCAL_PARALEL_JOBS", "TANDEMCAL_AGENT_PRESET"}
    assert unknown({*wrong, "TANDEMCAL_PORT", "PATH"}) == wrong


def test_commands_exist_and_agree_about_the_join_key(compose: Parsed) -> None:
    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback is not None
    }
    services = compose["services"]
    assert {found["command"][0] for found in services.values() if "command" in found} <= known
    keys = {
        environment(services["api"])["TANDEMCAL_JOIN_KEY"],
        environment(services["chip"])["TANDEMCAL_AGENT_JOIN_KEY"],
    }
    assert len(keys) == 1


def test_volumes_are_declared_and_mounted_files_are_there(compose: Parsed) -> None:
    mounted = [
        mount.split(":")[0]
        for found in compose["services"].values()
        for mount in found.get("volumes", [])
    ]
    named = {source for source in mounted if not source.startswith((".", "/"))}
    assert named == set(compose["volumes"])
    assert all((ROOT / source).exists() for source in mounted if source.startswith("."))


def open_secrets(compose: Parsed) -> list[str]:
    """The secrets that have a value where nobody gave one."""
    values = [
        str(value)
        for found in compose["services"].values()
        for value in found.get("environment", {}).values()
    ]
    asked = [match for value in values for match in SECRET.finditer(value)]
    assert asked
    return [match[1] for match in asked if match[2] != ":?"]


def test_no_secret_has_a_default(compose: Parsed) -> None:
    assert open_secrets(compose) == []


def test_a_default_would_be_seen() -> None:
    environment = {"PGPASSWORD": "${POSTGRES_PASSWORD:-tandemcal}"}
    assert open_secrets({"services": {"api": {"environment": environment}}}) == [
        "POSTGRES_PASSWORD"
    ]


def test_a_password_is_no_part_of_a_url(compose: Parsed) -> None:
    """It may hold any character then."""
    for name in ("migrate", "api", "worker"):
        found = compose["services"][name]["environment"]
        assert SECRET.search(found["TANDEMCAL_DATABASE_URL"]) is None
        assert make_url(found["TANDEMCAL_DATABASE_URL"]).password is None
        assert SECRET.match(found["PGPASSWORD"])


def test_the_script_writes_every_secret_once(compose: Parsed, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = shutil.copy(ROOT / "deploy" / "passwords.sh", tmp_path / "deploy")
    file = tmp_path / ".env"
    file.write_text("GRAFANA_PASSWORD=mine\n")
    for _ in range(2):
        subprocess.run(["sh", script], check=True)
    written = dict(line.split("=", 1) for line in file.read_text().splitlines())
    values = str([found.get("environment") for found in compose["services"].values()])
    assert set(written) == {match[1] for match in SECRET.finditer(values)}
    assert written.pop("GRAFANA_PASSWORD") == "mine"
    assert min(map(len, written.values())) == 48
    assert len(set(written.values())) == len(written)


def test_containers_may_do_little(compose: Parsed) -> None:
    for name, found in compose["services"].items():
        assert found["cap_drop"] == ["ALL"], name
        assert found["security_opt"] == ["no-new-privileges:true"], name
        assert found["read_only"] is True, name
        assert found["tmpfs"], name
        assert found["mem_limit"].endswith("g"), name
        assert found["pids_limit"] > 0, name
    added = {name for name, found in compose["services"].items() if "cap_add" in found}
    assert added == {"postgres"}  # which begins as root, and gives that up


def test_each_agent_has_a_volume_of_its_own(compose: Parsed) -> None:
    """One without a name is made for each container."""
    assert compose["services"]["chip"]["volumes"] == ["/data"]


def test_the_demonstration_calibrates_as_many_chips_as_it_is_told(compose: Parsed) -> None:
    asked = compose["services"]["demo"]["environment"]["TANDEMCAL_DEMO_CHIPS"]
    chips = compose["services"]["chip"]["deploy"]["replicas"]
    assert asked == f"${{TANDEMCAL_DEMO_CHIPS:-{chips}}}"


def test_nothing_is_published_beyond_this_machine(compose: Parsed) -> None:
    ports = [port for found in compose["services"].values() for port in found.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_old_and_new_compose_both_take_the_file(compose: Parsed) -> None:
    assert compose["version"] == "3.8"
    assert not {"include", "develop"} & {
        key for found in (compose, *compose["services"].values()) for key in found
    }


def test_images_run_as_a_user_without_rights(dockerfile: list[list[str]]) -> None:
    last: dict[str, str] = {}
    stage = ""
    for instruction, rest in dockerfile:
        if instruction == "FROM":
            stage = rest.rpartition(" AS ")[2]
        if instruction in ("USER", "ENTRYPOINT"):
            last[f"{stage} {instruction}"] = rest
    assert (last["service USER"], last["demo USER"]) == ("tandemcal", "tandemcal")
    assert json.loads(last["service ENTRYPOINT"]) == ["tandemcal"]  # not through a shell
    assert json.loads(last["demo ENTRYPOINT"])[0] == "python"
    assert ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu") in map(tuple, dockerfile)


def test_what_the_image_is_made_of_is_let_into_its_build(dockerfile: list[list[str]]) -> None:
    let_in = (ROOT / ".dockerignore").read_text().splitlines()
    for instruction, rest in dockerfile:
        for source in rest.split()[:-1] if instruction == "COPY" else ():
            assert (ROOT / source).exists()
            assert f"!{source.removeprefix('./')}" in let_in


def test_prometheus_asks_the_api_and_grafana_asks_prometheus(compose: Parsed) -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    assert [
        target
        for one in scraped
        for config in one["static_configs"]
        for target in config["targets"]
    ] == ["api:8765"]
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/tandemcal.yml").read_text())[
        "providers"
    ]
    mounts = compose["services"]["grafana"]["volumes"]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in mounts)
    assert {panel["datasource"]["uid"] for panel in dashboard()["panels"]} == {source["uid"]}


def test_the_dashboard_asks_for_metrics_that_there_are(world: World) -> None:
    asked = {name for panel in dashboard()["panels"] for name in names_in(panel)}
    assert len(asked) > 10
    assert asked <= metric_names(world.client.get("/metrics").text)
    assert "tandemcal_jobs_ended" not in metric_names(
        world.client.get("/metrics").text
    )  # `_total` it is


def dashboard() -> Parsed:
    parsed: Parsed = json.loads((ROOT / "deploy/grafana/dashboards/tandemcal.json").read_text())
    return parsed


def names_in(panel: Parsed) -> list[str]:
    return [
        name
        for target in panel["targets"]
        for name in re.findall(r"\btandemcal_\w+", target["expr"])
    ]


def metric_names(text: str) -> set[str]:
    """Names of samples, also of families that have none yet."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {
        f"{family.name}{ending}"
        for family in text_string_to_metric_families(text)
        for ending in endings.get(family.type, ())
    }
