"""Make the student of the lab for jobs: `python -m tests.data.make_lab`.

Another processor makes other codes; the tests must pass with those too.
"""

import tempfile
from pathlib import Path

from service.jobs.kinds.train import train
from tests.integration.lab_seed import STUDENT, collected


def main() -> None:
    """Write the file, as a job of the kind `train` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        context = collected(Path(folder))
        made = train(context)
        STUDENT.write_bytes(context.artifacts.read(made.blocks["student"]))


if __name__ == "__main__":
    main()
