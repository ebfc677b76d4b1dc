"""What each kind of job does in its child process."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import ValidationError

from ltl_core.errors import CalibrationError
from service.jobs.kinds import chip_work, probe, software_work, tune
from service.jobs.kinds.context import Workbench
from service.jobs.kinds.outcome import CancelledWorkError
from service.jobs.messages import Ended, JobDescription
from service.states import JobKind, JobStatus

Work = Callable[[JobDescription, Workbench], Ended]

_KINDS: Mapping[JobKind, Work] = {
    JobKind.COLLECT: software_work.collect,
    JobKind.TRAIN: software_work.train,
    JobKind.TUNE: tune.tune,
    JobKind.CALIBRATE: chip_work.calibrate,
    JobKind.EVALUATE: chip_work.evaluate,
    JobKind.PROBE: probe.probe,
}


def perform(description: JobDescription, workbench: Workbench) -> Ended:
    """Do the job; whatever happens becomes its last message."""
    try:
        with torch.no_grad():
            ended = _KINDS[description.kind](description, workbench)
    except CancelledWorkError as cancelled:
        ended = cancelled.ended
    except CalibrationError as error:
        ended = _failed(error, str(error))
    except ValidationError as error:
        ended = _failed(error, f"The job's settings cannot be read: {_first(error)}")
    except Exception as error:  # told to the reader of the job: it is the end of this process
        workbench.log("".join(traceback.format_exception(error)))
        ended = _failed(error, f"An error inside Tandemcal ended the job: {error!r}")
    workbench.flush()
    return ended


def _failed(error: Exception, reason: str) -> Ended:
    return Ended(status=JobStatus.FAILED, reason=reason, error=type(error).__name__)


def _first(error: ValidationError) -> str:
    details: Any = error.errors()[0]
    return f"{'.'.join(map(str, details['loc']))}: {details['msg']}"
