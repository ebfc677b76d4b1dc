"""Settings from the environment: a bad one is a sentence, and a misspelt name is pointed out."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from service.bench.agent.settings import AgentSettings
from service.cli.client import fail
from service.settings import Settings

_PREFIX, _AGENT_PREFIX = "TANDEMCAL_", "TANDEMCAL_AGENT_"
# Of the client, the examples and the benchmarks.
_OTHERS = ("URL", "KEY", "KEY_FILE", "DEMO_CHIPS", "DEMO_OUT", "DATA")
_KNOWN = (
    *(name.upper() for name in (*Settings.model_fields, *_OTHERS)),
    *(f"AGENT_{name.upper()}" for name in AgentSettings.model_fields),
)
_NEAR = 0.8  # of difflib's ratio: two letters in ten may differ


def read_settings() -> Settings:
    """Read the settings of the service. Ends the command with a sentence if one is not valid."""
    with _said_plainly(_PREFIX):
        return Settings()


def read_agent_settings(given: Mapping[str, Any]) -> AgentSettings:
    """Read the settings of an agent; options that were given override the environment.

    Ends the command with a sentence if one is not valid.
    """
    with _said_plainly(_AGENT_PREFIX):
        return AgentSettings(**given)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a sentence for each environment variable of ours that nothing reads."""
    ours = sorted(name for name in names if name.upper().startswith(_PREFIX))
    return [_misspelt(name) for name in ours if _ending(name) not in _KNOWN]


def _misspelt(name: str) -> str:
    near = get_close_matches(_ending(name), _KNOWN, n=1, cutoff=_NEAR)
    hint = f"; did you mean {_PREFIX}{near[0]}?" if near else "."
    return f"No setting is named {name}, so it has no effect{hint}"


def _ending(name: str) -> str:
    return name.upper().removeprefix(_PREFIX)


@contextmanager
def _said_plainly(prefix: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        fail(_sentence(error, prefix))
    except SettingsError as error:  # no JSON where a list or an object is asked for
        fail(f"A setting is not valid: {error}; its value has to be JSON.")


def _sentence(error: ValidationError, prefix: str) -> str:
    """Describe the first fault, without the value: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    where = ".".join(map(str, first["loc"]))
    if not where:
        return f"The settings are not valid: {message}."
    return f"The setting {prefix}{where.upper()} is not valid: {message}."
