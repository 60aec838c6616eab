"""Gives the code of a run ``lk_jupyter.checkpoint_folder`` and ``lk_jupyter.Checkpoint``, also without the package."""

from __future__ import annotations

import sys

from .. import checkpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Provide a module ``lk_jupyter`` with both names, if the package isn't installed."""
    from importlib.util import find_spec
    from types import ModuleType

    if "lk_jupyter" in sys.modules or find_spec("lk_jupyter"):
        return
    module: Any = ModuleType("lk_jupyter", "The part of lk_jupyter that the code of a run can use.")
    module.checkpoint_folder, module.Checkpoint = checkpoints.checkpoint_folder, checkpoints.Checkpoint
    sys.modules["lk_jupyter"] = module
