"""Build the plan of a run that provides its packages itself."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

#: The file of a run with its requirements and links.
PLAN = "_lk_packages.json"

#: The packages that a message lists.
_MAX_NAMES = 3


def build_plan(
    requirements: str, timeout: int, restorable: Sequence[dict[str, Any]] = (), put: Sequence[str] = ()
) -> dict[str, str]:
    """Return the file with the plan for the packages of a run.

    Args:
        requirements: text of a requirements file.
        timeout: time limit of the run in seconds.
        restorable: records of packages in the bucket, with links.
        put: links with which the run keeps new packages; none to keep none.
    """
    names = _list_names(requirements)
    plan = {"requirements": requirements, "names": names, "kept": [*restorable], "put": [*put], "limit": timeout}
    return {PLAN: json.dumps(plan)}


def _list_names(requirements: str) -> list[str]:
    names = re.findall(r"^[ \t]*([A-Za-z0-9][\w.-]*)", requirements, re.MULTILINE)
    more = [f"{len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
    return [*names[:_MAX_NAMES], *more] or ["packages"]
