"""The upkeep of one chip: its fingerprints."""

from fastapi import APIRouter

from service.api.auth import READ
from service.api.context import ContextDep, PageDep
from service.api.schemas import Page
from service.api.upkeep_schemas import FingerprintView, WholeFingerprintView
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository, answer_of

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
