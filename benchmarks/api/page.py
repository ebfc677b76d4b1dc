"""The page of the fleet: how long it takes, and what it costs the service and the database."""

import statistics
import time
from typing import Any

import httpx
from rich.console import Console

from benchmarks.api.large_service import LargeService
from benchmarks.fleet.local_fleet import processor_seconds

LIMIT_MS = 100.0
LIMIT_BYTES = 200_000


def measure(console: Console, service: LargeService, rounds: int) -> dict[str, Any]:
    """Read the page again and again, over one connection."""
    headers = {"Authorization": f"Bearer {service.api.key}", "Accept": "text/html"}
    took, size = [], 0
    with httpx.Client(base_url=service.api.url, headers=headers, timeout=60) as client:
        client.get("/").raise_for_status()  # pays for what is loaded once
        used = processor_seconds(service.fleet)
        for _ in range(rounds):
            began = time.perf_counter()
            size = len(client.get("/").raise_for_status().content)
            took.append(1e3 * (time.perf_counter() - began))
        spent = processor_seconds(service.fleet)
    found = {
        "milliseconds": statistics.median(took),
        "bytes": size,
        **{
            f"{name}_processor_ms": 1e3 * (spent[name] - used[name]) / rounds
            for name in ("api", "postgresql")
            if name in used
        },
    }
    console.print(
        f"The page of the fleet: {found['milliseconds']:.0f} ms (limit {LIMIT_MS:.0f}), "
        f"{size} bytes; of a core: api {found['api_processor_ms']:.0f} ms, "
        f"PostgreSQL {found.get('postgresql_processor_ms', 0):.0f} ms"
    )
    missed = [f"the page of the fleet takes {found['milliseconds']:.0f} ms"]
    large = [f"the page of the fleet has {size} bytes"]
    return found | {
        "missed": (missed if found["milliseconds"] >= LIMIT_MS else [])
        + (large if size >= LIMIT_BYTES else []),
    }
