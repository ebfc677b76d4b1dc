"""The policy of a chip on its page: in sentences, and as a form."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from service.digests import etag
from service.schemas.upkeep import PolicyRequest, PolicyView
from service.web.durations import read_duration, write_duration

_FIELDS = {  # of the request, and of the form
    "probe_every_s": "probe_every",
    "calibrate_every_s": "calibrate_every",
    "pause_s": "pause",
}
_PLAIN = ("calibrate_at_score", "calibrate_after_jobs", "priority")
_SWITCHES = ("enabled", "calibrate_before_expiry")
_USUAL = PolicyRequest()


class PolicyFormError(Exception):
    """Fields of the form are wrong: a message for each, by its name; empty for the whole form."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in messages.items()))
        self.messages = messages


def tag_of(policy: PolicyView | None) -> str:
    """Return what names this state of the policy: its ETag, or empty without a policy."""
    return "" if policy is None else etag(policy.model_dump_json().encode())


def form_of(policy: PolicyView | None) -> dict[str, str]:
    """Return the fields of the form, filled in from the policy, or from the defaults."""
    found: PolicyView | PolicyRequest = _USUAL if policy is None else policy
    quiet = [f"{hours.begin}-{hours.end}" for hours in found.quiet_hours]
    settings = PolicyRequest.model_validate({"settings": _settings(found)}).settings
    return {
        "enabled": "on" if found.enabled else "",
        "calibrate_before_expiry": "on" if found.calibrate_before_expiry else "",
        "quiet_hours": ", ".join(quiet),
        "fixed_times": ", ".join(found.fixed_times),
        "student_id": found.student_id or "",
        "settings": json.dumps(settings.model_dump(mode="json", exclude_defaults=True), indent=1),
        **{name: _written(getattr(found, name)) for name in _PLAIN},
        **{form: write_duration(getattr(found, name)) for name, form in _FIELDS.items()},
    }


def request_of(form: Mapping[str, str]) -> PolicyRequest:
    """Read the form. Raises PolicyFormError for what the API would not take either."""
    body: dict[str, Any] = {name: form.get(name) == "on" for name in _SWITCHES}
    wrong = dict[str, str]()
    for field, (name, convert) in _CONVERSIONS.items():
        try:
            if text := form.get(field, "").strip():
                body[name] = convert(text)
        except ValueError as error:
            wrong[field] = str(error)
    if wrong:
        raise PolicyFormError(wrong)
    try:
        return PolicyRequest.model_validate(body)
    except ValidationError as error:
        raise PolicyFormError(_messages(error)) from error


def sentences(policy: PolicyView) -> tuple[str, ...]:
    """Say what the policy does, a sentence a rule."""
    rules = {
        f"Probes every {write_duration(policy.probe_every_s)}.": policy.probe_every_s,
        f"Calibrates at a drift score of {_written(policy.calibrate_at_score)}.": (
            policy.calibrate_at_score
        ),
        f"Calibrates every {write_duration(policy.calibrate_every_s)}.": policy.calibrate_every_s,
        f"Calibrates after {policy.calibrate_after_jobs} jobs.": policy.calibrate_after_jobs,
        "Acts before the weights in force lose their validity.": policy.calibrate_before_expiry,
    }
    said = [rule for rule, is_set in rules.items() if is_set] or ["Plans nothing: it has no rule."]
    said += [f"Begins nothing from {at.begin} to {at.end} UTC." for at in policy.quiet_hours]
    said += [f"Begins jobs at {', '.join(policy.fixed_times)} UTC alone."] * bool(
        policy.fixed_times
    )
    pause = write_duration(policy.pause_s) or "0 s"
    return (*said, f"Leaves at least {pause} between two calibrations.")


def _settings(found: PolicyView | PolicyRequest) -> Any:
    return found.settings if isinstance(found, PolicyView) else found.settings.model_dump()


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _quiet_hours(text: str) -> list[dict[str, str]]:
    found = []
    for part in _listed(text):
        begin, dash, end = part.replace("–", "-").partition("-")
        if not dash:
            raise ValueError("write begin and end, such as 22:00-06:00")
        found.append({"begin": begin.strip(), "end": end.strip()})
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no JSON: {error}") from error


def _messages(error: ValidationError) -> dict[str, str]:
    """Return pydantic's messages by the field of the form."""
    messages = dict[str, str]()
    for one in error.errors():
        name, *inside = (str(part) for part in one["loc"]) if one["loc"] else ("",)
        field = _FIELDS.get(name, name)
        message = f"{'.'.join(inside)}: {one['msg']}" if inside else one["msg"]
        messages[field] = f"{messages[field]}; {message}" if field in messages else message
    return messages


_CONVERSIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {  # field: name in the request
    **{field: (name, read_duration) for name, field in _FIELDS.items()},
    **{name: (name, str) for name in (*_PLAIN, "student_id")},
    "quiet_hours": ("quiet_hours", _quiet_hours),
    "fixed_times": ("fixed_times", _listed),
    "settings": ("settings", _json),
}
