"""Routes of the form of a chip's policy."""

from collections.abc import Mapping

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from ltl_core.errors import CalibrationError
from service.api.auth import ActorDep, refuse_foreign_pages
from service.api.context import Context, ContextDep
from service.api.errors import kind_of
from service.api.names import ChipId
from service.api.one_row import one_row
from service.api.threads import ServiceRouter
from service.api.upkeep import drop_policy, policy_or_none, set_policy
from service.db.repositories.chip_history import newest_students
from service.db.repositories.chips import ChipRepository
from service.errors import ChipNotFoundError, ChipRetiredError, PolicyNotFoundError
from service.request_errors import PreconditionFailedError
from service.web.access import Form, Operator, Reader, not_allowed, to_login
from service.web.chip.policy import PolicyFormError, form_of, request_of, sentences, tag_of
from service.web.rendering import show

router = ServiceRouter(include_in_schema=False)
_STUDENTS = 50  # to choose from
_REFUSED = "Changing a policy needs a key with the scope 'operate'; sign in with such a key."


@router.get("/chips/{chip_id}/policy")
def policy_form(
    request: Request, context: ContextDep, reader: Reader, operator: Operator, chip_id: ChipId
) -> Response:
    """Show the policy as a form."""
    if not reader:
        return to_login(request)
    if not operator:
        return not_allowed(request, _REFUSED)
    return _form_page(request, context, chip_id)


@router.post("/chips/{chip_id}/policy")
def change_policy(
    request: Request,
    context: ContextDep,
    operator: Operator,
    actor: ActorDep,
    form: Form,
    chip_id: ChipId,
) -> Response:
    """Set the policy, unless somebody has changed it since the form was shown."""
    refuse_foreign_pages(request)
    if not operator:
        return not_allowed(request, _REFUSED)
    try:
        body = request_of(form)
        with context.database.writing() as session:
            _require_same(session, chip_id, form)
            set_policy(session, chip_id, body, actor)
    except (ChipNotFoundError, ChipRetiredError):
        raise
    except (PolicyFormError, CalibrationError) as error:
        return _form_page(request, context, chip_id, form, error)
    return RedirectResponse(f"/chips/{chip_id}#policy", status_code=303)


@router.post("/chips/{chip_id}/policy/delete")
def delete_policy(
    request: Request,
    context: ContextDep,
    operator: Operator,
    actor: ActorDep,
    form: Form,
    chip_id: ChipId,
) -> Response:
    """Delete the policy, unless somebody has changed it since the form was shown."""
    refuse_foreign_pages(request)
    if not operator:
        return not_allowed(request, _REFUSED)
    try:
        with context.database.writing() as session:
            _require_same(session, chip_id, form)
            drop_policy(session, chip_id, actor)
    except PolicyNotFoundError:
        pass  # it is gone, as it was asked for
    except PreconditionFailedError as error:
        return _form_page(request, context, chip_id, None, error)
    return RedirectResponse(f"/chips/{chip_id}#policy", status_code=303)


def _require_same(session: Session, chip_id: str, form: Mapping[str, str]) -> None:
    """Raise PreconditionFailedError if the policy is not the one that the form was made of.

    Its chip is locked until the transaction ends: of two forms with one tag one is refused.
    """
    ChipRepository(session).lock(chip_id)
    current = tag_of(policy_or_none(session, chip_id))
    if current != form.get("tag", ""):
        raise PreconditionFailedError(current or None)


def _form_page(
    request: Request,
    context: Context,
    chip_id: str,
    form: Mapping[str, str] | None = None,
    error: Exception | None = None,
) -> Response:
    """Show the form as it is stored, or as it was sent with what is wrong about it.

    Raises ChipNotFoundError, RowDamagedError and ChipRetiredError.
    """
    with context.database.reading() as session, one_row("chip", chip_id):
        chip = ChipRepository(session).get(chip_id)
        if chip.retired_at is not None:
            raise ChipRetiredError(chip_id)
        policy = policy_or_none(session, chip_id)
        students = newest_students(session, _STUDENTS)
    stored, wrong = form_of(policy), _messages(error)
    return show(
        request,
        "chip_policy.html",
        status=200 if error is None else _status(error),
        chip_id=chip.id,
        name=chip.name,
        exists=policy is not None,
        tag=tag_of(policy),
        form=stored if form is None else {**dict.fromkeys(stored, ""), **form},
        wrong=wrong,
        is_outdated=isinstance(error, PreconditionFailedError),
        stored=sentences(policy) if policy else (),
        students=students,
    )


def _status(error: Exception) -> int:
    return 422 if isinstance(error, PolicyFormError) else kind_of(error).status


def _messages(error: Exception | None) -> Mapping[str, str]:
    """Return a message for each field that is wrong; under an empty name, for the whole form."""
    if isinstance(error, PolicyFormError):
        return error.messages
    if error is None or isinstance(error, PreconditionFailedError):
        return {}
    return {"": str(error)}
