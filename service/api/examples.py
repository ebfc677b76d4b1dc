"""Examples of the bodies of the API, by model: what a lab and a service once said to each other."""

import json
from functools import cache
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).with_name("examples.json")


@cache
def _examples() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLES.read_text())
    return found


def add_examples(schemas: dict[str, dict[str, Any]]) -> None:
    """Add its example to each schema that has one, in place."""
    for model in schemas.keys() & _examples().keys():
        schemas[model]["examples"] = [_examples()[model]]
