"""Make the pictures of docs/guides/pages.md: python -m tests.browser.screenshots.

A small lab is calibrated first, as its owner would do it. Each page is shown in both themes.
"""

import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal
from service.schemas.upkeep import PolicyRequest
from tests.browser.chromium import Visitor, chromium, missing, visiting
from tests.e2e.lab import golden_student, running

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "pages"
LARGEST = 60_000  # bytes of one picture
_PRESETS = ("harsh", "pcm", "reram", "hermes", "ideal")
_SETTINGS = CalibrationSettings(batch=32, budget=Budget(samples=1280), target_points=None)
_LONG = CalibrationSettings(batch=32, budget=Budget(samples=100_000), target_points=None)
_SPREAD = 0.35  # of the points of a class: no network gets all of them right
_COLOURS = 96
_WITHIN = 240.0  # s that a job may take


def main() -> int:
    """Start a service, calibrate its chips, visit every page, and write its pictures."""
    if lack := missing():
        sys.stderr.write(f"No pictures: {lack}.\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with running(root) as service, service.client() as client:
            (root / "key").unlink()  # the page to sign in would name the temporary folder
            student = golden_student(client, spread=_SPREAD)
            job = calibrated(client, student)
            with chromium() as browser, visiting(browser, service.url, service.key) as visitor:
                for name, path in quiet_pages(client, job, student).items():
                    take(visitor, name, path)
                busy(client, student)
                for name, path in {"fleet": "/", "queue": "/queue"}.items():
                    take(visitor, name, path)
            client.jobs.cancel_all(kind="calibrate")
    return 0


def calibrated(client: Tandemcal, student: str) -> str:
    """Calibrate a chip of each preset, and probe it; the id of the worst chip's job."""
    jobs = []
    for seed, preset in enumerate(_PRESETS, start=5):
        chip = client.chips.register(f"bench-{preset}", preset=preset, seed=seed)
        client.chips.set_policy(chip.id, PolicyRequest(probe_every_s=86_400, calibrate_at_score=2))
        jobs.append(client.jobs.calibrate(chip.id, student, _SETTINGS))
        client.jobs.wait(jobs[-1].id, timeout=_WITHIN)
        if any(client.chips.weights(chip.id)):  # else there is nothing to compare it with
            client.jobs.wait(client.jobs.probe(chip.id).id, timeout=_WITHIN)
    return jobs[0].id


def quiet_pages(client: Tandemcal, job_id: str, student: str) -> dict[str, str]:
    """Addresses by the names of the pictures, of pages that show what is over."""
    teacher = client.jobs.get(job_id).teacher_id
    return {
        "chip": f"/chips/bench-{_PRESETS[0]}",
        "job": f"/jobs/{job_id}",
        "teachers": "/teachers",
        "teacher": f"/teachers/{teacher}",
        "student": f"/students/{student}",
        "audit": "/audit",
        "keys": "/keys",
        "not-found": "/chips/nobody",
        "sign-in": "/login",
    }


def busy(client: Tandemcal, student: str) -> None:
    """Let one job run and others wait."""
    jobs = [client.jobs.calibrate(f"bench-{preset}", student, _LONG) for preset in _PRESETS[:4]]
    jobs.append(client.jobs.calibrate(f"bench-{_PRESETS[0]}", student, _LONG))
    next(job for job in client.jobs.follow(jobs[0].id, timeout=_WITHIN) if job.progress)


def take(visitor: Visitor, name: str, path: str) -> None:
    """Write the pictures of a page."""
    visitor.page.set_viewport_size({"width": 1280, "height": 720})
    visitor.open(path)
    visitor.page.emulate_media(color_scheme="light")
    write(visitor.page.screenshot(), FOLDER / f"{name}-light.png")
    visitor.page.emulate_media(color_scheme="dark")
    write(visitor.page.screenshot(), FOLDER / f"{name}-dark.png")


def write(picture: bytes, path: Path) -> None:
    """Write a PNG with few colours. Raises ValueError where it is too large."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as read, read.convert("RGB") as whole:
        colours: Any = whole.getcolors(whole.width * whole.height)  # of RGB: tuples
        found = sorted(colours, reverse=True)
        # Those that most pixels have are kept as they are: paper, ink, accents.
        palette = Image.new("P", (1, 1))
        palette.putpalette([part for _, colour in found[:_COLOURS] for part in colour])
        few = whole.quantize(palette=palette, dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
    if buffer.tell() > LARGEST:
        raise ValueError(f"{path.name} has {buffer.tell()} bytes, more than {LARGEST}.")
    path.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    sys.exit(main())
