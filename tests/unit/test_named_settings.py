"""Every environment variable that the documentation names is a setting."""

import re
from pathlib import Path

import pytest

from service.bench.agent.settings import AgentSettings
from service.settings import Settings
from tests.unit.test_links import ROOT, markdown_files

CLIENT = {"TANDEMCAL_URL", "TANDEMCAL_KEY", "TANDEMCAL_CHAOS", "TANDEMCAL_CHAOS_SEED"}
BY_SCRIPT = {"TANDEMCAL_DEMO_CHIPS"}  # of examples/fleet_script.py
KNOWN = (
    CLIENT
    | BY_SCRIPT
    | {f"TANDEMCAL_{name.upper()}" for name in Settings.model_fields}
    | {f"TANDEMCAL_AGENT_{name.upper()}" for name in AgentSettings.model_fields}
)


def unknown_settings(text: str) -> set[str]:
    """Return the environment variables that a text names and nothing reads."""
    return set(re.findall(r"TANDEMCAL(?:_[A-Z]+)+", text)) - KNOWN


@pytest.mark.parametrize(
    "path", markdown_files(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_named_setting_exists(path: Path) -> None:
    assert unknown_settings(path.read_text(encoding="utf-8")) == set()


def test_a_setting_that_nothing_reads_would_be_seen() -> None:
    text = "`TANDEMCAL_PORT`, `TANDEMCAL_AGENT_NAME` and `TANDEMCAL_PORTS`"
    assert unknown_settings(text) == {"TANDEMCAL_PORTS"}
