"""Upkeep of one chip: its fingerprints, and the policy for probes and calibrations."""

from fastapi import Response, status
from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.api.auth import OPERATE, READ, ActorDep
from service.api.conditional import IfMatch, require_match, tagged
from service.api.context import ContextDep, PageDep
from service.api.lists import list_page
from service.api.names import ChipId, with_ids
from service.api.one_row import one_row
from service.api.threads import ServiceRouter
from service.api.views import columns_of
from service.damage_errors import PolicyDamagedError
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository, answer_of
from service.db.repositories.policies import PolicyRepository
from service.db.repositories.students import StudentRepository
from service.db.session import clock
from service.digests import sha256_hex
from service.errors import PolicyNotFoundError
from service.schemas.base import Page, ResourceId
from service.schemas.upkeep import FingerprintView, PolicyRequest, PolicyView, WholeFingerprintView

router = ServiceRouter(prefix="/v1/chips/{chip_id}", tags=["chips"], dependencies=[READ])


@router.get("/fingerprints", response_model=Page[FingerprintView])
def list_fingerprints(chip_id: ChipId, context: ContextDep, page: PageDep) -> Response:
    """List the fingerprints of one chip, newest first."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        found = FingerprintRepository(session).list(chip_id, page)
    return list_page(found, FingerprintView.model_validate)


@router.get("/fingerprints/{fingerprint_id}")
def get_fingerprint(
    chip_id: ChipId, fingerprint_id: ResourceId, context: ContextDep
) -> WholeFingerprintView:
    """Read one fingerprint, with the rates of every column."""
    with context.database.reading() as session, one_row("fingerprint", fingerprint_id):
        ChipRepository(session).get(chip_id)
        found = FingerprintRepository(session).get(chip_id, fingerprint_id)
        columns, answer = columns_of(found, WholeFingerprintView), answer_of(found)
        return WholeFingerprintView(
            **columns,
            rates=answer["rates"],
            noise=answer.get("noise"),
            probes=answer.get("probes", 1),
        )


@router.get("/policy", response_model=PolicyView)
def get_policy(chip_id: ChipId, context: ContextDep) -> Response:
    """Read the policy: when the chip is probed and calibrated automatically."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        policy = PolicyRepository(session).get(chip_id)
    try:
        return tagged(PolicyView.model_validate(policy))
    except ValidationError as error:
        raise PolicyDamagedError(chip_id) from error


@router.put("/policy", dependencies=[OPERATE], response_model=PolicyView)
def put_policy(
    chip_id: ChipId,
    body: PolicyRequest,
    context: ContextDep,
    actor: ActorDep,
    if_match: IfMatch = None,
) -> Response:
    """Set or replace the policy. The chip's history counts, so a job may be due at once.

    With `If-Match`, only if the policy still has this ETag.
    """
    with context.database.writing() as session:
        _require_match(session, if_match, chip_id)
        return tagged(set_policy(session, chip_id, body, actor))


@router.delete("/policy", status_code=status.HTTP_204_NO_CONTENT, dependencies=[OPERATE])
def delete_policy(
    chip_id: ChipId, context: ContextDep, actor: ActorDep, if_match: IfMatch = None
) -> None:
    """Delete the policy: no more jobs are planned for the chip. Queued jobs stay.

    With `If-Match`, only if the policy still has this ETag.
    """
    with context.database.writing() as session:
        _require_match(session, if_match, chip_id)
        drop_policy(session, chip_id, actor)


def set_policy(session: Session, chip_id: str, body: PolicyRequest, actor: Actor) -> PolicyView:
    """Set or replace the policy of a chip, with an audit event.

    Raises ChipNotFoundError, ChipRetiredError, StudentNotFoundError and AmbiguousNameError.
    """
    ChipRepository(session).get_usable(chip_id)
    body = with_ids(session, body)
    if body.student_id is not None:
        StudentRepository(session).get(body.student_id)
    rules, now = body.model_dump(mode="json"), clock(session)
    AuditRepository(session).record(
        actor, "policy.set", chip_id, now, sha256=sha256_hex(body.model_dump_json().encode())
    )
    return PolicyView.model_validate(PolicyRepository(session).put(chip_id, rules, now))


def drop_policy(session: Session, chip_id: str, actor: Actor) -> None:
    """Delete the policy of a chip, with an audit event.

    Raises ChipNotFoundError and PolicyNotFoundError.
    """
    ChipRepository(session).get(chip_id)
    PolicyRepository(session).delete(chip_id)
    AuditRepository(session).record(actor, "policy.deleted", chip_id, clock(session))


def policy_or_none(session: Session, chip_id: str) -> PolicyView | None:
    """Return the policy of a chip; None if it has none, or one that cannot be read."""
    try:
        return PolicyView.model_validate(PolicyRepository(session).get(chip_id))
    except (PolicyNotFoundError, PolicyDamagedError, ValidationError):
        return None


def _require_match(session: Session, if_match: str | None, chip_id: str) -> None:
    """Raise PreconditionFailedError if the policy has changed; keep others from changing it."""
    if if_match is None:
        return
    ChipRepository(session).lock(chip_id)
    require_match(if_match, policy_or_none(session, chip_id))
