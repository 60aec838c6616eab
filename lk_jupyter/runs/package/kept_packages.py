"""Keep the packages of runs in the bucket, so that later runs with the same requirements restore these packages.

A file of this machine records the parts that a run has kept, from the signed message of the run. A later run unpacks
only parts with a recorded SHA-256: members of the organization can write to the bucket too.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.files import platform_path, read_json, write_json
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.protocol.bucket import KEPT, PACKAGES, packages_key
from lk_jupyter.protocol.frames import read_nonce
from lk_jupyter.runs.log import frames_in_log, frames_on_cloud
from lk_jupyter.runs.package.packages_plan import build_plan

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.package.bundle import Bundle

#: The kind of the messages of a run about its packages.
KIND = "packages"

#: The most parts in which a run keeps its packages.
_MOST_PARTS = 16

#: The most recorded platforms for the same requirements; the oldest is deleted first.
_MOST_PLATFORMS = 4

#: The time that a run may wait for its machine until its links expire.
_QUEUE = timedelta(hours=12)


def packages_plan(connection: Connection, bundle: Bundle, requirements: str) -> dict[str, str]:
    """Return the file with the plan for the packages of a run; none if the bucket can't be used.

    The plan has the requirements, the recorded parts, and links to the bucket, which are secrets.
    """
    place = _compute_digest(connection, requirements)
    rows = [_complete_row(connection, row) for row in _read_rows(place)]
    records = [row for row in rows if row and "parts" in row][:_MOST_PLATFORMS]
    is_keeping = any(row and "parts" not in row for row in rows)
    life = timedelta(seconds=bundle.timeout) + _QUEUE
    try:
        restorable = [_add_links(connection, record, life) for record in records]
        keys = [] if is_keeping else [packages_key(bundle.token, number) for number in range(_MOST_PARTS)]
        put = [link.url for link in connection.storage.presign_all(keys, "PUT", life=life)]
    except LkError:
        return {}
    pending = [{"token": bundle.token, "at": time.time()}] if put else []
    _write_rows(place, [*pending, *filter(None, rows)])
    return build_plan(requirements, bundle.timeout, restorable, put)


def _compute_digest(connection: Connection, requirements: str) -> str:
    """Return a digest of the server, the organization and the requirements."""
    facts = [connection.base_url, connection.target.org or "", requirements]
    return sha256(json.dumps(facts).encode()).hexdigest()


def _add_links(connection: Connection, record: Mapping[str, Any], life: timedelta) -> dict[str, Any]:
    keys = [packages_key(record["token"], number) for number in range(len(record["parts"]))]
    links = [link.url for link in connection.storage.presign_all(keys, "GET", life=life)]
    return {"base": record["base"], "parts": record["parts"], "names": record.get("names", []), "links": links}


def _complete_row(connection: Connection, row: dict[str, Any]) -> dict[str, Any] | None:
    """Return a row with the parts that its run has kept; None for a run that has kept none."""
    if "parts" in row:
        return row
    entry = journal().get(row["token"])
    if entry is None:
        return None
    payload = _read_message(connection, entry)
    if payload is not None and is_complete(payload):
        return {**row, "base": payload["base"], "parts": payload["parts"], "names": payload.get("names", [])}
    return row if entry.going_on else None


def _read_message(connection: Connection, entry: JournalEntry) -> Mapping[str, Any] | None:
    """Return the signed message of a run about the packages that it has kept; None without such a message."""
    if not entry.execution_id:
        return None
    nonce, key = read_nonce(entry.request.get("metadata")), signing_key(entry.token)
    frames = frames_in_log(entry.execution_id, nonce, KIND, key)
    if not frames:
        with suppress(LkError):
            record = connection.client.execution.get(entry.execution_id)
            frames = frames_on_cloud(connection.client, record, nonce, KIND, key)
    return next((frame.payload for frame in frames if frame.kind == KIND and "parts" in frame.payload), None)


def is_complete(payload: Mapping[str, Any]) -> bool:
    """Return whether a message has the parts of packages, each with its size and the SHA-256 of its pieces.

    Runs of earlier versions don't list the modules.
    """
    parts, names = payload.get("parts"), payload.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        return False
    return isinstance(parts, list) and all(map(_is_part, parts)) and _is_digest(payload.get("base"))


def _is_part(part: object) -> bool:
    if not isinstance(part, list) or len(part) != 2 or not isinstance(part[1], list):
        return False
    return type(part[0]) is int and part[0] >= 0 and all(map(_is_digest, part[1]))


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{32,64}", text) is not None


def _build_rows_path(place: str) -> Path:
    return platform_path("data", "packages", f"{place}.json")


def _read_rows(place: str) -> list[dict[str, Any]]:
    """Return the runs that keep or have kept these packages, newest first, while the bucket has their objects."""
    oldest = time.time() - KEPT[PACKAGES].total_seconds()
    with suppress(UsageError):
        rows = read_json(_build_rows_path(place)).get("runs")
        return [row for row in rows if _is_row(row) and row["at"] > oldest] if isinstance(rows, list) else []
    return []


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("at"), float) or not isinstance(row.get("token"), str):
        return False
    return re.fullmatch(r"[0-9a-f]{32}", row["token"]) is not None and ("parts" not in row or is_complete(row))


def _write_rows(place: str, rows: list[dict[str, Any]]) -> None:
    """Store the newest run for each platform. Without the file, the next run installs again."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        newest.setdefault(row.get("base", row["token"]), row)
    with suppress(OSError):
        write_json(_build_rows_path(place), {"runs": [*newest.values()][: _MOST_PLATFORMS + 1]})
