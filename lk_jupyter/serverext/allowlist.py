"""The requests that a browser may send to the API: the declared operations, without operations that answer a secret.

A request is matched by the path as sent, so that an encoded slash stays part of a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args
from urllib.parse import unquote

from pydantic import BaseModel

from lk_jupyter.api import _client as _client  # noqa: PLC0414 (declares all operations)
from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, IRIS, OPENAI, PLACEHOLDER, Endpoint

#: Server → first parts of its operations behind ``lk/api/``.
PREFIXES = {EXTERNAL: (), OPENAI: ("openai", "v1"), IRIS: ("iris",)}

_HAS_KEY = "the response would show a secret key. Create keys in the dashboard"
_HAS_SEED = "the response would let a browser sign in without a password. Set up a second factor in the dashboard"

#: Operation → reason for the refusal to a browser.
REFUSED = {
    "Auth.login": "a password must not pass through JupyterLab. Sign in at the dashboard",
    "Auth.refresh": "the Jupyter server refreshes the tokens",
    "Auth.create_api_key": _HAS_KEY,
    "Auth.validate_api_key": "a browser gets no key. To try a key, sign in with it",
    "Mfa.enroll": _HAS_SEED,
    "Mfa.verify_enrollment": _HAS_SEED,
    "Mfa.verify": "the Jupyter server signs in, not the browser",
    "Mfa.disable": _HAS_SEED,
    "Mfa.regenerate_backup_codes": _HAS_SEED,
    "Orgs.create_api_key": _HAS_KEY,
    "Orgs.regenerate_api_key": _HAS_KEY,
    "Storage.credentials": "the response would contain a key for the bucket. Use the routes under lk/storage",
    "Stream.output": "the Jupyter server follows runs. Use lk/runs/ID/stream",
}

#: Fields that never reach a browser, in any answer of a server.
SECRET_FIELDS = frozenset(
    {
        *("access_token", "refresh_token", "api_key", "plaintext_key", "backup_codes", "qr_code", "qr_code_url"),
        *("access_key", "secret_key", "session_token", "streaming_url"),
    }
)

#: Characters of the longest path: object keys have up to 1,024 bytes, each of which may be encoded.
_LONGEST = 8192

#: A server may decode a name once more; no name of a file is encoded this many times.
_DECODINGS = 4

_SEPARATOR = re.compile(r"[/\\]")


class NotAllowed(Exception):
    """The path or the verb is none that a browser may use; ``status`` is 404 or 405."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Allowed:
    """An operation and the values of its path."""

    endpoint: Endpoint
    values: dict[str, str]

    @property
    def path(self) -> str:
        """Return the operation's path on the server."""
        return self.endpoint.server + self.endpoint._fill_path(self.values)


def match(method: str, raw_path: str) -> Allowed:
    """Return the operation of a path that is still encoded. Raises NotAllowed."""
    if len(raw_path) > _LONGEST:
        raise NotAllowed(404, "the path is longer than any path of the API")
    try:
        parts = [unquote(part, errors="strict") for part in raw_path.split("/")]
    except UnicodeDecodeError:
        raise NotAllowed(404, "the path is not UTF-8") from None
    if any(map(leads_elsewhere, parts)) or not all(map(str.isprintable, parts)):
        raise NotAllowed(404, "a part of the path is not allowed")
    candidates = [(endpoint, values) for endpoint, values in _iterate_operations(parts) if values is not None]
    if not candidates:
        raise NotAllowed(404, "the API has no such path")
    for endpoint, values in candidates:
        if endpoint.method == method:
            if reason := REFUSED.get(endpoint.title):
                raise NotAllowed(404, f"a browser can't use this operation: {reason}")
            return Allowed(endpoint, values)
    raise NotAllowed(
        405, f"the API doesn't accept {method} here, only {', '.join(sorted({e.method for e, _ in candidates}))}"
    )


def leads_elsewhere(name: str) -> bool:
    """Return whether a name has a step such as ``..`` for a server that decodes again, or uses other separators."""
    for _ in range(_DECODINGS):
        steps = (step.partition(";")[0].strip() for step in _SEPARATOR.split(name))
        if any(step and not step.strip(".") for step in steps):
            return True
        name, encoded = unquote(name), name
        if name == encoded:
            return False
    return True


def _iterate_operations(parts: list[str]) -> Iterator[tuple[Endpoint, dict[str, str]]]:
    """Yield the operations with this path: of several, only operations with the fewest placeholders."""
    fewest = None
    for template, endpoints in path_templates():
        values = _match_values(template, parts)
        if values is not None and fewest in {None, template}:
            fewest = template
            yield from ((endpoint, values) for endpoint in endpoints)


@cache
def path_templates() -> list[tuple[tuple[str, ...], list[Endpoint]]]:
    """Return the paths, paths with names before paths with placeholders."""
    templates: dict[tuple[str, ...], list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        path = tuple(endpoint.path.lstrip("/").split("/"))
        templates.setdefault((*PREFIXES.get(endpoint.server, ("v1",)), *path), []).append(endpoint)
    return sorted(templates.items(), key=lambda row: [part.startswith("{") for part in row[0]])


def _match_values(template: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    """Return the values of a template's placeholders, None for a path that doesn't fit."""
    values: dict[str, str] = {}
    for at, segment in enumerate(template):
        placeholder = PLACEHOLDER.fullmatch(segment)
        if placeholder and placeholder[2]:
            values[placeholder[1]] = "/".join(parts[at:])
            return values if values[placeholder[1]] else None
        if at >= len(parts) or not (_is_plain_segment(parts[at]) if placeholder else parts[at] == segment):
            return None
        if placeholder:
            values[placeholder[1]] = parts[at]
    return values if len(parts) == len(template) else None


def _is_plain_segment(value: str) -> bool:
    return bool(value) and not set(value) & set("/\\?#%;")


def secret_fields(endpoint: Endpoint) -> frozenset[str]:
    """Return the fields that are removed from the answers of an operation, because they are declared as not shown."""
    return SECRET_FIELDS | _find_hidden_fields(endpoint.returns, frozenset())


def _find_hidden_fields(kind: Any, visited: frozenset[Any]) -> frozenset[str]:
    if kind in visited:
        return frozenset()
    visited |= {kind}
    if parts := get_args(kind):  # looked at first: on Python 3.10 list[str] is an instance of type
        return frozenset().union(*(_find_hidden_fields(part, visited) for part in parts))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        hidden = frozenset(field.alias or name for name, field in fields.items() if not field.repr)
        return hidden.union(*(_find_hidden_fields(field.annotation, visited) for field in fields.values()))
    return frozenset()


def without(content: Any, fields: frozenset[str]) -> Any:
    """Return JSON without these fields, at any depth."""
    if isinstance(content, dict):
        return {name: without(value, fields) for name, value in content.items() if name not in fields}
    return [without(item, fields) for item in content] if isinstance(content, list) else content
