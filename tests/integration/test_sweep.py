"""Blocks that nothing names are swept up, and nothing that a row names is."""

import os
import time
from pathlib import Path

from service.jobs.upkeep.retention import OrphanSweep
from tests.world import World


def age(store: Path) -> None:
    """As if everything had been stored two days ago."""
    for path in store.glob("??/*"):
        then = time.time() - 48 * 3600
        os.utime(path, (then, then))


def test_only_what_nothing_names_is_swept_up(world: World) -> None:
    context = world.context
    student = world.trained_student()
    orphan = context.artifacts.put(b"what a crash left")
    named = set(context.artifacts.every()) - {orphan}
    sweep = OrphanSweep(context.database, context.artifacts)
    assert sweep.remove_orphans() == 0  # it may be on its way into a row
    age(context.settings.artifacts_dir)
    young = context.artifacts.put(b"on its way")
    assert sweep.remove_orphans() == 1
    assert set(context.artifacts.every()) == named | {young}
    assert world.client.get(f"/v1/students/{student}").status_code == 200
