"""Makes the pictures in the pages of notebooks anew: `python -m tests.e2e.notebook_pictures`.

It runs each notebook against a service of its own and writes what its cells draw to
`docs/images/notebooks`.
"""

from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.lab import running
from tests.e2e.notebooks import EXAMPLES, code_cells, executed, pictures, read

PICTURES = EXAMPLES.parent / "docs" / "images" / "notebooks"


def main() -> None:
    for notebook in sorted(EXAMPLES.glob("*.ipynb")):
        draw(notebook)


def draw(notebook: Path) -> None:
    """Run one notebook and write the last picture of each cell."""
    folder = PICTURES / notebook.stem
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch, running(Path(scratch) / "data") as service:
        for cell in code_cells(executed(read(notebook.name), service, Path(scratch))):
            for picture in pictures(cell)[-1:]:
                (folder / f"{cell.id}.png").write_bytes(b64decode(picture))


if __name__ == "__main__":
    main()
