"""Assumptions about a server that no document confirms: a table, and the findings for each server.

A value comes from the user (``%lk_config guess.NAME VALUE``), else from ``%lk_check`` or an answer of this server, else
from the table. Findings are stored next to the user's settings.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from lk_jupyter.config.files import GUESS, LOCAL, LOOPBACK, platform_path, write_json
from lk_jupyter.errors import UsageError

#: Servers, as prefixes of a path.
_EXTERNAL, _OPENAI = "/api/v2/external", "/openai/v1"

#: Value for an operation, or a group of operations, that a server doesn't have.
ABSENT = "absent"

#: Value for files of a request that the server doesn't store.
IGNORED = "ignored"

#: Prefix of models that the server chooses by the prompt.
ROUTERS = "lyceum/"

#: The router is no model: another operation names the model.
ROUTE = "route"

#: Separates the values of an assumption that has several.
SEPARATOR = ","

# Patterns are compiled when they are used: this is read whenever the extension is loaded.
_OPERATION = r"(GET|POST|PUT|PATCH|DELETE) /\S+"
_WORD = r"[a-z0-9_ -]+=(completed|failed|aborted|cancelled|timeout|system_failure)"

_log = logging.getLogger("lk_jupyter")


def _check_choice(row: Assumption, text: str) -> str:
    if text not in (row.default, *row.alternatives):
        raise ValueError(f"one of {', '.join((row.default, *row.alternatives))}")
    return text


def _check_folder(_: Assumption, text: str) -> str:
    if not re.fullmatch(r"/[\w./-]*", text):
        raise ValueError("an absolute path in the run, such as /mnt/s3")
    return text.rstrip("/") or "/"


def _check_prefix(row: Assumption, text: str) -> str:
    if text in row.alternatives:
        return text
    if not re.fullmatch(r"/[\w./-]*[\w-]", text):
        raise ValueError(f"one of {', '.join((row.default, *row.alternatives))}, or another path on the server")
    return text


def _check_seconds(_: Assumption, text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise ValueError("seconds as an integer from 1")
    return text


def _parse_list(pattern: str, what: str) -> Callable[[Assumption, str], str]:
    def parse(_: Assumption, text: str) -> str:
        parts = [part.strip() for part in text.split(SEPARATOR) if part.strip()]
        if not all(re.fullmatch(pattern, part) for part in parts):
            raise ValueError(what)
        return SEPARATOR.join(dict.fromkeys(parts))

    return parse


@dataclass(frozen=True, eq=False, repr=False)
class Assumption:
    """A fact of a server that lk_jupyter relies on.

    ``form`` checks a value and raises ValueError with the accepted form; ``local`` is the default for a server on this
    machine, if different. ``otherwise`` is lk_jupyter's behavior if the value isn't the default.
    """

    name: str
    default: str
    alternatives: tuple[str, ...]
    source: Literal["documented", "observed", "inferred"]
    operations: tuple[str, ...]
    meaning: str
    otherwise: str
    form: Callable[[Assumption, str], str] = _check_choice
    local: str | None = None

    def normalize(self, text: str) -> str:
        """Return a value in its usual form. Raises ValueError with the accepted form."""
        return self.form(self, text.strip())


_STARTS = (
    "POST /execution/streaming/start",
    "POST /execution/image/start",
    "POST /execution/compose/start",
    "POST /execution/gpu_selection/start",
)
_STREAM = ("POST /stream/{execution_id}",)
_BATCHES = ("POST /files", "POST /batches", "GET /batches", "GET /batches/{batch_id}")
_CHATS = ("GET /serverless/models", "POST /serverless/chat/completions", "POST /serverless/embeddings")

ASSUMPTIONS: tuple[Assumption, ...] = (
    Assumption(
        "bucket_folder_python",
        "/mnt/s3",
        ("/job/work", "/lyceum/storage"),
        "inferred",
        ("POST /execution/streaming/start",),
        "Folder where a Python run finds the bucket's files",
        "In a run, paths of bucket files start with this folder.",
        _check_folder,
    ),
    Assumption(
        "bucket_folder_image",
        "/mnt/s3",
        ("/lyceum/storage",),
        "documented",
        ("POST /execution/image/start", "POST /execution/compose/start"),
        "Folder where a container finds the bucket's files, if the request sets no other folder",
        "In a container, paths of bucket files start with this folder.",
        _check_folder,
    ),
    Assumption(
        "deployment_gpu_field",
        "hardware_profile",
        ("gpu_type",),
        "documented",
        ("POST /inference/create",),
        "Request field with the GPU of a deployment",
        "lk_jupyter sends the GPU of a deployment in this field.",
    ),
    Assumption(
        "chat_prefix",
        f"{_EXTERNAL}/serverless",
        (_OPENAI, _EXTERNAL),
        "observed",
        _CHATS,
        "API path of chat, embeddings and the list of models",
        "Chat and embedding requests are sent to this path.",
        _check_prefix,
    ),
    Assumption(
        "router_prefix",
        f"{_EXTERNAL}/serverless",
        (_EXTERNAL, _OPENAI, ROUTE),
        "documented",
        ("POST /serverless/chat/completions", "POST /serverless/route"),
        "API path of chats in which the server chooses the model (lyceum/router, simple, complex, reasoning)",
        "These chats are sent to this path. If the value is route, POST /serverless/route first chooses the model.",
        _check_prefix,
    ),
    Assumption(
        "batch_prefix",
        _EXTERNAL,
        (_OPENAI, ABSENT),
        "inferred",
        _BATCHES,
        "API path of batches and their files",
        "Batches are sent to this path. If the server has no batches, each row is sent as a chat.",
        _check_prefix,
    ),
    Assumption(
        "longest_run",
        "600",
        ("300", "3600"),
        "documented",
        _STARTS,
        "Longest time limit that a run can have, in seconds",
        "lk_jupyter refuses a longer --timeout before it sends a request.",
        _check_seconds,
    ),
    Assumption(
        "notebook_limit",
        "600",
        ("300", "7200"),
        "observed",
        ("POST /execution/image/start",),
        "Longest time limit that a hosted Jupyter server can have, in seconds",
        "A hosted Jupyter server without --timeout gets this time limit.",
        _check_seconds,
    ),
    Assumption(
        "final_words",
        "",
        ("finalized=completed",),
        "documented",
        ("GET /execution/streaming/{execution_id}/status", "GET /execution/{execution_id}"),
        "Final run states whose names differ from the API description, each with the name in the description",
        "lk_jupyter treats a run in one of these states as ended.",
        _parse_list(_WORD, "states with their meaning, such as finalized=completed,halted=failed"),
    ),
    Assumption(
        "bucket_creation",
        "there",
        ("missing",),
        "observed",
        ("POST /storage/credentials",),
        "Whether an account has a bucket before the first upload",
        "The first upload creates the bucket.",
    ),
    Assumption(
        "frames",
        "survive",
        ("plain",),
        "inferred",
        _STREAM,
        "Whether logs keep control characters, which rich outputs need",
        "lk_jupyter recognizes rich outputs even if the logs have no control characters.",
    ),
    Assumption(
        "newlines",
        "extra",
        ("exact",),
        "observed",
        _STREAM,
        "Whether a stream has more newlines than the code printed",
        "lk_jupyter keeps the blank lines of a stream.",
        local="exact",
    ),
    Assumption(
        "stream_method",
        "POST",
        ("GET",),
        "observed",
        _STREAM,
        "HTTP method that opens the log stream of a run",
        "lk_jupyter opens log streams with this HTTP method.",
    ),
    Assumption(
        "stream_auth",
        "none",
        ("bearer",),
        "observed",
        _STREAM,
        "Whether the log stream of a run needs the API key",
        "lk_jupyter sends the API key with requests for log streams, but only to this server.",
    ),
    Assumption(
        "late_attach",
        "replay",
        ("none",),
        "observed",
        _STREAM,
        "Whether a log stream that is opened late also contains the earlier output",
        "lk_jupyter reads missed output from the run's record or the stored log.",
    ),
    Assumption(
        "absent_operations",
        "",
        ("GET /storage/block",),
        "documented",
        ("every operation",),
        "API operations that the server doesn't have",
        "Each of these operations raises OperationNotAvailable.",
        _parse_list(_OPERATION, "operations such as GET /storage/block, separated by commas"),
    ),
    Assumption(
        "gpu_selection",
        "offered",
        (ABSENT,),
        "documented",
        ("POST /execution/gpu_selection/start", "GET /execution/gpu_selection/{execution_id}/status"),
        "Whether the server can try a script on several GPU types",
        "%%lk_select starts one run for each GPU.",
    ),
    Assumption(
        "pricing_count",
        ABSENT,
        ("sent",),
        "observed",
        ("GET /pricing",),
        "Whether the list of prices contains the number of its rows",
        "No effect: lk_jupyter counts the rows.",
    ),
    Assumption(
        "metadata_echo",
        "echoed",
        ("dropped",),
        "inferred",
        ("GET /workloads/list", "GET /execution/{execution_id}", "GET /billing/history"),
        "Whether lists and records of runs contain the metadata of each run",
        "If the response to the request that starts a run is lost, lk_jupyter finds the run by its file name.",
    ),
    Assumption(
        "refused_fields",
        "",
        ("metadata",),
        "documented",
        (*_STARTS, "POST /batches"),
        "Optional request fields of a start that the server refuses: metadata, labels, run_name",
        "Starts are sent without these fields. A start whose response is lost is found by its file name.",
        _parse_list(r"metadata|labels|run_name", "fields such as metadata,labels, separated by commas"),
    ),
    Assumption(
        "import_files",
        "stored",
        (IGNORED,),
        "documented",
        ("POST /execution/streaming/start",),
        "Whether the files in a request (import_files) are in the folder of the run",
        "lk_jupyter sends the files inside the code of a run. Links and keys need --allow-secrets.",
    ),
    Assumption(
        "working_folder",
        "own",
        ("shared",),
        "inferred",
        ("POST /execution/streaming/start",),
        "Whether each Python run has a separate working folder",
        "No effect: the files of a run are always in a folder with the name of the run.",
    ),
    Assumption(
        "kernel_state",
        "own",
        ("kept",),
        "inferred",
        ("POST /execution/streaming/start",),
        "Whether the server keeps the variables of a run for the next run (kernel_state)",
        "No effect: sessions and --sync keep the variables without this feature of the server.",
    ),
    Assumption(
        "start_answer",
        "id",
        ("none",),
        "documented",
        (*_STARTS, "POST /vms/create", "POST /inference/create", "POST /batches"),
        "Whether the response to a request that starts something contains an id",
        "lk_jupyter finds the ids of started runs, VMs and deployments in the server's lists.",
    ),
    Assumption(
        "abort_answer",
        "message",
        ("empty",),
        "inferred",
        ("POST /workloads/abort/{execution_id}", "POST /workloads/stop/{execution_id}"),
        "Response of the server to a request that aborts a run",
        "No effect: lk_jupyter accepts any successful answer.",
    ),
    Assumption(
        "signin_lookup",
        "GET /machine-types",
        ("GET /user/status", "GET /user/org", "GET /workloads/list"),
        "observed",
        ("GET /machine-types", "GET /user/status", "GET /user/org", "GET /workloads/list"),
        "API operation that shows whether the server accepts an API key",
        "%lk_login checks the API key with this operation.",
    ),
)

_ROWS = {row.name: row for row in ASSUMPTIONS}

#: Assumption → the declared prefix of its paths, and the pattern of these paths.
_PLACED = {
    "chat_prefix": (f"{_EXTERNAL}/serverless", r"/(models|chat/completions|embeddings)"),
    "batch_prefix": (_EXTERNAL, r"/(batches|files)([/?].*)?"),
}


def find_assumption(name: str) -> Assumption:
    """Return an assumption of the table. Raises UsageError for an unknown name."""
    if name not in _ROWS:
        near = get_close_matches(name, _ROWS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Assumptions: {', '.join(_ROWS)}."
        raise UsageError(f"Unknown assumption '{name}'. {hint} List them: %lk_config")
    return _ROWS[name]


class Assumed(NamedTuple):
    """A value, and the source of the value in words."""

    value: str
    source: str


#: Where a value comes from of which nothing is known.
DEFAULT = "default"

#: Source of a value → words for the source.
_BY = {"check": "found by %lk_check on {}", "use": "found by a request on {}", "you": "set by you"}


class Assumptions:
    """The assumptions for a server: ``local``, or an address."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._file = servers_file()

    def __getitem__(self, name: str) -> str:
        return self.resolve(name).value

    def resolve(self, name: str) -> Assumed:
        """Return the value for this server, and the source of the value."""
        default = self.default(name)
        if (entry := _read_findings(self._file).get(self.server, {}).get(name)) is not None:
            return Assumed(entry["value"], _BY[entry["by"]].format(entry["on"]))
        return Assumed(default, DEFAULT)

    def default(self, name: str) -> str:
        """Return the value for a server without findings."""
        assumption = find_assumption(name)
        if assumption.local is None:
            return assumption.default
        is_local = self.server == LOCAL or (urlsplit(self.server).hostname or "") in LOOPBACK
        return assumption.local if is_local else assumption.default

    def set(self, name: str, value: str | None) -> None:
        """Store the user's value; None deletes the stored value. Raises UsageError for a value that doesn't fit."""
        self._store_changes({name: None if value is None else self._normalize_value(name, value)}, "you")

    def is_known(self, name: str) -> bool:
        """Whether anybody has found or set the value for this server."""
        return self.resolve(name).source != DEFAULT

    def store_finding(self, name: str, value: str, *, is_confirmed: bool = False) -> None:
        """Store a finding from an answer, unless the user set another value.

        A value that equals the assumption is stored only if ``is_confirmed``.
        """
        if value != self[name] or (is_confirmed and not self.is_known(name)):
            self._store_findings({name: value}, "use")

    def store_check(self, values: dict[str, str]) -> None:
        """Store the findings of a check, confirmed defaults too, unless the user set another value."""
        self._store_findings(values, "check")

    def _store_findings(self, values: dict[str, str], by: str) -> None:
        stored = _read_findings(self._file).get(self.server, {})
        yours = {name for name, entry in stored.items() if entry["by"] == "you"}
        changes: dict[str, str | None] = {
            name: self._normalize_value(name, value) for name, value in values.items() if name not in yours
        }
        if changes:
            self._store_changes(changes, by)

    def list_parts(self, name: str) -> tuple[str, ...]:
        """Return the parts of an assumption that has several."""
        return tuple(filter(None, self[name].split(SEPARATOR)))

    def candidates(self, name: str) -> list[str]:
        """Return the values that an assumption may have, the likeliest first."""
        return list(dict.fromkeys((self[name], find_assumption(name).default, *find_assumption(name).alternatives)))

    def lacks(self, operation: str) -> bool:
        """Whether the server is known not to have an operation, such as ``GET /storage/block``."""
        groups = (each.operations for each in ASSUMPTIONS if ABSENT in each.alternatives and self[each.name] == ABSENT)
        return any(operation in group for group in (self.list_parts("absent_operations"), *groups))

    def paths(self, path: str, model: str = "") -> list[str]:
        """Return possible paths of an operation, the likeliest first; ``path`` is the declared path.

        ``model`` is the model of a chat: a router may have another address.
        """
        chat = "/chat/completions"
        if (
            model.startswith(ROUTERS)
            and path == find_assumption("chat_prefix").default + chat
            and self["router_prefix"] != ROUTE
        ):
            return list(dict.fromkeys((self["router_prefix"] + chat, *self.paths(path))))
        for name, (declared, pattern) in _PLACED.items():
            if path.startswith(declared) and re.fullmatch(pattern, rest := path.removeprefix(declared)):
                return [prefix + rest for prefix in self.candidates(name) if prefix.startswith("/")]
        return [path]

    def store_path(self, declared: str, path: str) -> None:
        """Store where an operation was found."""
        for name, (prefix, _) in _PLACED.items():
            if declared.startswith(prefix) and path.endswith(rest := declared.removeprefix(prefix)):
                self.store_finding(name, path.removesuffix(rest))

    @staticmethod
    def _normalize_value(name: str, value: str) -> str:
        try:
            return find_assumption(name).normalize(value)
        except ValueError as form:
            raise UsageError(f"{GUESS}{name} takes {form}, got '{value}'. Nothing was changed.") from None

    def _store_changes(self, changes: dict[str, str | None], by: str) -> None:
        today = f"{datetime.now(timezone.utc).astimezone():%Y-%m-%d}"
        with _writing:
            every = {server: dict(stored) for server, stored in _read_findings(self._file).items()}
            entries = every.setdefault(self.server, {})
            for name, value in changes.items():
                entries.pop(name, None)
                if value is not None:
                    entries[name] = {"value": value, "by": by, "on": today}
            try:
                write_json(self._file, {server: stored for server, stored in every.items() if stored})
            except OSError as problem:
                if by == "you":
                    raise UsageError(f"Can't write '{self._file}' ({problem}). Nothing was changed.") from None


def read_final_words() -> dict[str, str]:
    """Return the words for an end that were found on any server, with the words of the API; none that differ."""
    words: dict[str, str] = {}
    for entries in _read_findings(servers_file()).values():
        for pair in filter(None, entries.get("final_words", {}).get("value", "").split(SEPARATOR)):
            word, _, meaning = pair.partition("=")
            words[word] = meaning if words.get(word, meaning) == meaning else ""
    return {word: meaning for word, meaning in words.items() if meaning}


def servers_file() -> Path:
    """Return the path of the file with the findings for each server; the file may be missing."""
    return platform_path("config", "servers.json")


_writing = threading.Lock()
_last: tuple[tuple[Path, int, int] | None, dict[str, dict[str, dict[str, str]]]] = (None, {})


def _read_findings(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Return the stored findings: server → assumption → value, source and day. Unreadable entries are omitted."""
    global _last  # noqa: PLW0603 (the file as it was read last)
    try:
        state = path.stat()
    except OSError:
        return {}
    version = (path, state.st_mtime_ns, state.st_size)
    if _last[0] != version:
        _last = (version, _read_sound_entries(path))
    return _last[1]


def _read_sound_entries(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    odd: list[str] = []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = list(_parse_entries(content, odd))
    except (OSError, ValueError, RecursionError, AttributeError):
        entries, odd = [], ["all of it"]
    if odd:
        _log.warning(
            "lk_jupyter: ignored the invalid value of %s in %s. Find the value again: %%lk_check", ", ".join(odd), path
        )
    servers: dict[str, dict[str, dict[str, str]]] = {}
    for server, name, entry in entries:
        servers.setdefault(server, {})[name] = entry
    return servers


def _parse_entries(content: Any, odd: list[str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    for server, stored in content.items():
        for name, entry in stored.items():
            try:
                by, day = entry["by"], datetime.strptime(entry["on"], "%Y-%m-%d").date()  # noqa: DTZ007 (a day)
                _ = _BY[by]
                yield server, name, {"value": _ROWS[name].normalize(entry["value"]), "by": by, "on": str(day)}
            except (KeyError, TypeError, ValueError, AttributeError):
                odd.append(repr(name)[:40])
