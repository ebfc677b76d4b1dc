"""The upkeep of one chip: its fingerprints, and its policy."""

from fastapi import APIRouter, status

from service.api.auth import OPERATE, READ
from service.api.context import ContextDep, PageDep
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository, answer_of
from service.db.repositories.policies import PolicyRepository
from service.db.repositories.students import StudentRepository
from service.db.session import clock
from service.schemas.base import Page
from service.schemas.upkeep import FingerprintView, PolicyRequest, PolicyView, WholeFingerprintView

router = APIRouter(prefix="/v1/chips/{chip_id}", tags=["chips"], dependencies=[READ])


@router.get("/fingerprints")
def list_fingerprints(chip_id: str, context: ContextDep, page: PageDep) -> Page[FingerprintView]:
    """Newest first."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        rows, cursor = FingerprintRepository(session).list(chip_id, page)
        views = [FingerprintView.model_validate(row) for row in rows]
    return Page(items=views, next_cursor=cursor)


@router.get("/fingerprints/{fingerprint_id}")
def get_fingerprint(chip_id: str, fingerprint_id: str, context: ContextDep) -> WholeFingerprintView:
    """One, with the rates themselves."""
    with context.database.reading() as session:
        found = FingerprintRepository(session).get(chip_id, fingerprint_id)
        shown, answer = FingerprintView.model_validate(found), answer_of(found)
    return WholeFingerprintView(
        **shown.model_dump(),
        rates=answer["rates"],
        noise=answer.get("noise"),
        probes=answer.get("probes", 1),
    )


@router.get("/policy")
def get_policy(chip_id: str, context: ContextDep) -> PolicyView:
    """When the chip is probed and calibrated without being asked."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        return PolicyView.model_validate(PolicyRepository(session).get(chip_id))


@router.put("/policy", dependencies=[OPERATE])
def put_policy(chip_id: str, body: PolicyRequest, context: ContextDep) -> PolicyView:
    """Set it, or replace it; the chip's past counts, so it may be due at once."""
    with context.database.writing() as session:
        ChipRepository(session).get_usable(chip_id)
        if body.student_id is not None:
            StudentRepository(session).get(body.student_id)
        rules = body.model_dump(exclude={"settings"})
        rules["settings"] = body.settings.model_dump(mode="json")
        return PolicyView.model_validate(
            PolicyRepository(session).put(chip_id, rules, clock(session))
        )


@router.delete("/policy", status_code=status.HTTP_204_NO_CONTENT, dependencies=[OPERATE])
def delete_policy(chip_id: str, context: ContextDep) -> None:
    """Nothing is planned for the chip any more; what is queued stays."""
    with context.database.writing() as session:
        ChipRepository(session).get(chip_id)
        PolicyRepository(session).delete(chip_id)
