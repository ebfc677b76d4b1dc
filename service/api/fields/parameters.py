"""Meanings of parameters that mean something else, or something more, than a field of a body."""

from collections.abc import Mapping

from service.api.fields.meaning import Meaning

PARAMETERS: Mapping[str, Meaning] = {
    "limit": Meaning("How many items a page has at most", "items"),
    "sort": Meaning("Field to sort by; with - in front, the largest comes first"),
    "status": Meaning("Only jobs of this status; may be given several times"),
    "kind": Meaning("Only jobs of this kind"),
    "health": Meaning("Only chips of this health"),
    "backend": Meaning("Only chips of this backend"),
    "name": Meaning("Only resources of exactly this name"),
    "if-none-match": Meaning("An ETag: the answer is 304 while the resource has it"),
    "if-match": Meaning("An ETag: the change is refused unless the resource has it"),
    "after": Meaning("Number of the last event that is known", "1"),
    "last-event-id": Meaning("Number of the last event that is known; goes before `after`", "1"),
    "version": Meaning("Number of the weight version; the chip's first is 1", "1"),
    "wait": Meaning("How long to wait for the end, or for a change", "s"),
    "job_id": Meaning("Id of the job"),
    "key_id": Meaning("Id of the API key"),
    "webhook_id": Meaning("Id of the webhook"),
    "fingerprint_id": Meaning("Id of the fingerprint"),
}
