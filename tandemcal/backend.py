"""The port for drivers: what a chip is asked, what it answers, and what it may raise.

A driver is a class with the methods of `ChipBackend`, and a factory `make_chip(chip_id, settings)`
in the entry-point group `tandemcal.chip_backends`. Optional protocols, each found by its methods:

| protocol | for |
|---|---|
| `BulkWriter` | many layers written by one call |
| `StreamingBackend` | recordings given layer by layer |
| `ProbingChip` | a fixed stimulus of its own, which shows drift; else `run` presents one |
| `TunableChip` | registers that make a chip's circuits alike; `ChipInfo.tuning` describes them |
| `SideWeightedChip` | digital weights of low rank beside the arrays, up to `ChipInfo.side_rank` |
| `Stored` | a chip that lives in software, kept in a file between jobs |

`tandemcal.testing` holds the tests that every driver has to pass.
"""

from ltl_core.chip import ChipBackend as ChipBackend
from ltl_core.chip import ChipInfo as ChipInfo
from ltl_core.chip import Fingerprint as Fingerprint
from ltl_core.chip import LayerCodes as LayerCodes
from ltl_core.chip import LayerRecording as LayerRecording
from ltl_core.chip import LayerSettings as LayerSettings
from ltl_core.chip import Observable as Observable
from ltl_core.chip import Placement as Placement
from ltl_core.chip import Recording as Recording
from ltl_core.chip import Register as Register
from ltl_core.chip import SideWeights as SideWeights
from ltl_core.chip import Stimulus as Stimulus
from ltl_core.chip import Tuning as Tuning
from ltl_core.chip import TuningInfo as TuningInfo
from ltl_core.chip import WriteReport as WriteReport
from ltl_core.errors import CapacityError as CapacityError
from ltl_core.errors import ChipError as ChipError
from ltl_core.errors import ChipUnavailableError as ChipUnavailableError
from ltl_core.errors import CodeRangeError as CodeRangeError
from ltl_core.errors import LayerShapeError as LayerShapeError
from ltl_core.errors import NonFiniteError as NonFiniteError
from ltl_core.errors import NoSideWeightsError as NoSideWeightsError
from ltl_core.errors import NotTunableError as NotTunableError
from ltl_core.errors import SettingError as SettingError
from ltl_core.errors import UnsupportedLayerError as UnsupportedLayerError
from ltl_core.optional_verbs import BulkWriter as BulkWriter
from ltl_core.optional_verbs import ProbingChip as ProbingChip
from ltl_core.optional_verbs import SideWeightedChip as SideWeightedChip
from ltl_core.optional_verbs import StreamingBackend as StreamingBackend
from ltl_core.optional_verbs import TunableChip as TunableChip
from service.bench.stored import Stored as Stored
