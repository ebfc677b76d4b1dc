"""Make the teacher of the digits: `python -m tests.data.make_digits`.

Another processor makes other weights; the tests must pass with those too.
"""

from pathlib import Path

from benchmarks.tasks import tasks
from benchmarks.teachers import teacher_of

FOLDER = Path(__file__).parent
SEED = 0


def main() -> None:
    """Write `digits-0.safetensors`, as the learning benchmark keeps its teachers."""
    task = tasks()["digits"]
    (FOLDER / f"{task.name}-{SEED}.safetensors").unlink(missing_ok=True)
    teacher_of(task, task.load(FOLDER), SEED, FOLDER)


if __name__ == "__main__":
    main()
