"""Errors that the service raises; `service/api/errors.py` maps them to HTTP answers."""

from collections.abc import Sequence

from ltl_core.errors import CalibrationError, ChipUnavailableError, LeaseLostError

USERS_NAMED = 3  # resources that a refused deletion names


class ServiceError(CalibrationError):
    """Base class of the service's own errors."""


class NotFoundError(ServiceError):
    """No resource of this kind has this id."""

    what = "resource"

    def __init__(self, resource_id: str) -> None:
        super().__init__(f"There is no {self.what} '{resource_id}'; list them to see which exist.")
        self.resource_id = resource_id


class TeacherNotFoundError(NotFoundError):
    """No teacher has this id."""

    what = "teacher"


class TargetSetNotFoundError(NotFoundError):
    """No target set has this id."""

    what = "target set"


class StudentNotFoundError(NotFoundError):
    """No student has this id."""

    what = "student"


class ChipNotFoundError(NotFoundError):
    """No chip has this id."""

    what = "chip"


class WeightVersionNotFoundError(NotFoundError):
    """The chip has no weight version of this number."""

    what = "weight version"


class FingerprintNotFoundError(NotFoundError):
    """The chip has no fingerprint of this id."""

    what = "fingerprint"


class PolicyNotFoundError(NotFoundError):
    """The chip has no policy."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(chip_id)
        self.args = (f"Chip {chip_id} has no policy; set one first.",)


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    what = "job"


class AgentSecretError(ServiceError):
    """The stored secret of an agent cannot be decrypted: its key is lost or not known here."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(
            f"the secret of agent '{agent_id}' cannot be decrypted with the keys that are known "
            "here (TANDEMCAL_SECRET_KEYS); the job waits until the agent has registered again"
        )
        self.agent_id = agent_id


class WebhookNotFoundError(NotFoundError):
    """No webhook has this id."""

    what = "webhook"


class KeyNotFoundError(NotFoundError):
    """No API key has this id."""

    what = "key"


class AgentNotFoundError(NotFoundError):
    """No agent has this id."""

    what = "agent"


class ChipAgentNotFoundError(NotFoundError):
    """The chip is not behind an agent, or its agent was released."""

    what = "agent of chip"


class AmbiguousNameError(NotFoundError):
    """Several resources of this kind are meant by a name."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(name)
        self.args = (f"More than one {what} is meant by '{name}'; give the id of one.",)


class ConflictError(ServiceError):
    """The request is valid, but the present state does not allow it."""


class NameTakenError(ConflictError):
    """Another resource of this kind has this name."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"A {what} named '{name}' exists already; choose another name.")
        self.name = name


class InUseError(ConflictError):
    """The resource cannot be deleted because another one uses it."""

    def __init__(self, what: str, resource_id: str, users: Sequence[str]) -> None:
        """`users` names what uses it; at most `USERS_NAMED` of them are told."""
        named = list(users[:USERS_NAMED])
        named += ["others"] if len(users) > USERS_NAMED else []
        told = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        super().__init__(f"The {what} '{resource_id}' is used by {told} and cannot be deleted.")
        self.resource_id = resource_id


class ChipRetiredError(ConflictError):
    """The chip is retired and takes no jobs."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(f"Chip {chip_id} is retired and takes no more jobs; choose another chip.")
        self.chip_id = chip_id


class ChipNotCalibratedError(ConflictError):
    """The chip has no weights in force that a probe could be compared with."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(
            f"Chip {chip_id} has no weights in force, so there is nothing to compare it with; "
            "calibrate it first."
        )
        self.chip_id = chip_id


class TargetSetStateError(ConflictError):
    """The target set is not in the state that the request needs."""

    def __init__(self, target_set_id: str, state: str, needed: str) -> None:
        super().__init__(
            f"Target set {target_set_id} is {state}, but this request needs one that is {needed}."
        )
        self.target_set_id = target_set_id
        self.state = state


class ChunksMissingError(ConflictError):
    """A target set is declared complete, but some of its chunks have not been uploaded."""

    def __init__(self, missing: Sequence[int]) -> None:
        named = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        super().__init__(f"Chunks {named} have not been uploaded; upload them and try again.")
        self.missing = tuple(missing)


class SplitMissingError(ConflictError):
    """A target set has no samples in one of its splits."""

    def __init__(self, split: str) -> None:
        super().__init__(
            f"The split '{split}' has no samples. A target set needs calibration and test samples: "
            "upload a new one with at least one chunk of each."
        )
        self.split = split


class JobStateError(ConflictError):
    """The status of the job does not allow the request."""

    def __init__(self, job_id: str, status: str, advice: str) -> None:
        super().__init__(f"Job {job_id} is {status}: {advice}.")
        self.job_id = job_id
        self.job_status = status


class AttemptSupersededError(LeaseLostError):
    """A worker writes for a job that has ended, or that a later attempt drives."""

    def __init__(self, job_id: str, token: int) -> None:
        super().__init__(job_id, token)
        self.args = (f"Token {token} no longer drives job {job_id}; nothing was written.",)
        self.job_id = job_id


class AgentUnreachableError(ChipUnavailableError):
    """No agent of the chip was found at its address for as long as a job looks for it."""


class ForeignAgentError(ServiceError):
    """An agent, or the chip that it serves, belongs to another API key."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(
            f"Agent '{agent_id}' belongs to another API key, and its own credential was not shown. "
            "Use its key and its folder, or let a key of the scope 'admin' release it: "
            f"DELETE /v1/agents/{agent_id}."
        )
        self.agent_id = agent_id


class NotReadyError(ServiceError):
    """The service cannot answer yet."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The service is not ready: {reason}; try again shortly.")
        self.reason = reason


class NirMissingError(NotReadyError):
    """The service has not the package that writes NIR files."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.args = (
            f"The service has no package '{package}', which writes NIR files: its operator has to "
            "install 'tandemcal[nir]'.",
        )


class NirFailedError(ServiceError):
    """The process that writes a NIR file crashed or took too long."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The NIR file was not written: {reason}.")
