"""Find apparent secrets: keys with a known shape in any text, and secrets that this process uses.

Most shapes come from detect-secrets, which is only imported when a text contains a mark of such a shape. Guesses by
entropy, and shapes that ordinary words match too, are left out: users soon disable a guard with false alarms.

This module also removes secrets from text for notebooks. A notebook is committed, mailed and published, so all of its
outputs are redacted: log, rich output, stderr, messages of errors. The log file isn't changed: it contains the exact
bytes of the run's output, because a new connection continues the file byte by byte. The file is in a folder that only
its owner can read, and in no notebook.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import quote

from lk_jupyter.config.settings import setting


@dataclass(frozen=True)
class SecretSpan:
    """The position of a secret in a text, and the kind of the secret; never the secret itself."""

    kind: str
    start: int
    end: int
    keep: str = ""  # the part that may be shown: the mark at the start


@dataclass(frozen=True)
class SecretPattern:
    """A shape of secrets: a text without any of the ``marks``, or without ``also``, contains no such secret.

    ``pattern`` is our regular expression, or the name of a detector in detect-secrets. With ``inner``, the secret is
    the only group of the pattern. ``real`` separates a key from a word of the same shape. With ``backwards``, the
    secret starts at the start of its word.
    """

    kind: str
    marks: tuple[str, ...]
    pattern: str
    inner: bool = False
    real: Callable[[str], bool] | None = None
    also: str = ""
    backwards: bool = False

    def may_be_in(self, text: str) -> bool:
        """Return whether the text may contain such a secret; this check is fast."""
        return self.also in text and any(mark in text for mark in self.marks)

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The compiled patterns; the library's are imported here."""
        return (
            tuple(import_detector(self.pattern).denylist)
            if _LIBRARY.fullmatch(self.pattern)
            else (re.compile(self.pattern),)
        )

    def find(self, text: str) -> Iterator[SecretSpan]:
        """Yield the secrets of this shape."""
        for pattern in self.patterns:
            at = at_least = 0
            while match := pattern.search(text, at):
                start, end = match.span(1) if self.inner and match.re.groups else match.span()
                at = max(match.end(), match.start() + 1)
                if self.real is None or self.real(text[start:end]):
                    end = end if self.inner else _find_word_end(text, end)
                    start = _find_word_start(text, start, at_least) if self.backwards else start
                    at = at_least = max(at, end)
                    keep = next((mark for mark in self.marks if text.startswith(mark, start)), "")
                    yield SecretSpan(self.kind, start, end, keep)


#: The start of a word: after a character that isn't a letter, except in escapes of JSON or repr, and in colors.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\[[0-9]m)|(?<=[0-9][0-9]m))"
_LIBRARY = re.compile(r"\w+:\w+Detector")
_WORD = re.compile(r"[\w+/=-]*(?:\.[\w+/=-]+)*")
_PLACE = re.compile(r"\{.*\}|<.*>|[$%].*|\*+|x+|\.+")
_NAME = re.compile(r"[a-z]+\d{0,4}|[A-Z]+|\d+|")


@cache
def import_detector(name: str) -> Any:
    """Return a detector of detect-secrets, and import the library.

    The import makes ``logging`` capture the warnings of the process, which belong to the user; this function undoes
    that.
    """
    module, _, kind = name.partition(":")
    show = warnings.showwarning
    plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), kind)()
    if warnings.showwarning is not show:
        logging.captureWarnings(False)  # noqa: FBT003
    return plugin


def _find_word_start(text: str, start: int, at_least: int) -> int:
    while start > at_least and (text[start - 1].isalnum() or text[start - 1] in "_-"):
        start -= 1
    return start


def _find_word_end(text: str, end: int) -> int:
    """Return the end of the word: some patterns only match the start of a key."""
    rest = _WORD.match(text, end)
    return rest.end() if rest else end


def _is_no_identifier(key: str) -> bool:
    """Whether this is no name in a program, such as lk_checkpoint_every_100."""
    return not all(map(_NAME.fullmatch, re.split("[_-]", key.removeprefix("lk_"))))


def _is_real_password(password: str) -> bool:
    """Whether this is no place for a password, such as {password}, $PASSWORD or ***."""
    return not _PLACE.fullmatch(password)


def _is_web_token(token: str) -> bool:
    """Whether the parts of this are JSON, as in a web token."""
    valid: bool = import_detector(_JWT_DETECTOR).is_formally_valid(token)
    return valid


_PART = "[A-Za-z0-9_=-]"
_JWT_DETECTOR = "jwt:JwtTokenDetector"

#: The library's pattern restarts at each mark: this pattern only tries words with a dot, once each.
_JWT = SecretPattern(
    "JSON Web Token",
    ("eyJ",),
    rf"(?<!{_PART})(?={_PART}+\.{_PART}){_PART}*?(eyJ{_PART}+\.{_PART}+(?:\.[A-Za-z0-9_+/=-]+)*)",
    inner=True,
    real=_is_web_token,
    also=".",
)

_GITLAB = ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "glcbt-", "glimt-", "glptt-", "glagent-", "gloas-")

SHAPES = (
    SecretPattern("API key of Lyceum Cloud", ("lk_",), rf"{_BEGIN}lk_[\w-]{{16,}}", real=_is_no_identifier),
    _JWT,
    SecretPattern(
        "signed URL",
        ("X-Amz-",),
        r"(?<=\?)[^\s\"'<>\\?]*X-Amz-(?:Signature|Credential|Security-Token)=[^\s\"'<>\\]*",
    ),
    SecretPattern(
        "private key",
        ("PRIVATE KEY",),
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:[\w+/=\s\\:;,.]|-(?!-))*-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\]*)",
    ),
    SecretPattern("private key", ("PRIVATE KEY", "PuTTY-User-Key"), "private_key:PrivateKeyDetector"),
    SecretPattern(
        "AWS key", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws", "AWS", "Aws"), "aws:AWSKeyDetector", inner=True
    ),
    SecretPattern("Azure storage key", ("AccountKey=",), "azure_storage_key:AzureStorageKeyDetector"),
    SecretPattern(
        "password in a URL",
        ("://",),
        r"://[^\s:/?#@\[\]]+:([^\s:/?#@\[\]]+)@",
        inner=True,
        real=_is_real_password,
        also="@",
    ),
    SecretPattern("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), "github_token:GitHubTokenDetector"),
    SecretPattern("GitHub token", ("github_pat_",), r"github_pat_\w{22,}"),
    SecretPattern("GitLab token", (*_GITLAB, "GR1348941"), "gitlab_token:GitLabTokenDetector"),
    SecretPattern("Google key", ("AIza",), r"AIza[\w-]{35}"),
    SecretPattern("Hugging Face token", ("hf_",), rf"{_BEGIN}hf_[A-Za-z0-9]{{30,}}"),
    SecretPattern("Anthropic key", ("sk-ant-",), r"sk-ant-[\w-]{20,}"),
    SecretPattern("OpenAI key", ("sk-proj-", "sk-svcacct-", "sk-admin-"), r"sk-(?:proj|svcacct|admin)-[\w-]{20,}"),
    SecretPattern("OpenAI key", ("T3BlbkFJ",), "[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", also="sk-", backwards=True),
    SecretPattern("Mailchimp key", ("-us",), "mailchimp:MailchimpDetector"),
    SecretPattern("npm token", (":_authToken=",), r":_authToken=\s*(npm_\S+|[A-Fa-f0-9-]{36})", inner=True),
    SecretPattern("PyPI token", ("pypi-Ag",), "pypi_token:PypiTokenDetector"),
    SecretPattern("SendGrid key", ("SG.",), "sendgrid:SendGridDetector"),
    SecretPattern("Slack token", ("xox", "XOX", "hooks.slack.com"), "slack:SlackDetector"),
    SecretPattern("Square secret", ("sq0csp-",), "square_oauth:SquareOAuthDetector"),
    SecretPattern("Stripe key", ("sk_live_", "rk_live_"), "stripe:StripeDetector"),
)


#: Finds a mark of any of the shapes.
MARKS = re.compile("|".join(sorted({re.escape(mark) for shape in SHAPES for mark in shape.marks})))

#: A secret in use that is shorter would be found in ordinary words.
SHORTEST = 8

#: Secrets in use that are kept: credentials of the bucket change every hour.
_MOST = 200

#: Secrets that are never shown in output and journal, in all their forms, longest first.
in_use: tuple[str, ...] = ()
_in_use_secrets: dict[str, None] = {}
_lock = threading.Lock()


def register_secrets(*secrets: str | None) -> None:
    """Never show these secrets from now on, unchanged or in the forms of JSON, HTML and URLs.

    For keys, session tokens, credentials of the bucket and hidden input, at the place where they enter.
    """
    global in_use  # noqa: PLW0603 (a process has one set of secrets)
    fresh = [secret for secret in secrets if secret and len(secret) >= SHORTEST and secret not in _in_use_secrets]
    if not fresh:
        return
    with _lock:
        _in_use_secrets.update(dict.fromkeys(fresh))
        for oldest in list(_in_use_secrets)[:-_MOST]:
            del _in_use_secrets[oldest]
        forms = {
            form
            for secret in _in_use_secrets
            for form in (secret, escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""))
        }
        in_use = tuple(sorted(forms, key=len, reverse=True))


def possible_shapes(text: str) -> tuple[SecretPattern, ...]:
    """Return the shapes whose secrets the text may contain; a fast check, for many lines together."""
    return tuple(shape for shape in SHAPES if shape.may_be_in(text))


def find_secrets(
    text: str, secrets: tuple[str, ...] = (), shapes: Iterable[SecretPattern] = SHAPES
) -> list[SecretSpan]:
    """Return the secrets in a text, in order; overlapping secrets are joined.

    ``secrets`` are secrets of any shape, in addition to the secrets that this process uses.
    """
    spans = [
        SecretSpan("key in use here", *match.span(), "lk_" if value.startswith("lk_") else "")
        for value in (*secrets, *in_use)
        if value and value in text
        for match in re.finditer(re.escape(value), text)
    ]
    if MARKS.search(text):
        for shape in shapes:
            if shape.may_be_in(text):
                spans += shape.find(text)
    return _join_overlaps(sorted(spans, key=lambda secret: secret.start)) if spans else spans


def _join_overlaps(secrets: list[SecretSpan]) -> list[SecretSpan]:
    """Join overlapping secrets."""
    apart = secrets[:1]
    for secret in secrets[1:]:
        last = apart[-1]
        if secret.start >= last.end:
            apart.append(secret)
        elif secret.end > last.end:
            apart[-1] = SecretSpan(last.kind, last.start, secret.end, last.keep)
    return apart


class SecretFinding(NamedTuple):
    """The place and the kind of an apparent secret; never the secret itself."""

    where: str
    kind: str

    def __str__(self) -> str:
        return f"{self.where} ({self.kind})"


MARK = "…[redacted]"

#: Color sequences of terminals.
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_KEY_BEGIN, _KEY_END = "PRIVATE KEY", "-----END "

#: Marks of a last word that may become a secret when more text arrives: marks in no ordinary word, and passwords.
_TELLING = (mark for shape in SHAPES for mark in shape.marks if re.search(r"[_=-]|[a-z][A-Z]|[A-Z]{4}", mark))
_KEY_PREFIX = re.compile("|".join(map(re.escape, _TELLING)))

#: Characters of a secret in use from which on a partial match counts as its start.
_FEW = 4


def redact(text: str, shapes: Iterable[SecretPattern] = SHAPES) -> str:
    """Return the text with a mark in place of each secret; if secret_guard is off, only of secrets in use."""
    clean = mask_secrets(text, shapes)
    return clean if clean is text or setting("secret_guard") != "off" else mask_secrets(text, ())


def mask_secrets(text: str, shapes: Iterable[SecretPattern] = SHAPES) -> str:
    """Return the text with a mark in place of each secret, independent of the settings.

    Text with secrets loses its colors, because color sequences may be inside a secret.
    """
    plain = COLOUR.sub("", text) if "\x1b" in text else text
    if _is_clean(plain):
        return text
    spans = find_secrets(plain, shapes=shapes)
    if not spans:
        return text
    parts, at = [], 0
    for secret in spans:
        parts += [plain[at : secret.start], secret.keep, MARK]
        at = secret.end
    return "".join([*parts, plain[at:]])


def _is_clean(plain: str) -> bool:
    """Return whether the text certainly contains no secret: most texts don't even contain a mark."""
    return not MARKS.search(plain) and not any(secret in plain for secret in in_use)


def _find_secret_start(line: str) -> int:
    """Return the position at the end of a line where a secret may start, or the length of the line."""
    last = len(line) - len(line.rpartition(" ")[2].rpartition("\t")[2])
    match = _KEY_PREFIX.search(line, last)
    starts = [match.start()] if match else []
    address = line.rfind("://", last) + 3
    if address >= 3 + last and ":" in line[address + 1 :] and not set(line[address:]) & set("/@"):
        starts.append(address)
    for secret in in_use:
        lengths = range(min(len(secret), len(line)), _FEW - 1, -1)
        starts += [len(line) - length for length in lengths if line.endswith(secret[:length])][:1]
    return min(starts, default=len(line))


def redact_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Return a MIME bundle with all texts redacted, at any depth; pictures don't change."""
    pictures = {mime for mime in data if mime.startswith("image/") and mime != "image/svg+xml"}
    return {mime: value if mime in pictures else redact_values(value) for mime, value in data.items()}


def redact_payload(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the redacted data and the metadata of an output of a run; an empty text for damaged data."""
    data, metadata = payload.get("data"), payload.get("metadata")
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        return {"text/plain": ""}, {}
    content = {
        str(kind): form if isinstance(form, str) or not _is_text(kind) else str(form) for kind, form in data.items()
    }
    return redact_bundle(content), metadata


def _is_text(kind: str) -> bool:
    """Return whether a notebook shows this MIME type as text, where pictures count as text."""
    return kind.startswith(("text/", "image/")) or kind == "application/javascript"


def redact_values(value: Any, clean: Callable[[str], str] = redact) -> Any:
    """Return JSON with every text cleaned, names included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(name)): redact_values(inner, clean) for name, inner in value.items()}
    return [redact_values(inner, clean) for inner in value] if isinstance(value, (list, tuple)) else value


class LineRedactor:
    """A redactor of successive lines, also of a private key across many lines."""

    def __init__(self) -> None:
        self._in_key = False

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Return finished lines without secrets; the lines of a private key become a single line."""
        waiting = list(lines)
        text = "\n".join(waiting)
        plain = COLOUR.sub("", text) if "\x1b" in text else text
        if not self._in_key and _is_clean(plain):
            return waiting
        shapes = possible_shapes(plain)
        return [redacted for line in waiting for redacted in self._redact_line(line, shapes)]

    def redact_unfinished(self, line: str) -> str:
        """Return an unfinished line without its last word, if that word is or may become a secret."""
        if self._in_key:
            return ""
        redacted = redact(line)
        return redacted[: _find_secret_start(redacted)]

    def _redact_line(self, line: str, shapes: tuple[SecretPattern, ...]) -> list[str]:
        if self._in_key:
            self._in_key = _KEY_END not in line
            return []
        redacted = redact(line, shapes)
        self._in_key = _KEY_BEGIN in line and redacted is not line and _KEY_END not in line
        return [redacted]
