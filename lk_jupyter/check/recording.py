"""A recording of a check, to attach to a bug report: without keys, addresses, names and ids of people.

A recording contains only public data: enumerations, machine types and models of the product's catalogue, declared
measures and times. All other texts get consistent pseudonyms; sentences keep only words of the API. A recording that
still contains a secret is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel

from lk_jupyter import __version__
from lk_jupyter.api._endpoint import ENDPOINTS, Endpoint, describe_path, find_endpoint
from lk_jupyter.api.states import ACTIVE_STATES, FINAL_STATES
from lk_jupyter.api.vms import COMING_STATES, ENDED_STATES, UP_STATES
from lk_jupyter.check.findings import Exchange, Report
from lk_jupyter.config.assumptions import ASSUMPTIONS, SEPARATOR
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.id_forms import IdForm, describe_id_form, require_id_form
from lk_jupyter.text.secrets import find_secrets

#: Maximum rows of a list, and maximum bytes of a recording.
_ROWS, _BYTES = 5, 500_000

#: Maximum characters of a sentence.
_LONGEST = 10_000

#: Fields with words of an enumeration.
_WORD_FIELDS = frozenset(
    {"status", "state", "object", "type", "role", "kind", "level", "unit", "currency", "complexity", "event"}
    | {"execution_type", "job_type", "instance_type", "meter_slug", "resource", "finish_reason", "purpose"}
    | {"completion_window", "loc"}
)

#: Enumerations that are declared as plain text.
_ENUMERATED = frozenset(
    {"ok", "pong", "authenticated", "true", "false", "unknown", "paused", "created", "pending", "ready", "stopped"}
    | {"owner", "admin", "member", "viewer", "system", "user", "assistant", "tool"}
    | {"debug", "info", "warning", "error", "critical", "second", "hour", "token", "credit", "byte", "gb", "gb_hour"}
    | {"eur", "usd", "list", "model", "file", "batch", "embedding", "chat.completion", "chat.completion.chunk"}
    | {"stop", "length", "tool_calls", "content_filter", "batch_output", "24h", "simple", "medium", "complex"}
    | {"execution", "purchase", "grant", "refund", "voucher", "customer_image", "customer_notebook", "docker", "python"}
    | {
        "vm",
        "vm_running",
        "on-demand",
        "spot",
        "debit",
        "streaming",
        "block_volume",
        "serverless_inference_prompt_tokens",
        "serverless_inference_completion_tokens",
    }
    | {
        "serverless_inference_cached_prompt_tokens",
        "serverless",
        "missing",
        "string_type",
        "int_parsing",
        "value_error",
    }
    | {
        "body",
        "query",
        "path",
        "header",
        "greater_than_equal",
        "less_than_equal",
        "enum",
        "literal_error",
        "extra_forbidden",
    }
)

#: Answers of the product's catalogue, the same for all accounts, and the fields with their names.
_CATALOGUE = frozenset({"/machine-types", "/vms/availability", "/pricing", "/inference/models"})
_CATALOGUE_FIELDS = frozenset(
    {"hardware_profile", "hardware_profiles", "available_hardware_profiles", "gpu_type", "profile", "execution_type"}
    | {"serving_name", "hf_model_id", "model", "id", "deployment_id", "fastest", "cheapest", "best"}
)

#: A machine type: ``gpu.a100``, ``spot.h100.2x``, ``cpu``.
_MACHINE = re.compile(
    r"(?:(?:spot|on-demand)\.)?(?:gpu\.)?(?:cpu|(?:rtx|gb|mi|[abhltv])\d{1,4}[a-z]{0,2})(?:\.\d{1,2}x)?"
)
_MODEL = re.compile(r"(?:serverless:)?[\w.-]{1,40}/[\w.-]{1,60}", re.ASCII)

#: Suffixes of measures. Numbers of fields without such a suffix or a declaration are replaced.
_NO_MEASURE = re.compile(r"(?:_id|^id|phone|tax|vat|postal|zip|iban|card|account|number)(?:$|_)")

#: Fields with sentences of the server: private parts are replaced.
_SENTENCES = frozenset({"detail", "message", "msg", "error", "polling_message", "status_details"})

#: Fields that are removed with their content: they belong to the user, whatever their form.
_PRIVATE = frozenset({"metadata", "labels", "stdout", "stderr", "combined_output", "code", "import_files", "content"})

_STATES = FINAL_STATES | ACTIVE_STATES | UP_STATES | COMING_STATES | ENDED_STATES

#: A field name, a version, and a field name of a time.
_FIELD_NAME = re.compile(r"[a-z][a-z_]{0,40}")
_VERSION = re.compile(r"\d+(?:\.\d+){1,2}", re.ASCII)
_MOMENTS = re.compile(r"(?:_at|_time|^time|timestamp|_start|_end|^start|^end|updated|created|modified)$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d+)?")

#: Kind → pattern of private parts of a sentence.
_IN_SENTENCES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("email", re.compile(r"[\w.+-]{1,100}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,10}")),
    ("url", re.compile(r"\b(?:https?|wss?|s3|ssh)://[^\s\"'<>]+")),
    ("address", re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\b(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{0,4}\b")),
    ("id", re.compile(r"\b[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\b|\b(?=\w*\d)\w{16,}\b")),
    ("number", re.compile(r"\+?\d[\d ()/-]{6,30}\d")),
    ("name", re.compile(r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"")),
)


#: Words and numbers of a sentence, and pseudonyms.
_WORD = re.compile(r"[A-Za-z][A-Za-z_'-]*")
_TOKEN = re.compile(r"<[a-z ]+\d*>|[^\W\d_][\w'-]*|\d[\w.,:]*")
_FIGURE = re.compile(r"(?:0|[1-9]\d{0,4})(?:\.\d{1,6})?[.,:]?")

#: Words of refusals that the declarations lack.
_COMMON = (
    "a an and any are as at be been but by can cannot could did",
    "do does for from had has have if in into is isn't it its may",
    "more most must no not of on only or other our out please should such",
    "than that the their then there these they this to too under until up was",
    "were when where which while who will with within without would you your access account",
    "active after again allowed already always amount available bad balance before below between body busy",
    "cannot change check code configured connection contact content credit credits day days deleted denied depth",
    "disabled does doesn't down email empty enough error exceed exceeded exceeds exist exists expected expired",
    "extra fail failed failure fewer field fields file files forbidden format found gateway greater hour",
    "hours id implemented input insufficient integer internal invalid items json key later least length less",
    "limit list long machine match maximum member members message method minimum minute minutes missing model",
    "must name needs number object offline organization own parameter payment permission permitted positive proxy",
    "quota rate reached read reason refused rejected request required requires response retry run running runs",
    "second seconds server service short should size small sorry status stopped string support temporarily time",
    "timeout token try type unable unauthorized unavailable unexpected unknown address context data detail host",
    "equal none openapi msg port row rows ssh title unprocessable unsupported url use used user users valid validation",
    "value version wait was wrong yes GPU GPUs CPU VM VMs HTTP HTTPS API ID",
    "URL JSON UUID OK TLS",
)


#: Words with a capital letter, of the answers for a missing address and a missing method.
_ABSENT_WORDS = frozenset({"Not", "Found", "Allowed"})


class Pseudonyms:
    """Replace private texts by consistent pseudonyms."""

    def __init__(self, public: set[str], public_texts: Iterable[str] = ()) -> None:
        self.public = public  # machine types and models of the product, and states
        self.words = _list_api_words() | {word for text in public_texts for word in _TOKEN.findall(text)}
        self.kinds: set[str] = set()  # secrets in sentences, which aren't replaced
        self.forms: dict[str, IdForm] = {}  # pseudonym of an id → the form of the id
        self._pseudonyms: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def assign_id(self, value: IdForm) -> str:
        """Return the pseudonym of an id, and keep the form of the id; a text that contains an id has no form."""
        pseudonym = self.assign_pseudonym("id", str(value))
        with suppress(ValueError):
            self.forms.setdefault(pseudonym, require_id_form(describe_id_form(value)))
        return pseudonym

    def assign_pseudonym(self, kind: str, text: str) -> str:
        """Return the pseudonym of a text."""
        if text not in self._pseudonyms:
            self._count[kind] = self._count.get(kind, 0) + 1
            self._pseudonyms[text] = f"<{kind} {self._count[kind]}>"
        return self._pseudonyms[text]

    def iterate_private_texts(self) -> Iterator[str]:
        """Yield replaced texts that are long enough to be recognized."""
        return (text for text in self._pseudonyms if len(text) > 3 and not self.is_word(text))

    def is_word(self, text: str) -> bool:
        """Return whether a text is a word of the API, although a name may equal the word."""
        return (
            text in self.public
            or text in self.words
            or _MACHINE.fullmatch(text) is not None
            or text.lower() in _ENUMERATED | _STATES
            or text in _list_shared_kinds()
        )

    def clean_sentence(self, text: str) -> str:
        """Return the start of a sentence with pseudonyms for private parts."""
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        self.kinds.update(secret.kind for secret in find_secrets(text))
        for private_text in sorted(self.iterate_private_texts(), key=len, reverse=True):
            text = text.replace(private_text, self._pseudonyms[private_text])
        for kind, pattern in _IN_SENTENCES:
            text = pattern.sub(
                lambda match, kind=kind: _replace_unless_public(match[0], kind, self.assign_pseudonym),  # type: ignore[misc]
                text,
            )
        return self._replace_words(text)

    def _replace_words(self, text: str) -> str:
        """Return a sentence with pseudonyms for words and numbers that aren't words of the API."""
        pieces, end = list[str](), 0
        for match in _TOKEN.finditer(text):
            pieces.append(text[end : match.start()])
            before = text[max(0, match.start() - 4) : match.start()].rstrip()
            is_first = not before or before[-1] in ".:!?"
            pieces.append(
                match[0] if self._is_public(match[0], is_first=is_first) else self.assign_pseudonym("word", match[0])
            )
            end = match.end()
        return "".join([*pieces, text[end:]])

    def _is_public(self, token: str, *, is_first: bool) -> bool:
        if token.startswith("<") or token in self.public or token in self.words:
            return True
        if token[0].isdigit():
            return _FIGURE.fullmatch(token) is not None
        return is_first and token.lower() in self.words


def _replace_unless_public(text: str, kind: str, pseudonym: Callable[[str, str], str]) -> str:
    if text.startswith("<") or (kind == "name" and (_FIELD_NAME.fullmatch(text[1:-1]) or text[1:-1].startswith("<"))):
        return text
    return pseudonym(kind, text)


def require_writable_path(path: Path) -> None:
    """Raise UsageError if a file can't be written."""
    if path.exists() or not path.absolute().parent.is_dir():
        why = "exists already" if path.exists() else "has no folder"
        raise UsageError(f"--record '{path}' {why}. Nothing was sent. Name another file.")


def write(path: Path, report: Report) -> None:
    """Write a recording. Raises UsageError, before anything is written, if private data remains."""
    path.write_text(format_recording(report), encoding="utf-8")


def format_recording(report: Report) -> str:
    """Return a recording without private data. Raises UsageError if private data remains."""
    names = Pseudonyms(
        {word for each in report.exchanges for word in _iterate_catalogue_names(each.body, _find_endpoint(each))}
        | set(_iterate_final_words(report)),
        (
            words
            for each in report.findings
            for words in (each.expected, each.operation, each.name, "" if each.deviates else each.found)
        ),
    )
    host = urlsplit(report.client.base_url).hostname or ""
    names.assign_pseudonym("host", host)
    steps = [
        (each, _replace_private(each.body, "", names, _list_answer_kinds(each))) for each in report.exchanges
    ]  # collect names before cleaning sentences
    exchanges = [
        {
            "request": f"{each.method} {_replace_path(each, names)}",
            "status": each.status,
            **_describe_times(each),
            "answer": _clean_sentences(cleaned, names),
        }
        for each, cleaned in steps
    ]
    findings = [
        {name: names.clean_sentence(str(getattr(each, name))) for name in ("operation", "expected", "found", "name")}
        for each in report.findings
    ]
    content = {"lk_jupyter": __version__, "findings": findings, "ids": names.forms, "seen": exchanges}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    if len(text) > _BYTES:
        text = json.dumps({**content, "seen": [{**each, "answer": "<left out>"} for each in exchanges]}, indent=1)
    _refuse_secrets(text, names)
    return text


def _describe_times(exchange: Exchange) -> dict[str, Any]:
    if exchange.request_time is None:
        return {}
    return {
        "request_time": exchange.request_time.isoformat(timespec="milliseconds"),
        "seconds": round(exchange.seconds, 3),
    }


def _iterate_final_words(report: Report) -> Iterator[str]:
    """Yield the words that the server uses for the end of a run: an enumeration of the server, as states are."""
    for pair in report.values.get("final_words", "").split(SEPARATOR):
        word = pair.partition("=")[0]
        if _FIELD_NAME.fullmatch(word):
            yield word


def _refuse_secrets(text: str, names: Pseudonyms) -> None:
    kinds = names.kinds | {secret.kind for secret in find_secrets(text)}
    kinds |= {"something private" for private in names.iterate_private_texts() if _contains_private(private, text)}
    if kinds:
        raise UsageError(f"The recording would contain a secret ({', '.join(sorted(kinds))}). Nothing was written.")


def _contains_private(private: str, text: str) -> bool:
    plain = json.dumps(private, ensure_ascii=False)[1:-1]
    if plain not in text:
        return False
    written = re.escape(plain)
    return re.search(rf"(?<![\w.-]){written}(?![\w-]|\.\w)", text) is not None


def _replace_path(exchange: Exchange, names: Pseudonyms) -> str:
    """Return a path as declared; replace the words of an undeclared path."""
    path = exchange.path.partition("?")[0]
    return describe_path(exchange.method, path) or names.clean_sentence(path)


class _Sentence(str):
    """A sentence of the server, cleaned once all names are known."""

    __slots__ = ()


def _replace_private(value: Any, field: str, names: Pseudonyms, kinds: Mapping[str, frozenset[str]]) -> Any:
    """Return JSON with pseudonyms for private values. Sentences are cleaned later."""
    if field in _PRIVATE and value is not None:
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {
            _replace_field_name(name, names): _replace_private(inner, str(name), names, kinds)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        rows = [_replace_private(inner, field, names, kinds) for inner in value[:_ROWS]]
        return [*rows, f"<{len(value) - _ROWS} more>"] if len(value) > _ROWS else rows
    kind = kinds.get(field, frozenset())
    if isinstance(value, str):
        return _replace_text(value, field, names, kind)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _replace_number(value, field, names, kind)
    return value


def _replace_number(value: float, field: str, names: Pseudonyms, kind: frozenset[str]) -> Any:
    """Return measures unchanged, ids as pseudonyms, and the number of digits of other numbers."""
    if _NO_MEASURE.search(field):
        return names.assign_id(value) if isinstance(value, int) else names.assign_pseudonym("id", str(value))
    if kind & {"number", "time"} or _MOMENTS.search(field):
        return value
    return 1.5 if isinstance(value, float) else 10 ** (len(str(abs(value))) - 1)


def _replace_field_name(name: str, names: Pseudonyms) -> str:
    """Return a declared field name, or a name of API words, unchanged; otherwise a pseudonym."""
    parts = name.split("_")
    is_field = _FIELD_NAME.fullmatch(name) and all(part in names.words for part in parts)
    return name if is_field or names.is_word(name) else names.assign_pseudonym("name", name)


def _replace_text(value: str, field: str, names: Pseudonyms, kind: frozenset[str]) -> Any:
    if not value or field in _SENTENCES:
        return _Sentence(value)
    is_public = _is_word(value, field, names) or _is_measure(value, field, kind)
    if is_public:
        return value
    kind_name = _classify_text(value, field)
    return names.assign_id(value) if kind_name == "id" else names.assign_pseudonym(kind_name, value)


def _is_word(value: str, field: str, names: Pseudonyms) -> bool:
    """Return whether a text is a word of an enumeration or of the product's catalogue."""
    if field in _CATALOGUE_FIELDS and (value in names.public or _MACHINE.fullmatch(value)):
        return True
    if field == "loc":  # a field of a request
        return names.is_word(value)
    is_enumerated = value.lower() in _ENUMERATED | _STATES or value in _list_shared_kinds()
    return field in _WORD_FIELDS and (is_enumerated or value in names.public)


def _is_measure(value: str, field: str, kind: frozenset[str]) -> bool:
    """Return whether a text is a time, a declared number, or a version."""
    if _TIME.fullmatch(value):
        return "time" in kind or _MOMENTS.search(field) is not None
    if _NUMBER.fullmatch(value) and "number" in kind:
        return not _NO_MEASURE.search(field)
    return field == "version" and _VERSION.fullmatch(value) is not None


def _find_endpoint(exchange: Exchange) -> Endpoint | None:
    return find_endpoint(exchange.method, exchange.path.partition("?")[0])


def _iterate_catalogue_names(value: Any, endpoint: Endpoint | None, field: str = "") -> Iterator[str]:
    """Yield the machine types and models in an answer of the catalogue."""
    if endpoint is None or endpoint.method != "GET" or endpoint.path not in _CATALOGUE:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _iterate_catalogue_names(inner, endpoint, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _iterate_catalogue_names(inner, endpoint, field)
    elif (
        isinstance(value, str) and field in _CATALOGUE_FIELDS and (_MACHINE.fullmatch(value) or _MODEL.fullmatch(value))
    ):
        yield from {value, value.removeprefix("serverless:")}


def _list_answer_kinds(exchange: Exchange) -> Mapping[str, frozenset[str]]:
    """Return the kinds of an answer's fields: from its operation, then from other declarations."""
    endpoint = _find_endpoint(exchange)
    return {**_list_shared_kinds(), **(_list_field_kinds(endpoint) if endpoint else {})}


@cache
def _list_shared_kinds() -> dict[str, frozenset[str]]:
    """Return the kinds of each declared field that all declarations share."""
    kinds: dict[str, frozenset[str]] = {}
    for endpoint in ENDPOINTS:
        for name, kind in _list_field_kinds(endpoint).items():
            kinds[name] = kinds.get(name, kind) & kind
    return kinds


@cache
def _list_field_kinds(endpoint: Endpoint) -> dict[str, frozenset[str]]:
    """Return the kinds of the fields of an operation's answer: ``number``, ``time`` or ``text``."""
    kinds: dict[str, frozenset[str]] = {}
    for model in _iterate_models(endpoint.returns, set()):
        for name, field in model.model_fields.items():
            kinds[name] = kinds.get(name, frozenset()) | frozenset(_iterate_leaf_kinds(field.annotation))
    return kinds


def _iterate_models(kind: Any, visited: set[Any]) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in visited:
        visited.add(kind)
        yield kind
        for field in kind.model_fields.values():
            yield from _iterate_models(field.annotation, visited)
    for part in get_args(kind):
        yield from _iterate_models(part, visited)


def _iterate_leaf_kinds(kind: Any) -> Iterator[str]:
    if kind in {int, float, Decimal}:
        yield "number"
    elif kind is datetime:
        yield "time"
    elif kind is str:
        yield "text"
    for part in get_args(kind):
        yield from _iterate_leaf_kinds(part)


@cache
def _list_api_words() -> frozenset[str]:
    """Return the words of the API: declarations, fields, enumerations and common English refusals."""
    texts = [*_COMMON, *_ENUMERATED, *_STATES, *_WORD_FIELDS, *_CATALOGUE_FIELDS, *_SENTENCES, *_PRIVATE]
    for endpoint in ENDPOINTS:
        texts += [
            endpoint.__doc__ or "",
            endpoint.server + endpoint.path,
            endpoint.name,
            *endpoint.signature.parameters,
        ]
        bodies = (row.annotation for row in endpoint.signature.parameters.values())
        texts += [name for body in bodies for model in _iterate_models(body, set()) for name in model.model_fields]
    texts += [name.replace("_", " ") for name in _list_shared_kinds()]
    texts += list(_list_shared_kinds())
    texts += [text for row in ASSUMPTIONS for text in (row.default, *row.alternatives)]
    texts += [each.method for each in ENDPOINTS]
    words = {word for text in texts for pattern in (_WORD, _TOKEN) for word in pattern.findall(text)}
    return frozenset(word for word in words if word.islower() or word.isupper()) | _ABSENT_WORDS


def _classify_text(value: str, field: str) -> str:
    for kind, pattern in _IN_SENTENCES[:-1]:
        if pattern.search(value):
            return kind
    return "id" if field.endswith("id") else "name" if "name" in field or "slug" in field else "text"


def _clean_sentences(value: Any, names: Pseudonyms) -> Any:
    if isinstance(value, _Sentence):
        return names.clean_sentence(str(value))
    if isinstance(value, dict):
        return {name: _clean_sentences(inner, names) for name, inner in value.items()}
    return [_clean_sentences(inner, names) for inner in value] if isinstance(value, list) else value
