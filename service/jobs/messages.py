"""Messages between a job's parent and its child process: one JSON object each, never a pickle.

Tensors do not travel here: they rest in the artifact store, and their SHA-256 is sent.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.bench.chip_ref import ChipRef
from service.bench.driver.call_times import CallTime
from service.networks import PRIVATE
from service.states import JobStatus, Split

Json = dict[str, Any]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChunkRef(_Message):
    """One uploaded chunk of samples."""

    split: Split
    sha256: str


class ExecutorConfig(_Message):
    """What is the same for every job of one executor."""

    artifacts_dir: str
    threads: int = Field(ge=1)
    chip_backends: dict[str, str] = {}
    agent_networks: tuple[str, ...] = PRIVATE
    agent_ca: str | None = None  # file with the authority of their certificates
    # Seconds that are granted to an agent, whatever it asks for.
    agent_answer_max_s: float = 600.0
    agent_reach_min_s: float = 0.0
    agent_reach_max_s: float = 600.0
    patience_s: float = 0.0  # how long it waits for room on a full disk
    memory_bytes: int | None = Field(default=None, ge=1)  # of one job; None: no limit


class JobDescription(_Message):
    """Everything that a child needs to know of its job; it reads no SQL."""

    type: Literal["description"] = "description"
    config: ExecutorConfig
    job_id: str
    kind: str
    work: str  # the function that does it, as `module:function`
    attempt: int
    request: Json
    network: Json | None = None
    # Of the teacher; of one whose weights are not here, those that were fitted, once they are.
    weights_sha256: str | None = None
    chunks: tuple[ChunkRef, ...] = ()
    percentile: float | None = None
    targets: dict[Split, str] = {}  # SHA-256 of each collected target set
    student_sha256: str | None = None
    in_force_sha256: str | None = None  # the codes that a calibration of this student left
    accuracy: Json | None = None  # of teacher and golden student
    chip: ChipRef | None = None
    extra: Json = {}  # what only this kind of job needs
    checkpoint_sha256: str | None = None
    elapsed_s: float = Field(default=0, ge=0)  # what earlier attempts took


class Lease(_Message):
    """Says until when the chip may be driven."""

    type: Literal["lease"] = "lease"
    until_s: float  # on the machine's monotonic clock


class Cancel(_Message):
    """Asks the child to stop between two steps and to put the chip back."""

    type: Literal["cancel"] = "cancel"


class Pause(_Message):
    """Asks the child for a checkpoint after this step: the job goes on elsewhere."""

    type: Literal["pause"] = "pause"


class AgentFound(_Message):
    """Tells where the agent of the chip is now."""

    type: Literal["agent_found"] = "agent_found"
    settings: Json = Field(repr=False)  # of its address, with its secret


class AgentSought(_Message):
    """Says that the agent of the chip is not found at its address, and asks where it is."""

    type: Literal["agent_sought"] = "agent_sought"


class Progressed(_Message):
    """Says that a step has ended, and what was spent so far."""

    type: Literal["progress"] = "progress"
    progress: Json
    spent: Json
    call_times: dict[str, CallTime] = {}  # of a chip behind an agent, in this attempt so far


class Logged(_Message):
    """Carries a line for the reader of the job's log."""

    type: Literal["log"] = "log"
    line: str


class Checkpointed(_Message):
    """Names the stored block from which another attempt can go on."""

    type: Literal["checkpoint"] = "checkpoint"
    sha256: str
    step: int
    chip_state_sha256: str | None = None


class Ended(_Message):
    """Says how the job ended; the last message of a child."""

    type: Literal["ended"] = "ended"
    status: Literal[JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED]
    reason: str | None = None
    error: str | None = None  # the class of the error that ended it
    result: Json | None = None
    blocks: dict[str, str] = {}  # what it made: name -> SHA-256
    chip_state_sha256: str | None = None


ForChild = JobDescription | Lease | Cancel | Pause | AgentFound
ForParent = Progressed | Logged | Checkpointed | AgentSought | Ended
ToChild = Annotated[ForChild, Field(discriminator="type")]
ToParent = Annotated[ForParent, Field(discriminator="type")]


def read_for_child(data: bytes) -> ForChild:
    """Read a message of the parent. Raises ValidationError."""
    return TypeAdapter[ForChild](ToChild).validate_json(data)


def read_for_parent(data: bytes) -> ForParent:
    """Read a message of the child. Raises ValidationError."""
    return TypeAdapter[ForParent](ToParent).validate_json(data)
