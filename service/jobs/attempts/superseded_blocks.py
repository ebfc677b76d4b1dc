"""Blocks that a newer one has replaced: removed once the newer one is recorded in the database.

A checkpoint carries its job's id and a chip's state its chip's, so no other row names them.
"""

from service.artifacts import ArtifactStore
from service.jobs.messages import Checkpointed, Ended, JobDescription


class SupersededBlocks:
    """Removes the superseded blocks of one attempt. What a crash leaves, the next one replaces."""

    def __init__(self, artifacts: ArtifactStore, description: JobDescription) -> None:
        self._artifacts = artifacts
        self._checkpoint = description.checkpoint_sha256
        self._chip_state = description.chip.state_sha256 if description.chip else None

    def checkpoint_recorded(self, message: Checkpointed) -> None:
        """Remove the checkpoint and the chip's state of before."""
        self._replace_chip_state(message.chip_state_sha256)
        self._replace_checkpoint(message.sha256)

    def end_recorded(self, message: Ended) -> None:
        """Remove the last checkpoint, which an ended job does not need, and the state of before."""
        self._replace_chip_state(message.chip_state_sha256)
        self._replace_checkpoint(None)

    def _replace_checkpoint(self, newer: str | None) -> None:
        if self._checkpoint is not None and self._checkpoint != newer:
            self._artifacts.remove(self._checkpoint)
        self._checkpoint = newer

    def _replace_chip_state(self, newer: str | None) -> None:
        if newer is None or newer == self._chip_state:
            return
        if self._chip_state is not None:
            self._artifacts.remove(self._chip_state)
        self._chip_state = newer
