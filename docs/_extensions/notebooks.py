"""Writes a page for each notebook of the examples when the site is built.

A notebook is kept without outputs. Pictures of what its cells show stand below them where
`docs/images/notebooks` has them.
"""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
EXAMPLES = DOCS.parent / "examples"
PICTURES = DOCS / "images" / "notebooks"
FOLDER = Path("guides") / "notebooks"  # of the pages, below the sources of the site
_NOTE = """\
This page shows [`examples/{name}`](../../../examples/{name}). The pictures are from one run.
"""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the generation of the pages with Sphinx."""
    app.connect("builder-inited", _write)
    return {"version": "1", "parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    for notebook in sorted(EXAMPLES.glob("*.ipynb")):
        page = Path(app.srcdir) / FOLDER / f"{notebook.stem}.md"
        text = page_of(notebook)
        if not page.exists() or page.read_text() != text:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text)


def page_of(notebook: Path) -> str:
    """Return the page of a notebook in Markdown: its text, its code, and pictures of outputs."""
    title, *cells = json.loads(notebook.read_text())["cells"]
    parts = [_text(title), _NOTE.format(name=notebook.name)]
    for cell in cells:
        parts += _parts(cell, PICTURES / notebook.stem)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _parts(cell: dict[str, Any], pictures: Path) -> list[str]:
    if cell["cell_type"] == "markdown":
        return [_text(cell)]
    parts = [f"```python\n{_text(cell)}\n```"]
    picture = pictures / f"{cell['id']}.png"
    if picture.exists():
        place = f"../../images/notebooks/{picture.parent.name}/{picture.name}"
        parts.append(f"![What the cell above shows]({place})")
    return parts


def _text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])
