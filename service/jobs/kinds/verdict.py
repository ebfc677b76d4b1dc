"""Why a calibration published its weights or did not, in one sentence."""

from collections.abc import Mapping
from typing import Any

from service.jobs.messages import Json

_ENDED_BY = {
    "target met": "the target was met",
    "nothing gained any more": "nothing was gained any more",
    "stages done": "all stages were done",
    "budget:samples": "the budget of samples was used up",
    "budget:writes": "the budget of writes was used up",
    "budget:pulses": "the budget of pulses was used up",
    "budget:seconds": "the budget of seconds was used up",
}


def verdict(result: Json) -> str:
    """Say whether the weights were published, and why.

    Results of an earlier release may lack the predicted losses; the sentence then has none.
    """
    if "published" not in result:
        return ""
    if result["published"]:
        return f"{_published(result)} {_end(result)}".rstrip()
    if result.get("compensated"):
        return (
            "No new version: drift was compensated by registers, and the weights are unchanged. "
            f"{_end(result)}"
        ).rstrip()
    if result.get("stages") == []:
        return f"Not published: nothing was changed, because {_why_unchanged(result)}."
    return (
        f"Not published: what was learned is not clearly better{_losses(result, ' (', ')')}, "
        f"so the codes of before were put back. {_end(result)}"
    ).rstrip()


def _published(result: Mapping[str, Any]) -> str:
    version = result.get("weights_version")
    name = f"version {version}" if version else "a new version"
    return f"Published as {name}: better than before{_losses(result, ', ', '')}."


def _losses(result: Mapping[str, Any], opening: str, closing: str) -> str:
    """Name the loss behind the golden student before and as it was learned."""
    losses = result.get("predicted_losses") or {}
    before, learned = losses.get("before"), losses.get("learned")
    if before is None or learned is None:
        return ""
    words = f"with a predicted loss of {learned:.2f} points in place of {before:.2f}"
    return f"{opening}{words}{closing}"


def _why_unchanged(result: Mapping[str, Any]) -> str:
    before = (result.get("predicted_losses") or {}).get("before")
    found = "" if before is None else f", with a predicted loss of {before:.2f} points"
    if result.get("ended_by") == "target met":
        return f"the chip met the target already{found}"
    return f"no stage that was asked for could run{found}"


def _end(result: Mapping[str, Any]) -> str:
    reason = _ENDED_BY.get(str(result.get("ended_by")))
    return f"Learning ended because {reason}." if reason else ""
