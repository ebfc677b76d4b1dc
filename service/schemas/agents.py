"""Bodies about chip agents: registration and heartbeat."""

from datetime import datetime
from typing import Annotated

from pydantic import AnyHttpUrl, Field

from service.schemas.base import DescribedAs, JsonObject, Request, ResourceId, Title, View
from service.schemas.chip_info import ChipInformation

_VISIBLE = r"^[\x21-\x7e]+$"
TOKEN_MAX = 2**30  # far below the largest integer that the database stores
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class AgentLimits(Request):
    """How long a job waits for this agent."""

    answer_s: Seconds = 300.0  # a call that takes longer than this fails
    reach_s: Seconds = 30.0  # how long an unreachable agent is called again


class AgentRequest(Request):
    """Registration of an agent and its chip, sent at every start of the agent."""

    agent_id: ResourceId
    name: Title  # of the chip; from now on the agent serves the chip of this name
    url: AnyHttpUrl  # where workers reach the agent
    # They become header values and lines of logs: no control character, no space, no line end.
    secret: Annotated[str, Field(min_length=32, max_length=200, pattern=_VISIBLE, repr=False)]
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
    registered_at: datetime
    heartbeat_at: datetime
    alive_until: datetime  # without another heartbeat the chip is offline after this time


class RegisteredView(AgentView):
    """An agent's view of its own registration."""

    heartbeat_s: float  # interval at which the agent has to send a heartbeat
