"""A chip agent as a process of its own, started by the command that users type."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from service.bench.agent.journal import Journal
from service.bench.driver.rpc_client import AgentAddress
from tests.integration.jobs_lab import PATIENCE, ROOT, until
from tests.ports import free_ports


class AgentProcess:
    """It keeps its port and its folder over restarts."""

    def __init__(self, folder: Path, name: str, *arguments: str, **environment: str) -> None:
        self._folder, self._name = folder, name
        self._arguments = arguments
        self._environment = environment
        self.url = f"http://127.0.0.1:{next(free_ports())}"
        self.process = self._started()

    def address(self) -> AgentAddress:
        """As the service knows it."""
        journal = Journal(self._folder / self._name / "agent.sqlite")
        secret = journal.about().secret
        journal.close()
        return AgentAddress(url=self.url, secret=secret, reach_s=PATIENCE)

    def start_again(self) -> None:
        self.process = self._started()

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As Ctrl-C does; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def _started(self) -> subprocess.Popen[bytes]:
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "service.cli", "agent", "--name", self._name]
        with (self._folder / f"{self._name}.log").open("ab") as output:
            process = subprocess.Popen(
                [*command, "--port", port, "--data-dir", str(self._folder), *self._arguments],
                env=os.environ
                | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
                | self._environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self._answers(process), f"agent {self._name} answers: {self.log()}")
        return process

    def log(self) -> str:
        return (self._folder / f"{self._name}.log").read_text()

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.url}/healthz").is_success
        except httpx.TransportError:
            return False
