"""Secrets in variables, looked for once in each content: what has not changed is not read through again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from lk_jupyter.config.settings import setting
from lk_jupyter.runs.package.secret_scan import in_variable
from lk_jupyter.runs.variables.payload import VariablePayload
from lk_jupyter.text.secrets import SecretFinding

_known: dict[bytes, tuple[SecretFinding, ...]] = {}


def secrets_in(inputs: Mapping[str, Any], parcel: VariablePayload) -> tuple[SecretFinding, ...]:
    """Return what looks like a secret in the variables, which are those in the parcel."""
    if not inputs or setting("secret_guard") == "off":
        return ()
    content = sha256(json.dumps(parcel.settings).encode()).digest()
    if content not in _known:
        _known[content] = tuple(found for name, value in inputs.items() for found in in_variable(name, value))
    return _known[content]
