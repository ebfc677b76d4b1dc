"""Links, pictures and paths in the Markdown files of the repository lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin

ROOT = Path(__file__).parents[2]
GENERATED = {  # written when the site is built
    ROOT / "docs" / "reference" / "http.md",
    ROOT / "docs" / "guides" / "notebooks" / "calibrate_chips.md",
}
_NOT_OURS = {"_build", "node_modules"}
_FOLDERS = "benchmarks|chip_sim|docs|examples|ltl_core|migrations|service|tandemcal|tests"
_PATH = re.compile(rf"(?:{_FOLDERS})/[a-z0-9_./-]*")  # a recipe writes NAME for what is new


def markdown_files(root: Path) -> list[Path]:
    """Return the Markdown files of the repository, without hidden and built folders."""
    return [
        path
        for path in sorted(root.rglob("*.md"))
        if path not in GENERATED
        and not any(
            part.startswith(".") or part in _NOT_OURS for part in path.relative_to(root).parts
        )
    ]


def tokens_of(path: Path) -> Iterator[Token]:
    """Yield the tokens of a Markdown file, those inside paragraphs too."""
    markdown = MarkdownIt("commonmark").enable("table").use(anchors_plugin, max_level=6)
    for token in markdown.parse(path.read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of the headings of a Markdown file."""
    return {str(token.attrs["id"]) for token in tokens_of(path) if "id" in token.attrs}


def broken_links(path: Path) -> list[str]:
    """Return the relative links and pictures of a Markdown file that lead nowhere."""
    targets = (token.attrs.get("href") or token.attrs.get("src") for token in tokens_of(path))
    relative = (str(target) for target in targets if target and "://" not in str(target))
    return [link for link in relative if not _leads_somewhere(path, link)]


def _leads_somewhere(path: Path, link: str) -> bool:
    name, _, anchor = unquote(link).partition("#")
    target = (path.parent / name).resolve() if name else path
    if target in GENERATED:
        return True
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors_of(target))


def missing_files(path: Path) -> list[str]:
    """Return the paths of the repository, written as code, that do not exist."""
    named = (token.content for token in tokens_of(path) if token.type == "code_inline")
    return [name for name in named if _PATH.fullmatch(name) and not (ROOT / name).exists()]


@pytest.mark.parametrize(
    "path", markdown_files(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert broken_links(path) == []


@pytest.mark.parametrize(
    "path", markdown_files(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_named_file_of_the_repository_exists(path: Path) -> None:
    assert missing_files(path) == []


def test_a_missing_file_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`service/app.py` `service/gone.py` `service/NAME.py` `docs/` `a/b`")
    assert missing_files(page) == ["service/gone.py"]


def test_a_broken_link_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading\n\n[good](page.md#a-heading) [elsewhere](https://example.org/x)\n"
        "[gone](gone.md) [no such heading](#another)\n\n| ![picture](gone.svg) |\n|---|\n"
    )
    assert broken_links(page) == ["gone.md", "#another", "gone.svg"]
