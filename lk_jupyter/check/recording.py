"""What a check has seen, as a file that can be attached to a report of a bug: nobody's keys, addresses, names or ids.

What is kept is what is known to be public: words of the API, numbers, times. Every other text gets a pseudonym, the
same everywhere. What is left is looked through for secrets, and refused where one is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lk_jupyter import __version__
from lk_jupyter.api._endpoint import ENDPOINTS, PLACEHOLDER
from lk_jupyter.api.states import ACTIVE_STATES, FINAL_STATES
from lk_jupyter.check.findings import Exchange, Report
from lk_jupyter.errors import UsageError
from lk_jupyter.text.secrets import find

#: Rows of a list that are kept, and bytes of the file.
_ROWS, _BYTES = 5, 500_000

#: Characters of a sentence that are kept.
_LONGEST = 10_000

#: Fields whose texts are words of the API; the texts of any other field are replaced.
_PUBLIC = frozenset(
    {"status", "state", "object", "type", "role", "kind", "level", "stream", "unit", "currency", "loc", "version"}
    | {"hardware_profile", "hardware_profiles", "available_hardware_profiles", "gpu_type", "instance_type"}
    | {"execution_type", "job_type", "meter_slug", "resource", "finish_reason", "purpose", "completion_window"}
    | {"unit_price", "unit_price_per_hour", "price_per_hour", "balance", "amount", "category", "source", "region"}
    | {"created_at", "started_at", "ended_at", "start_time", "end_time", "finish_time", "execelet_start"}
    | {"updated_at", "expires_at", "timestamp", "complexity", "owned_by"}
)

#: Fields whose texts are sentences of the server: what is private in them is replaced.
_SENTENCES = frozenset({"detail", "message", "msg", "error", "polling_message", "status_details"})

#: Fields that are dropped with all that they hold: they belong to the caller, whatever their form.
_PRIVATE = frozenset({"metadata", "labels", "stdout", "stderr", "combined_output", "code", "import_files", "content"})

_STATES = FINAL_STATES | ACTIVE_STATES

#: A name of a field, and a word of the API: what else may be a name that somebody gave.
_FIELD_NAME = re.compile(r"[a-z][a-z_]{0,40}")
_WORDS = re.compile(r"[a-z]+(?:[._-][a-z0-9]{1,20}){0,4}|\d+(?:\.\d+){1,2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d+)?")

#: Kind → what is private anywhere in a sentence.
_IN_SENTENCES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("email", re.compile(r"[\w.+-]{1,100}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,10}")),
    ("url", re.compile(r"\b(?:https?|wss?|s3|ssh)://[^\s\"'<>]+")),
    ("address", re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\b(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{0,4}\b")),
    ("id", re.compile(r"\b[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\b|\b(?=\w*\d)\w{16,}\b")),
    ("name", re.compile(r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"")),
)


class Pseudonyms:
    """Gives each private text a pseudonym, the same everywhere."""

    def __init__(self, public: set[str]) -> None:
        self.public = public | _STATES
        self.kinds: set[str] = set()  # of secrets in sentences, which are not replaced part by part
        self._known: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def of(self, kind: str, text: str) -> str:
        """Return the pseudonym of a text."""
        if text not in self._known:
            self._count[kind] = self._count.get(kind, 0) + 1
            self._known[text] = f"<{kind} {self._count[kind]}>"
        return self._known[text]

    def private(self) -> Iterator[str]:
        """Yield what was replaced, as far as it is long enough to be found again."""
        return (text for text in self._known if len(text) > 3)

    def sentence(self, text: str) -> str:
        """Return a sentence, or its first part, with pseudonyms in place of what is private in it."""
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        self.kinds.update(secret.kind for secret in find(text))
        for known in sorted(self.private(), key=len, reverse=True):
            text = text.replace(known, self._known[known])
        for kind, pattern in _IN_SENTENCES:
            text = pattern.sub(lambda match, kind=kind: _kept(match[0], kind, self.of), text)  # type: ignore[misc]
        return text


def _kept(text: str, kind: str, of: Callable[[str, str], str]) -> str:
    if text.startswith("<") or (kind == "name" and (_FIELD_NAME.fullmatch(text[1:-1]) or text[1:-1].startswith("<"))):
        return text
    return of(kind, text)


def check_target(path: Path) -> None:
    """Raise UsageError where a file can't be written."""
    if path.exists() or not path.absolute().parent.is_dir():
        why = "exists already" if path.exists() else "has no folder"
        raise UsageError(f"--record '{path}' {why}. Nothing was sent. Name another file.")


def write(path: Path, report: Report) -> None:
    """Write what was seen. Raises UsageError where something private is left; then nothing is written."""
    path.write_text(text_of(report), encoding="utf-8")


def text_of(report: Report) -> str:
    """Return what was seen, without what is private. Raises UsageError where some of it is left."""
    names = Pseudonyms({word for each in report.exchanges for word in _public_in(each.body)})
    host = urlsplit(report.client.base_url).hostname or ""
    names.of("host", host)
    steps = [(each, _cleaned(each.body, "", names)) for each in report.exchanges]  # names are known before sentences
    seen = [
        {
            "request": f"{each.method} {_path(each, names)}",
            "status": each.status,
            "answer": _sentences(cleaned, names),
        }
        for each, cleaned in steps
    ]
    findings = [
        {name: names.sentence(str(getattr(each, name))) for name in ("operation", "expected", "found", "name")}
        for each in report.findings
    ]
    content = {"lk_jupyter": __version__, "findings": findings, "seen": seen}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    if len(text) > _BYTES:
        text = json.dumps({**content, "seen": [{**each, "answer": "<left out>"} for each in seen]}, indent=1)
    _refuse_secrets(text, names)
    return text


def _refuse_secrets(text: str, names: Pseudonyms) -> None:
    kinds = names.kinds | {secret.kind for secret in find(text)}
    kinds |= {"something private" for private in names.private() if _stands_in(private, text)}
    if kinds:
        raise UsageError(f"The recording would hold a secret ({', '.join(sorted(kinds))}). Nothing was written.")


def _stands_in(private: str, text: str) -> bool:
    plain = json.dumps(private, ensure_ascii=False)[1:-1]
    if plain not in text:
        return False
    written = re.escape(plain)
    return re.search(rf"(?<![\w.-]){written}(?![\w-]|\.\w)", text) is not None


_SERVED = [
    (re.compile(PLACEHOLDER.sub("[^?]+", re.sub(r"([.])", r"\\\1", each.path))), each.path) for each in ENDPOINTS
]


def _path(exchange: Exchange, names: Pseudonyms) -> str:
    """Return a path as it is declared; a path that is not declared loses its words."""
    path = exchange.path.partition("?")[0]
    for prefix in ("/api/v2/external", "/openai/v1", "/api/v1", "/iris"):
        rest = path.removeprefix(prefix)
        found = [declared for pattern, declared in _SERVED if rest != path and pattern.fullmatch(rest)]
        if found:
            return prefix + min(found, key=lambda declared: declared.count("{"))
    return names.sentence(path)


class _Sentence(str):
    """A sentence of the server, to be cleaned once all names are known."""

    __slots__ = ()


def _cleaned(value: Any, field: str, names: Pseudonyms) -> Any:
    """Return JSON with pseudonyms in place of what is private; sentences wait."""
    if field in _PRIVATE and value is not None:
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {_key(name, names): _cleaned(inner, str(name), names) for name, inner in value.items()}
    if isinstance(value, list):
        rows = [_cleaned(inner, field, names) for inner in value[:_ROWS]]
        return [*rows, f"<{len(value) - _ROWS} more>"] if len(value) > _ROWS else rows
    if isinstance(value, str):
        return _text(value, field, names)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and field.endswith(("_id", "id")):
        return names.of("id", str(value))
    return value


def _key(name: str, names: Pseudonyms) -> str:
    return name if _FIELD_NAME.fullmatch(name) or name in names.public else names.of("name", name)


def _text(value: str, field: str, names: Pseudonyms) -> Any:
    if not value or field in _SENTENCES:
        return _Sentence(value)
    is_figure = _TIME.fullmatch(value) or _NUMBER.fullmatch(value)
    if value in names.public or (is_figure and not field.endswith("id") and "name" not in field):
        return value
    return names.of(_kind(value, field), value)


def _public_in(value: Any, field: str = "") -> Iterator[str]:
    """Yield the words of the API in an answer, wherever else they stand."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _PRIVATE:
                yield from _public_in(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _public_in(inner, field)
    elif isinstance(value, str) and field in _PUBLIC and len(value) < 41 and _WORDS.fullmatch(value):
        yield value


def _kind(value: str, field: str) -> str:
    for kind, pattern in _IN_SENTENCES[:-1]:
        if pattern.search(value):
            return kind
    return "id" if field.endswith("id") else "name" if "name" in field or "slug" in field else "text"


def _sentences(value: Any, names: Pseudonyms) -> Any:
    if isinstance(value, _Sentence):
        return names.sentence(str(value))
    if isinstance(value, dict):
        return {name: _sentences(inner, names) for name, inner in value.items()}
    return [_sentences(inner, names) for inner in value] if isinstance(value, list) else value
