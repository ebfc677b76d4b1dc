"""What an agent and the service tell each other of the agent."""

from datetime import datetime
from typing import Annotated

from pydantic import AnyHttpUrl, Field

from service.schemas.base import JsonObject, Request, ResourceId, Title, View

TOKEN_MAX = 2**30  # far from where a token would no longer fit
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class AgentLimits(Request):
    """How patient a job is with this agent."""

    answer_s: Seconds = 300.0  # an answer that takes longer is given up
    reach_s: Seconds = 30.0  # so long is it called when it cannot be reached


class AgentRequest(Request):
    """An agent says who it is and what stands behind it; again after every start."""

    agent_id: ResourceId
    name: Title  # of the chip; the chip of this name is its chip from now on
    url: AnyHttpUrl  # where the workers reach it
    secret: Annotated[str, Field(min_length=32, max_length=200, repr=False)]
    version: Annotated[str, Field(min_length=1, max_length=60)]
    limits: AgentLimits = AgentLimits()
    info: JsonObject  # ChipInfo
    token: Annotated[int, Field(ge=0, le=TOKEN_MAX)] = 0  # the highest lease token it has seen


class AgentView(View):
    id: str
    chip_id: str
    url: str
    version: str
    registered_at: datetime
    heartbeat_at: datetime
    alive_until: datetime  # without another heartbeat the chip is offline from then on


class RegisteredView(AgentView):
    heartbeat_s: float  # how often the agent is to be heard of
