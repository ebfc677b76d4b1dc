"""Bodies about the audit trail."""

from datetime import datetime

from service.schemas.base import Json, View


class AuditView(View):
    """One change: who made it, from where, and the digest that chains it to the event before."""

    seq: int  # without gaps, from 1
    action: str  # such as chip.renamed
    subject: str | None  # id of what was changed
    key_id: str | None  # null: nobody signed in, or the service itself
    address: str | None  # of the client; null: the service itself
    data: Json
    created_at: datetime
    previous: str  # digest of the event before; of the first, 64 zeros
    sha256: str  # of this event and `previous`
