"""The first level: what a server says of itself to anybody, and how its description differs from ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, IRIS, V1, Endpoint, is_form
from lk_jupyter.check.findings import Report
from lk_jupyter.config.assumptions import ABSENT, row
from lk_jupyter.errors import ConnectionFailed, OutcomeUnknown

_HEALTH = ("/health/ping", "/health/version")

#: Without it, a description is of something else.
_ANCHOR = ("POST", f"{EXTERNAL}/execution/streaming/start")

#: Assumption → the operation that stands for it, below each prefix that it may have.
_PREFIXED = {"chat_prefix": ("POST", "/chat/completions"), "batch_prefix": ("GET", "/batches")}

_SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True)
class Field:
    """What a description says of one field of a body; None where it says nothing."""

    required: bool = False
    default: Any = None
    maximum: float | None = None
    enum: tuple[Any, ...] = ()


class Description:
    """The description of a server: its operations by method and complete path."""

    def __init__(self, content: dict[str, Any], below: str) -> None:
        self._schemas = content.get("components", {}).get("schemas", {})
        paths = content["paths"]
        servers = content.get("servers") or [{}]
        prefix = urlsplit(str(servers[0].get("url") or "")).path.rstrip("/")
        if not prefix and not any(path.startswith(EXTERNAL) for path in paths):
            prefix = below
        self.operations: dict[tuple[str, str], dict[str, Any]] = {
            (method.upper(), plain(prefix + path)): operation
            for path, methods in paths.items()
            for method, operation in methods.items()
            if isinstance(operation, dict)
        }

    def __contains__(self, operation: tuple[str, str]) -> bool:
        return (operation[0], plain(operation[1])) in self.operations

    def fields(self, method: str, path: str) -> dict[str, Field]:
        """Return the fields of the JSON body of an operation."""
        body = self.operations.get((method, plain(path)), {}).get("requestBody", {}).get("content", {})
        return fields_of(body.get("application/json", {}).get("schema", {}), self._schemas, _SCHEMAS)


@cache
def plain(path: str) -> str:
    """Return a path whose placeholders have no names, to be compared."""
    return re.sub(r"\{[^{}]*\}", "{}", path)


def fields_of(schema: dict[str, Any], schemas: dict[str, Any], prefix: str) -> dict[str, Field]:
    """Return the fields of an object's schema, whose parts lie in others."""
    schema = _resolved(schema, schemas, prefix)
    required = set(schema.get("required", ()))
    return {
        name: _field(part, schemas, prefix, required=name in required)
        for name, part in schema.get("properties", {}).items()
    }


def _resolved(schema: dict[str, Any], schemas: dict[str, Any], prefix: str) -> dict[str, Any]:
    for _ in range(20):
        only: list[dict[str, Any]] = schema.get("allOf") or []
        reference = schema.get("$ref") or (only[0].get("$ref") if len(only) == 1 else None)
        if not isinstance(reference, str):
            break
        schema = schemas.get(reference.removeprefix(prefix), {})
    return schema


def _field(part: dict[str, Any], schemas: dict[str, Any], prefix: str, *, required: bool) -> Field:
    forms = [_resolved(each, schemas, prefix) for each in (part, *part.get("anyOf", ()), *part.get("oneOf", ()))]
    limits = [
        limit - (key == "exclusiveMaximum")
        for each in forms
        for key in ("maximum", "exclusiveMaximum")
        if isinstance(limit := each.get(key), (int, float))
    ]
    enum = tuple(value for each in forms for value in each.get("enum", ()))
    return Field(required, part.get("default"), min(limits, default=None), enum)


@cache
def carried(endpoint: Endpoint) -> dict[str, Field]:
    """Return the fields of the JSON body that we send to an operation."""
    kinds = [
        each.annotation
        for name, each in endpoint.signature.parameters.items()
        if endpoint.place(name) == "body" and not is_form(each.annotation)
    ]
    if not kinds:
        return {}
    schema = TypeAdapter(kinds[0]).json_schema(ref_template="#/$defs/{model}")
    return fields_of(schema, schema.get("$defs", {}), "#/$defs/")


def look(report: Report) -> Description | None:
    """Ask what needs no key; return the description that the server publishes, if it does."""
    for path in _HEALTH:
        _look_at_health(report, path)
    description = _description(report)
    if description:
        try:
            _compare(report, description)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            report.notes.append("The server's description can't be read: %lk_check with a key looks at each operation.")
            return None
    return description


def _look_at_health(report: Report, path: str) -> None:
    try:
        seen = report.probe("GET", EXTERNAL + path, is_signed=False)
    except OutcomeUnknown as lost:
        words = str(lost).partition("\n")[0]
    else:
        words = f"HTTP {seen.status}" if seen.status >= 300 else ""
    if words:
        report.odd(f"GET {path}", "HTTP 200", words, "The server has no health check here", "Nothing: it isn't needed.")


def _description(report: Report) -> Description | None:
    """Return the description at the root or below the prefix; the first that is of this API."""
    for below in ("", EXTERNAL, V1):
        try:
            seen = report.probe("GET", f"{below}/openapi.json", is_signed=False)
        except (ConnectionFailed, OutcomeUnknown):
            continue
        content = seen.json
        if seen.status == 200 and isinstance(content, dict) and isinstance(content.get("paths"), dict):
            report.exchanges.pop()  # too large for a recording; what differs in it is in the table
            try:
                found = Description(content, below)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                continue
            if _ANCHOR in found:
                report.notes.append(f"The server publishes its description at {below}/openapi.json.")
                return found
    report.notes.append("The server publishes no description: %lk_check with a key looks at each operation.")
    return None


def _compare(report: Report, description: Description) -> None:
    _compare_places(report, description)
    _compare_fields(report, description)
    absent = [str(endpoint) for endpoint in dict.fromkeys(ENDPOINTS) if _is_absent(endpoint, description)]
    report.assumed("absent_operations", ",".join(dict.fromkeys(absent)))


def in_group(endpoint: Endpoint) -> bool:
    """Whether another assumption says where an operation is, or that it is absent."""
    placed = re.match("/(batches|files|serverless/(?!route)|execution/gpu_selection|machine-types)", endpoint.path)
    return bool(placed) or endpoint.server in {IRIS, V1} or endpoint.owner.__name__ == "OpenAI"


def _is_absent(endpoint: Endpoint, description: Description) -> bool:
    if in_group(endpoint):
        return False
    return not any((endpoint.method, server + endpoint.path) in description for server in endpoint.servers)


def _compare_places(report: Report, description: Description) -> None:
    for name, (method, path) in _PREFIXED.items():
        wanted = row(name)
        prefixes = [each for each in (wanted.default, *wanted.alternatives) if each.startswith("/")]
        found = [prefix for prefix in prefixes if (method, prefix + path) in description]
        if found or ABSENT in wanted.alternatives:
            report.assumed(name, found[0] if found else ABSENT)
    selection = ("POST", f"{EXTERNAL}/execution/gpu_selection/start")
    report.assumed("gpu_selection", "offered" if selection in description else ABSENT)
    lookups = row("signin_lookup")
    for operation in (lookups.default, *lookups.alternatives):
        method, _, path = operation.partition(" ")
        if (method, EXTERNAL + path) in description:
            report.assumed("signin_lookup", operation)
            break
    methods = [method for method in ("POST", "GET") if (method, f"{V1}/stream/{{}}") in description]
    if methods:
        report.assumed("stream_method", methods[0])


def _compare_fields(report: Report, description: Description) -> None:
    start = description.fields("POST", f"{EXTERNAL}/execution/streaming/start")
    if "timeout" in start and start["timeout"].maximum is not None:
        report.assumed("longest_run", str(int(start["timeout"].maximum)))
    image = description.fields("POST", f"{EXTERNAL}/execution/image/start")
    if "s3_mount_path" in image and isinstance(image["s3_mount_path"].default, str):
        report.assumed("bucket_folder_image", image["s3_mount_path"].default)
    deployment = description.fields("POST", f"{EXTERNAL}/inference/create")
    if picks := [name for name in ("hardware_profile", "gpu_type") if name in deployment]:
        report.assumed("deployment_gpu_field", picks[0])
    for endpoint in ENDPOINTS:
        for words in _differences(endpoint, description):
            report.odd(str(endpoint), *words)


#: Fields that an assumption is about, and those that we set in every request.
_KNOWN = {"timeout", "s3_mount_path", "hardware_profile", "gpu_type", "stream"}


def _differences(endpoint: Endpoint, description: Description) -> Iterator[tuple[str, str, str, str]]:
    """Yield how the fields of a body differ: expected, found, meaning, what we do."""
    theirs = description.fields(endpoint.method, endpoint.server + endpoint.path)
    ours = carried(endpoint)
    for name, field in theirs.items():
        mine = ours.get(name)
        if name in _KNOWN:
            continue
        if field.required and (mine is None or not mine.required):
            is_known = "optional" if mine else "unknown"
            yield (
                f"'{name}' {is_known}",
                "required",
                "A request without this field is refused",
                "Says what the server refused.",
            )
        if mine and field.enum and mine.enum and (gone := [value for value in mine.enum if value not in field.enum]):
            words = ", ".join(map(repr, gone))
            yield (
                f"'{name}' takes {words}",
                f"takes {field.enum!r}",
                "This value is refused",
                "Says what the server refused.",
            )
        if mine and field.maximum is not None and (mine.maximum is None or field.maximum < mine.maximum):
            most = "any" if mine.maximum is None else f"{mine.maximum:g}"
            yield (
                f"'{name}' up to {most}",
                f"up to {field.maximum:g}",
                "A larger value is refused",
                "Says what the server refused.",
            )
