"""Where the agent of an attempt's chip is: its child asks while it does not find the agent."""

from datetime import datetime

from service.db.agent_tables import Agent
from service.db.outage import AWAY
from service.db.repositories.agents import AgentRepository
from service.db.session import Database, clock
from service.errors import AgentSecretError
from service.jobs.attempts.attempt import Attempt
from service.jobs.attempts.describe import agent_settings
from service.jobs.attempts.fork_server import ChildProcess
from service.jobs.messages import AgentFound, ExecutorConfig
from service.secret_cipher import SecretCipher
from service.wait_reasons import WAS_OFFLINE, offline


class AgentWatch:
    """Answers the child of one attempt, and remembers whether the agent was silent."""

    def __init__(
        self, attempt: Attempt, database: Database, config: ExecutorConfig, cipher: SecretCipher
    ) -> None:
        self._chip_id = attempt.job.chip_id
        self._database = database
        self._config = config
        self._cipher = cipher
        self._why_to_wait: str | None = None

    def answer(self, child: ChildProcess) -> None:
        """Tell the child where the agent is now. Without a database it asks again."""
        try:
            found = self._look()
        except AWAY:
            return
        if found is not None:
            child.send(found)

    def why_to_wait(self) -> str | None:
        """Return why a job that did not find the agent waits; None if its agent was never silent.

        An agent that lives, but cannot be called at its address, is nothing to wait for.
        """
        try:
            self._look()
        except AWAY:
            return WAS_OFFLINE
        return self._why_to_wait

    def _look(self) -> AgentFound | None:
        with self._database.reading() as session:
            agents, now = AgentRepository(session), clock(session)
            self._note_silence(agents, now)
            agent = agents.of_chip(str(self._chip_id))
            return None if agent is None else self._found(agent)

    def _found(self, agent: Agent) -> AgentFound | None:
        """Return where the agent is; None if it has to register again first."""
        try:
            return AgentFound(settings=agent_settings(agent, self._config, self._cipher))
        except AgentSecretError as error:
            self._why_to_wait = str(error)
            return None

    def _note_silence(self, agents: AgentRepository, now: datetime) -> None:
        """Note why the chip is offline, and keep in mind that it was."""
        silent = agents.why_silent(str(self._chip_id), now)
        if silent is not None:
            self._why_to_wait = offline(silent)
        elif self._why_to_wait is not None:
            self._why_to_wait = WAS_OFFLINE
