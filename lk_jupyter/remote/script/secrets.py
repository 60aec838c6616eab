"""Removes stored secrets that the line of a run doesn't name from its environment, before the code and its packages.

The cloud sets all stored secrets in each run. The code and the processes that it starts get the named secrets only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Remove the variables of the settings from the environment."""
    for name in settings["remove"]:
        os.environ.pop(name, None)
