"""The first level: public answers of a server, and differences between its description and our declarations."""

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
from lk_jupyter.config.assumptions import ABSENT, DEFAULT, find_assumption
from lk_jupyter.errors import ConnectionFailed, OutcomeUnknown

_HEALTH = ("/health/ping", "/health/version")

#: A description without this operation describes another API.
_ANCHOR = ("POST", f"{EXTERNAL}/execution/streaming/start")

#: Assumption → operation that identifies a prefix.
_PREFIXED = {"chat_prefix": ("POST", "/chat/completions"), "batch_prefix": ("GET", "/batches")}

_SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True)
class Field:
    """The schema of a body's field in a description; None for unspecified facts."""

    required: bool = False
    default: Any = None
    maximum: float | None = None
    enum: tuple[Any, ...] = ()


class Description:
    """The description of a server: operations by method and complete path."""

    def __init__(self, content: dict[str, Any], below: str) -> None:
        self._schemas = content.get("components", {}).get("schemas", {})
        paths = content["paths"]
        servers = content.get("servers") or [{}]
        prefix = urlsplit(str(servers[0].get("url") or "")).path.rstrip("/")
        if not prefix and not any(path.startswith(EXTERNAL) for path in paths):
            prefix = below
        self.operations: dict[tuple[str, str], dict[str, Any]] = {
            (method.upper(), anonymize_placeholders(prefix + path)): operation
            for path, methods in paths.items()
            for method, operation in methods.items()
            if isinstance(operation, dict)
        }

    def __contains__(self, operation: tuple[str, str]) -> bool:
        return (operation[0], anonymize_placeholders(operation[1])) in self.operations

    def fields(self, method: str, path: str) -> dict[str, Field]:
        """Return the fields of the JSON body of an operation."""
        body = self.operations.get((method, anonymize_placeholders(path)), {}).get("requestBody", {}).get("content", {})
        return list_fields(body.get("application/json", {}).get("schema", {}), self._schemas, _SCHEMAS)


@cache
def anonymize_placeholders(path: str) -> str:
    """Return a path with anonymous placeholders, for comparisons."""
    return re.sub(r"\{[^{}]*\}", "{}", path)


def list_fields(schema: dict[str, Any], schemas: dict[str, Any], prefix: str) -> dict[str, Field]:
    """Return the fields of an object schema, including the fields of referenced schemas."""
    schema = _resolve_schema(schema, schemas, prefix)
    required = set(schema.get("required", ()))
    return {
        name: _parse_field(part, schemas, prefix, required=name in required)
        for name, part in schema.get("properties", {}).items()
    }


def _resolve_schema(schema: dict[str, Any], schemas: dict[str, Any], prefix: str) -> dict[str, Any]:
    for _ in range(20):
        only: list[dict[str, Any]] = schema.get("allOf") or []
        reference = schema.get("$ref") or (only[0].get("$ref") if len(only) == 1 else None)
        if not isinstance(reference, str):
            break
        schema = schemas.get(reference.removeprefix(prefix), {})
    return schema


def _parse_field(part: dict[str, Any], schemas: dict[str, Any], prefix: str, *, required: bool) -> Field:
    forms = [_resolve_schema(each, schemas, prefix) for each in (part, *part.get("anyOf", ()), *part.get("oneOf", ()))]
    limits = [
        limit - (key == "exclusiveMaximum")
        for each in forms
        for key in ("maximum", "exclusiveMaximum")
        if isinstance(limit := each.get(key), (int, float))
    ]
    enum = tuple(value for each in forms for value in each.get("enum", ()))
    return Field(required, part.get("default"), min(limits, default=None), enum)


@cache
def list_body_fields(endpoint: Endpoint) -> dict[str, Field]:
    """Return the fields of the JSON body that we send to an operation."""
    kinds = [
        each.annotation
        for name, each in endpoint.signature.parameters.items()
        if endpoint.place(name) == "body" and not is_form(each.annotation)
    ]
    if not kinds:
        return {}
    schema = TypeAdapter(kinds[0]).json_schema(ref_template="#/$defs/{model}")
    return list_fields(schema, schema.get("$defs", {}), "#/$defs/")


def check_public_answers(report: Report) -> Description | None:
    """Send requests that need no key; return the published description, if any."""
    for path in _HEALTH:
        _probe_health(report, path)
    description = _fetch_description(report)
    if description:
        try:
            _record_assumptions(report, description)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            report.notes.append(
                "The server's API description can't be read. With a key, %lk_check tests each operation."
            )
            return None
    return description


def _probe_health(report: Report, path: str) -> None:
    try:
        answer = report.probe("GET", EXTERNAL + path, is_signed=False)
    except OutcomeUnknown as lost:
        words = str(lost).partition("\n")[0]
    else:
        words = f"HTTP {answer.status}" if answer.status >= 300 else ""
    if words:
        report.add_difference(
            f"GET {path}", "HTTP 200", words, "The server has no health check at this path", "Nothing: it isn't needed."
        )


def _fetch_description(report: Report) -> Description | None:
    """Return the first description of this API, at the root or below a prefix."""
    for below in ("", EXTERNAL, V1):
        try:
            answer = report.probe("GET", f"{below}/openapi.json", is_signed=False)
        except (ConnectionFailed, OutcomeUnknown):
            continue
        content = answer.json
        if answer.status == 200 and isinstance(content, dict) and isinstance(content.get("paths"), dict):
            report.exchanges.pop()  # too large for a recording; the table lists its differences
            try:
                description = Description(content, below)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                continue
            if _ANCHOR in description:
                report.notes.append(f"The server publishes its API description at {below}/openapi.json.")
                return description
    report.notes.append("The server publishes no API description. With a key, %lk_check tests each operation.")
    return None


def _record_assumptions(report: Report, description: Description) -> None:
    _record_places(report, description)
    _record_fields(report, description)
    absent = [str(endpoint) for endpoint in dict.fromkeys(ENDPOINTS) if _is_absent(endpoint, description)]
    report.set_assumption("absent_operations", ",".join(dict.fromkeys(absent)))


def is_in_group(endpoint: Endpoint) -> bool:
    """Return whether another assumption covers the place or absence of an operation."""
    placed = re.match("/(batches|files|serverless/(?!route)|execution/gpu_selection|machine-types)", endpoint.path)
    return bool(placed) or endpoint.server in {IRIS, V1} or endpoint.owner.__name__ == "OpenAI"


def _is_absent(endpoint: Endpoint, description: Description) -> bool:
    if is_in_group(endpoint):
        return False
    return not any((endpoint.method, server + endpoint.path) in description for server in endpoint.servers)


def _record_places(report: Report, description: Description) -> None:
    for name, (method, path) in _PREFIXED.items():
        assumption = find_assumption(name)
        prefixes = [each for each in (assumption.default, *assumption.alternatives) if each.startswith("/")]
        offered = [prefix for prefix in prefixes if (method, prefix + path) in description]
        if offered or ABSENT in assumption.alternatives:
            report.set_assumption(name, offered[0] if offered else ABSENT)
    selection = ("POST", f"{EXTERNAL}/execution/gpu_selection/start")
    report.set_assumption("gpu_selection", "offered" if selection in description else ABSENT)
    lookups = find_assumption("signin_lookup")
    for operation in (lookups.default, *lookups.alternatives):
        method, _, path = operation.partition(" ")
        if (method, EXTERNAL + path) in description:
            report.set_assumption("signin_lookup", operation)
            break
    methods = [method for method in ("POST", "GET") if (method, f"{V1}/stream/{{}}") in description]
    if methods:
        report.set_assumption("stream_method", methods[0])


def _record_fields(report: Report, description: Description) -> None:
    start = description.fields("POST", f"{EXTERNAL}/execution/streaming/start")
    if "timeout" in start and start["timeout"].maximum is not None:
        maximum, stored = int(start["timeout"].maximum), report.client.assumptions.resolve("longest_run")
        if stored.source == DEFAULT or int(stored.value) < maximum:  # a run may have shown that more is accepted
            report.set_assumption("longest_run", str(maximum))
    image = description.fields("POST", f"{EXTERNAL}/execution/image/start")
    if "s3_mount_path" in image and isinstance(image["s3_mount_path"].default, str):
        report.set_assumption("bucket_folder_image", image["s3_mount_path"].default)
    deployment = description.fields("POST", f"{EXTERNAL}/inference/create")
    if picks := [name for name in ("hardware_profile", "gpu_type") if name in deployment]:
        report.set_assumption("deployment_gpu_field", picks[0])
    for endpoint in ENDPOINTS:
        for words in _iterate_differences(endpoint, description):
            report.add_difference(str(endpoint), *words)


#: Fields covered by an assumption, and fields in all of our requests.
_COVERED = {"timeout", "s3_mount_path", "hardware_profile", "gpu_type", "stream"}


def _iterate_differences(endpoint: Endpoint, description: Description) -> Iterator[tuple[str, str, str, str]]:
    """Yield differences between the fields of a body: expected, actual, meaning, our behavior."""
    published = description.fields(endpoint.method, endpoint.server + endpoint.path)
    declared = list_body_fields(endpoint)
    for name, field in published.items():
        declared_field = declared.get(name)
        if name in _COVERED:
            continue
        if field.required and (declared_field is None or not declared_field.required):
            kind = "optional" if declared_field else "unknown"
            yield (
                f"'{name}' {kind}",
                "required",
                "The server refuses requests without this field",
                "Shows the reason of the refusal.",
            )
        if (
            declared_field
            and field.enum
            and declared_field.enum
            and (refused := [value for value in declared_field.enum if value not in field.enum])
        ):
            words = ", ".join(map(repr, refused))
            yield (
                f"'{name}' takes {words}",
                f"takes {field.enum!r}",
                "This value is refused",
                "Shows the reason of the refusal.",
            )
        if (
            declared_field
            and field.maximum is not None
            and (declared_field.maximum is None or field.maximum < declared_field.maximum)
        ):
            most = "any" if declared_field.maximum is None else f"{declared_field.maximum:g}"
            yield (
                f"'{name}' up to {most}",
                f"up to {field.maximum:g}",
                "The server refuses a larger value",
                "Shows the reason of the refusal.",
            )
