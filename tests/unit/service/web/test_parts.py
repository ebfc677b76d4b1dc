"""Changes of a part: they give the new text, and are small where little has changed."""

import json
import random

import pytest

from service.web.parts import SentParts, changes


def applied(old: bytes, found: bytes) -> bytes:
    """Do what the script of the pages does."""
    lines = old.decode().split("\n")
    pieces = json.loads(found)
    whole = [p if isinstance(p, str) else "\n".join(lines[p[0] : p[1]]) for p in pieces]
    return "\n".join(whole).encode()


@pytest.mark.parametrize("seed", range(20))
def test_changes_give_the_new_text(seed: int) -> None:
    draw = random.Random(seed)  # no secret
    old = [draw.choice("aabcé") for _ in range(draw.randrange(30))]
    new = [line for line in old if draw.random() < 0.7]
    for _ in range(draw.randrange(4)):
        new.insert(draw.randrange(len(new) + 1), draw.choice("abx\u202f"))
    before, after = "\n".join(old).encode(), "\n".join(new).encode()
    assert applied(before, changes(before, after)) == after


def test_one_changed_line_is_all_that_is_sent() -> None:
    rows = [f"<tr><td>chip {number}</td></tr>" for number in range(1000)]
    before = "\n".join(rows).encode()
    rows[500] = "<tr><td>other</td></tr>"
    found = changes(before, "\n".join(rows).encode())
    assert json.loads(found) == [[0, 500], "<tr><td>other</td></tr>", [501, 1000]]
    assert len(changes(b"", before)) > len(before)  # the control: nothing is known


def test_the_oldest_parts_are_forgotten() -> None:
    sent = SentParts(kept=2)
    for tag in "abac":
        sent.keep(tag, tag.encode())
    assert [sent.find(tag) for tag in "abc"] == [b"a", None, b"c"]
