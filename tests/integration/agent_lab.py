"""A chip agent as a process of its own."""

import os
import signal
from pathlib import Path

import httpx

from service.bench.agent.journal import Journal
from service.bench.driver.rpc_client import AgentAddress
from tests.integration.jobs_lab import PATIENCE, until
from tests.ports import free_ports
from tests.warm.client import WarmProcess, WarmServer


class AgentProcess:
    """It keeps its port and its folder over restarts."""

    def __init__(
        self, warm: WarmServer, folder: Path, name: str, *arguments: str, **environment: str
    ) -> None:
        self._warm, self._folder, self._name = warm, folder, name
        self._arguments = arguments
        self.environment = environment
        self.move()
        self.process = self._started()

    def address(self) -> AgentAddress:
        """As the service knows it."""
        journal = Journal(self._folder / self._name / "agent.sqlite")
        secret = journal.about().secret
        journal.close()
        return AgentAddress(url=self.url, secret=secret, reach_s=PATIENCE)

    def start_again(self) -> None:
        self.process = self._started()

    def move(self) -> None:
        """Listen at another port from the next start on."""
        scheme = "https" if "--tls-certificate" in self._arguments else "http"
        self.url = f"{scheme}://127.0.0.1:{next(free_ports())}"

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As Ctrl-C does; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def _started(self) -> WarmProcess:
        port = self.url.rpartition(":")[2]
        words = ["agent", "--name", self._name, "--port", port, "--data-dir", str(self._folder)]
        with (self._folder / f"{self._name}.log").open("ab") as output:
            environment = os.environ | self.environment
            process = self._warm.start([*words, *self._arguments], environment, output)
        until(lambda: self._answers(process), f"agent {self._name} answers: {self.log()}")
        return process

    def log(self) -> str:
        return (self._folder / f"{self._name}.log").read_text()

    def _answers(self, process: WarmProcess) -> bool:
        assert process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.url}/healthz", verify=False).is_success
        except httpx.TransportError:
            return False
