"""The public interface of Tandemcal: what a lab's scripts and drivers may rely on.

    from tandemcal import CalibrationSettings, Samples, Splits, Tandemcal, from_torch

| module | for |
|---|---|
| `tandemcal` | the client of the service, settings of jobs, what the client answers and raises |
| `tandemcal.network` | networks: layers, and the stages that a chip holds |
| `tandemcal.progress` | progress of jobs on a terminal |
| `tandemcal.backend` | the port: what a driver implements and raises |
| `tandemcal.testing` | the contract tests, for drivers |

The other packages (`ltl_core`, `chip_sim`, `service`) may change in any release. Importing
`tandemcal` needs neither torch nor the server's packages; `from_torch`, `replace_max_pool`,
`run_teacher` and `TeacherOutput` need torch.

Deprecation: what stands here is deprecated before it is removed. It goes on working for at least
one minor release, and every use raises a DeprecationWarning that names the replacement and the
version that removes it (`ltl_core.deprecation`; for a renamed name, an entry in `_RENAMED` here).
The changelog names both. A test compares names and signatures with a listing in the repository, so
that none changes unnoticed. `__version__` is the version of the installed release.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tandemcal.lazy import Renamed, lazy_names

if TYPE_CHECKING:
    from ltl_core.chip import Observable as Observable
    from ltl_core.errors import CalibrationError as CalibrationError
    from ltl_core.errors import NetworkError as NetworkError
    from ltl_core.interop.from_torch import from_torch as from_torch
    from ltl_core.interop.max_pools import replace_max_pool as replace_max_pool
    from ltl_core.presets import PresetName as PresetName
    from ltl_core.settings import Budget as Budget
    from ltl_core.settings import CalibrationSettings as CalibrationSettings
    from ltl_core.settings import Change as Change
    from ltl_core.settings import CodeSettings as CodeSettings
    from ltl_core.settings import Data as Data
    from ltl_core.settings import MethodName as MethodName
    from ltl_core.settings import NeuronSettings as NeuronSettings
    from ltl_core.settings import Readout as Readout
    from ltl_core.settings import Reset as Reset
    from ltl_core.settings import RuleName as RuleName
    from ltl_core.settings import Scales as Scales
    from ltl_core.settings import StageName as StageName
    from ltl_core.settings import TargetSource as TargetSource
    from ltl_core.settings import TrainingSettings as TrainingSettings
    from ltl_core.settings import TuneSettings as TuneSettings
    from ltl_core.teaching.teacher import TeacherOutput as TeacherOutput
    from ltl_core.teaching.teacher import run_teacher as run_teacher
    from service.client.aio.audit import AsyncAudit as AsyncAudit
    from service.client.aio.chips import AsyncChips as AsyncChips
    from service.client.aio.job import AsyncJob as AsyncJob
    from service.client.aio.jobs import AsyncJobs as AsyncJobs
    from service.client.aio.keys import AsyncKeys as AsyncKeys
    from service.client.aio.sdk import AsyncTandemcal as AsyncTandemcal
    from service.client.aio.teachers import AsyncStudents as AsyncStudents
    from service.client.aio.teachers import AsyncTargetSets as AsyncTargetSets
    from service.client.aio.teachers import AsyncTeachers as AsyncTeachers
    from service.client.aio.webhooks import AsyncWebhooks as AsyncWebhooks
    from service.client.audit import Audit as Audit
    from service.client.chips import Chips as Chips
    from service.client.errors import DownloadError as DownloadError
    from service.client.errors import JobEndedError as JobEndedError
    from service.client.errors import ServiceUnreachableError as ServiceUnreachableError
    from service.client.errors import TandemcalError as TandemcalError
    from service.client.job import Job as Job
    from service.client.jobs import Jobs as Jobs
    from service.client.jobs import Queueing as Queueing
    from service.client.keys import Keys as Keys
    from service.client.sdk import Tandemcal as Tandemcal
    from service.client.teachers import AnsweredSplits as AnsweredSplits
    from service.client.teachers import Splits as Splits
    from service.client.teachers import Students as Students
    from service.client.teachers import TargetSets as TargetSets
    from service.client.teachers import Teachers as Teachers
    from service.client.tensors import AnsweredSamples as AnsweredSamples
    from service.client.tensors import Samples as Samples
    from service.client.transport import Retry as Retry
    from service.client.webhooks import Webhooks as Webhooks
    from service.schemas.audit import AuditView as AuditView
    from service.schemas.jobs import EventView as EventView
    from service.schemas.jobs import JobView as JobView
    from service.schemas.resources import ChipView as ChipView
    from service.schemas.resources import HealthView as HealthView
    from service.schemas.resources import KeyView as KeyView
    from service.schemas.resources import NewKeyView as NewKeyView
    from service.schemas.resources import StudentView as StudentView
    from service.schemas.resources import TargetSetItem as TargetSetItem
    from service.schemas.resources import TargetSetView as TargetSetView
    from service.schemas.resources import TeacherItem as TeacherItem
    from service.schemas.resources import TeacherView as TeacherView
    from service.schemas.resources import WeightVersionView as WeightVersionView
    from service.schemas.upkeep import FingerprintView as FingerprintView
    from service.schemas.upkeep import PolicyRequest as PolicyRequest
    from service.schemas.upkeep import PolicyView as PolicyView
    from service.schemas.webhooks import DeliveryView as DeliveryView
    from service.schemas.webhooks import NewWebhookView as NewWebhookView
    from service.schemas.webhooks import WebhookView as WebhookView

    __version__: str

_MODULES = {
    "ltl_core.chip": ("Observable",),
    "ltl_core.errors": ("CalibrationError", "NetworkError"),
    "ltl_core.interop.from_torch": ("from_torch",),
    "ltl_core.interop.max_pools": ("replace_max_pool",),
    "ltl_core.presets": ("PresetName",),
    "ltl_core.teaching.teacher": ("TeacherOutput", "run_teacher"),
    "ltl_core.settings": (
        *("Budget", "CalibrationSettings", "Change", "CodeSettings", "Data", "MethodName"),
        *("NeuronSettings", "Readout", "Reset", "RuleName", "Scales", "StageName"),
        *("TargetSource", "TrainingSettings", "TuneSettings"),
    ),
    "service.client.aio.audit": ("AsyncAudit",),
    "service.client.aio.chips": ("AsyncChips",),
    "service.client.aio.job": ("AsyncJob",),
    "service.client.aio.jobs": ("AsyncJobs",),
    "service.client.aio.keys": ("AsyncKeys",),
    "service.client.aio.sdk": ("AsyncTandemcal",),
    "service.client.aio.teachers": (
        "AsyncStudents",
        "AsyncTargetSets",
        "AsyncTeachers",
    ),
    "service.client.aio.webhooks": ("AsyncWebhooks",),
    "service.client.audit": ("Audit",),
    "service.client.chips": ("Chips",),
    "service.client.errors": (
        *("DownloadError", "JobEndedError", "ServiceUnreachableError", "TandemcalError"),
    ),
    "service.client.job": ("Job",),
    "service.client.jobs": ("Jobs", "Queueing"),
    "service.client.keys": ("Keys",),
    "service.client.sdk": ("Tandemcal",),
    "service.client.teachers": (
        *("AnsweredSplits", "Splits", "Students", "TargetSets", "Teachers"),
    ),
    "service.client.tensors": ("AnsweredSamples", "Samples"),
    "service.client.transport": ("Retry",),
    "service.client.webhooks": ("Webhooks",),
    "service.schemas.audit": ("AuditView",),
    "service.schemas.jobs": ("EventView", "JobView"),
    "service.schemas.resources": (
        *("ChipView", "HealthView", "KeyView", "NewKeyView", "StudentView"),
        *("TargetSetItem", "TargetSetView"),
        *("TeacherItem", "TeacherView", "WeightVersionView"),
    ),
    "service.schemas.upkeep": ("FingerprintView", "PolicyRequest", "PolicyView"),
    "service.schemas.webhooks": ("DeliveryView", "NewWebhookView", "WebhookView"),
}
_RENAMED: Mapping[str, Renamed] = {}  # deprecated names of this module

__all__ = ["__version__", *sorted(name for names in _MODULES.values() for name in names)]

if not TYPE_CHECKING:  # a type checker reads the imports above, and finds a misspelt name
    _import = lazy_names(__name__, _MODULES, _RENAMED)

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from service.version import code_version

            return code_version()
        return _import(name)

    def __dir__() -> list[str]:
        return sorted(__all__)
