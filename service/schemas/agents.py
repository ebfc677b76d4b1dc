"""Bodies about chip agents: registration and heartbeat."""

from datetime import datetime
from typing import Annotated

from pydantic import AnyHttpUrl, Field, UrlConstraints

from service.schemas.base import DescribedAs, JsonObject, Request, Title, View
from service.schemas.chip_info import ChipInformation

_VISIBLE = r"^[\x21-\x7e]+$"
URL_MAX = 500  # letters
TOKEN_MAX = 2**30  # far below the largest integer that the database stores
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class AgentLimits(Request):
    """How long a job waits for this agent."""

    answer_s: Seconds = 300.0  # a call that takes longer than this fails
    reach_s: Seconds = 30.0  # how long an unreachable agent is called again


class AgentRequest(Request):
    """Registration of an agent and its chip, sent at every start of the agent."""

    agent_id: Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9._-]+$")]
    name: Title  # of the chip; from now on the agent serves the chip of this name
    # Where workers reach the agent.
    url: Annotated[AnyHttpUrl, UrlConstraints(max_length=URL_MAX)]
    # They become header values and lines of logs: no control character, no space, no line end.
    secret: Annotated[str, Field(min_length=32, max_length=200, pattern=_VISIBLE, repr=False)]
    # What the service gave it at its last registration. It proves that the agent is the same.
    credential: Annotated[
        str | None, Field(min_length=32, max_length=200, pattern=_VISIBLE, repr=False)
    ] = None
    signed: bool = False  # whether it knows calls that are signed with the secret
    version: Annotated[str, Field(min_length=1, max_length=60, pattern=_VISIBLE)]
    limits: AgentLimits = AgentLimits()
    info: Annotated[JsonObject, DescribedAs(ChipInformation)]
    token: Annotated[int, Field(ge=0, le=TOKEN_MAX)] = 0  # the highest lease token it has seen


class AgentView(View):
    """An agent: where it is reached, and until when it counts as alive."""

    id: str
    chip_id: str
    url: str
    version: str
    key_id: str | None = None  # the API key that the agent belongs to
    registered_at: datetime
    heartbeat_at: datetime
    alive_until: datetime  # without another heartbeat the chip is offline after this time


class RegisteredView(AgentView):
    """An agent's view of its own registration."""

    heartbeat_s: float  # interval at which the agent has to send a heartbeat
    # The agent's own from now on; given at a registration, not at a heartbeat.
    credential: str | None = None
