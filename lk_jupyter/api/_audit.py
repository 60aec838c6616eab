"""The audit log: a line of JSON on this machine for each call that changes keys, members, VMs and the like, or deletes.

Lines are appended, and contain no body and no secret: names come from listed fields only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lk_jupyter.api._endpoint import PLACEHOLDER
from lk_jupyter.config.files import lock_beside, platform_path, put_in_place

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lk_jupyter.api._endpoint import Endpoint

_log = logging.getLogger("lk_jupyter")

#: Fields of requests and answers that identify a target. None of them is a secret.
_NAMES = ("name", "key_name", "display_name", "slug", "email", "role", "hf_model_id", "hardware_profile")
_IDS = ("id", "vm_id", "deployment_id")

#: Fields of requests that contain several named objects.
_SEVERAL = ("environment_variables",)

#: Bytes of the log from which on it becomes the older log, and characters of one text in a line.
LARGEST, LONGEST = 2_000_000, 200

#: Columns of the table, in the order of the fields in a line.
COLUMNS = ("time", "operation", "target", "organization", "status", "source", "server")

_failed = False


def log_file() -> Path:
    """Return the path of the audit log."""
    return platform_path("data", "audit.jsonl")


def _build_rotated_path(path: Path) -> Path:
    return path.with_suffix(".1.jsonl")


def record_call(  # noqa: PLR0913 (the facts of one line)
    endpoint: Endpoint,
    url: str,
    status: int | str,
    *,
    body: BaseModel | None = None,
    answer: object = None,
    organization: str = "",
    source: str = "",
) -> None:
    """Append a call of an audited operation to the log."""
    if not endpoint.is_audited:
        return
    fields = {name: getattr(body, name, None) for name in (*_NAMES, *_IDS, *_SEVERAL)}
    returned = answer if isinstance(answer, dict) else {}
    target = [
        *_parse_path_values(endpoint, url),
        *_iterate_text_values(fields, _NAMES + _IDS),
        *_iterate_text_values(returned, _IDS),
    ]
    record(endpoint.title, target, status, organization=organization, source=source, server=urlsplit(url).netloc)


def _parse_path_values(endpoint: Endpoint, url: str) -> list[str]:
    """Return the values of the placeholders in a path."""
    pattern = PLACEHOLDER.sub(lambda placeholder: "(.+)" if placeholder[2] else "([^/]+)", endpoint.path)
    match = re.search(f"{pattern}$", urlsplit(url).path)
    return [unquote(value) for value in match.groups()] if match else []


def _iterate_text_values(fields: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    lists = [value for name in _SEVERAL if isinstance(value := fields.get(name), (list, tuple))]
    several = chain.from_iterable(lists)
    values = [*(fields.get(name) for name in names), *(getattr(each, "name", None) for each in several)]
    return (value for value in values if isinstance(value, str) and value)


def record(  # noqa: PLR0913 (the facts of one line)
    operation: str,
    target: Iterable[str],
    status: int | str,
    *,
    organization: str = "",
    source: str = "",
    server: str = "",
) -> None:
    """Append a line. A failure is reported once, and never loses the call."""
    from lk_jupyter.text.secrets import redact  # noqa: PLC0415 (loaded with the first change)
    from lk_jupyter.text.terminal import one_line  # noqa: PLC0415

    def clean(text: str) -> str:
        return redact(one_line(text.encode(errors="replace").decode()))[:LONGEST]

    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    names = ", ".join(dict.fromkeys(map(clean, target)))[: 4 * LONGEST]
    values = (
        moment,
        operation,
        names,
        clean(organization),
        status,
        clean(source or _find_current_program()),
        clean(server),
    )
    _append_line(json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False))


def _find_current_program() -> str:
    """Return the notebook or the script that runs now."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    notebook = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return str(notebook or (sys.argv[0] if sys.argv else "")) or "Python"


def _append_line(line: str) -> None:
    """Append a line with a single write, so that lines of several processes stay complete."""
    global _failed  # noqa: PLW0603 (reported once)
    path = log_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _rotate_if_large(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        if not _failed:
            _failed = True
            _log.warning(
                "lk_jupyter: Can't write the audit log '%s' (%s). Calls are sent without a record of them.",
                path,
                error.strerror or error,
            )


def _rotate_if_large(path: Path) -> None:
    """Let a large log become the older log, in one of several processes."""
    with suppress(FileNotFoundError):  # it doesn't exist yet, or another process has just renamed it
        if path.stat().st_size >= LARGEST:
            with lock_beside(path) as is_free:
                if is_free and path.stat().st_size >= LARGEST:
                    put_in_place(path, _build_rotated_path(path))


def entries() -> list[dict[str, Any]]:
    """Return the lines of the log, newest first; lines that can't be read are left out."""
    path, rows = log_file(), []
    for file in (_build_rotated_path(path), path):
        with suppress(FileNotFoundError):
            rows += [row for line in file.read_bytes().splitlines() if (row := _parse_row(line))]
    return rows[::-1]


def _parse_row(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError, KeyError, TypeError):
        row = json.loads(line)
        return {"time": datetime.fromisoformat(row["time"]), **{name: row[name] for name in COLUMNS[1:]}}
    return None
