"""torchvision's constructors, also where its wheel was built for another torch.

Its compiled operators (such as `torchvision::nms`) are not needed to build a network, but the
package does not import without them. Those that are missing are defined here by name alone.
"""

import importlib
import re
import sys
from types import ModuleType

import torch

_MISSING = re.compile(r"operator (torchvision::\w+) does not exist")
_KEEP: list[torch.library.Library] = []  # a definition ends with its library


def load_torchvision() -> ModuleType | None:
    """Return `torchvision.models`, or None if the package is not installed."""
    while True:
        try:
            return importlib.import_module("torchvision.models")
        except ModuleNotFoundError:
            return None
        except RuntimeError as error:
            found = _MISSING.search(str(error))
            if found is None:
                raise
            _define(found[1].partition("::")[2])


def _define(name: str) -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{name}(Tensor values) -> Tensor")
    _KEEP.append(library)
    for loaded in [known for known in sys.modules if known.partition(".")[0] == "torchvision"]:
        del sys.modules[loaded]
