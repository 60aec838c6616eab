"""What looks like a secret: keys with a known shape, in any text, and what this process uses as one.

Most shapes come from detect-secrets, which is only imported once a text holds a mark of one of
them. Its guesses by entropy, and the shapes that ordinary words fit too, are left out: a guard
that cries wolf is soon switched off.
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


@dataclass(frozen=True)
class FoundSecret:
    """Where a text holds a secret, and of what kind; never the secret itself."""

    kind: str
    start: int
    end: int
    keep: str = ""  # what may still be shown of it: the mark that it begins with


@dataclass(frozen=True)
class SecretPattern:
    """One row: a text without any of the ``marks``, or without ``also``, holds no such secret.

    ``pattern`` is ours, or names a detector of detect-secrets. With ``inner`` the secret is what
    its one group holds. ``real`` separates a key from a word of its shape. With ``backwards`` the secret
    starts where its word starts.
    """

    kind: str
    marks: tuple[str, ...]
    pattern: str
    inner: bool = False
    real: Callable[[str], bool] | None = None
    also: str = ""
    backwards: bool = False

    def may_be_in(self, text: str) -> bool:
        """Whether it is worth a closer look; this one is fast."""
        return self.also in text and any(mark in text for mark in self.marks)

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The compiled patterns; the library's are imported here."""
        return (
            tuple(detector(self.pattern).denylist) if _LIBRARY.fullmatch(self.pattern) else (re.compile(self.pattern),)
        )

    def find(self, text: str) -> Iterator[FoundSecret]:
        """Yield the secrets of this shape."""
        for pattern in self.patterns:
            at = at_least = 0
            while match := pattern.search(text, at):
                start, end = match.span(1) if self.inner and match.re.groups else match.span()
                at = max(match.end(), match.start() + 1)
                if self.real is None or self.real(text[start:end]):
                    end = end if self.inner else _end_of_word(text, end)
                    start = _start_of_word(text, start, at_least) if self.backwards else start
                    at = at_least = max(at, end)
                    keep = next((mark for mark in self.marks if text.startswith(mark, start)), "")
                    yield FoundSecret(self.kind, start, end, keep)


#: Where a word begins: after no letter, but for those of an escape in JSON or in a repr, and of a colour.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\[[0-9]m)|(?<=[0-9][0-9]m))"
_LIBRARY = re.compile(r"\w+:\w+Detector")
_WORD = re.compile(r"[\w+/=-]*(?:\.[\w+/=-]+)*")
_PLACE = re.compile(r"\{.*\}|<.*>|[$%].*|\*+|x+|\.+")
_NAME = re.compile(r"[a-z]+\d{0,4}|[A-Z]+|\d+|")


@cache
def detector(name: str) -> Any:
    """Return a detector of detect-secrets, which is imported here.

    Its import has ``logging`` capture the warnings of the process, which belong to the user: that is undone.
    """
    module, _, kind = name.partition(":")
    show = warnings.showwarning
    found = getattr(import_module(f"detect_secrets.plugins.{module}"), kind)()
    if warnings.showwarning is not show:
        logging.captureWarnings(False)  # noqa: FBT003
    return found


def _start_of_word(text: str, start: int, at_least: int) -> int:
    while start > at_least and (text[start - 1].isalnum() or text[start - 1] in "_-"):
        start -= 1
    return start


def _end_of_word(text: str, end: int) -> int:
    """Return where the word ends: some patterns are content with the beginning of a key."""
    rest = _WORD.match(text, end)
    return rest.end() if rest else end


def _no_name(key: str) -> bool:
    """Whether this is no name in a program, such as lk_checkpoint_every_100."""
    return not all(map(_NAME.fullmatch, re.split("[_-]", key.removeprefix("lk_"))))


def _filled_in(password: str) -> bool:
    """Whether this is no place for a password, such as {password}, $PASSWORD or ***."""
    return not _PLACE.fullmatch(password)


def _valid_token(token: str) -> bool:
    """Whether the parts of this are JSON, as in a web token."""
    valid: bool = detector(_JWT_DETECTOR).is_formally_valid(token)
    return valid


_PART = "[A-Za-z0-9_=-]"
_JWT_DETECTOR = "jwt:JwtTokenDetector"

#: The library's own pattern starts anew at each mark: only a word that a dot follows is looked at, once.
_JWT = SecretPattern(
    "JSON Web Token",
    ("eyJ",),
    rf"(?<!{_PART})(?={_PART}+\.{_PART}){_PART}*?(eyJ{_PART}+\.{_PART}+(?:\.[A-Za-z0-9_+/=-]+)*)",
    inner=True,
    real=_valid_token,
    also=".",
)

_GITLAB = ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "glcbt-", "glimt-", "glptt-", "glagent-", "gloas-")

SHAPES = (
    SecretPattern("API key of Lyceum Cloud", ("lk_",), rf"{_BEGIN}lk_[\w-]{{16,}}", real=_no_name),
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
        "password in a URL", ("://",), r"://[^\s:/?#@\[\]]+:([^\s:/?#@\[\]]+)@", inner=True, real=_filled_in, also="@"
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

#: What is shown nowhere whatever its shape, in output and journal, the longest first.
in_use: tuple[str, ...] = ()
_kept: dict[str, None] = {}
_lock = threading.Lock()


def never_show(*secrets: str | None) -> None:
    """Show these nowhere from now on, as they are or as JSON, HTML and addresses write them.

    For keys, session tokens, credentials of the bucket and what was typed unseen, where they enter.
    """
    global in_use  # noqa: PLW0603 (a process has one set of secrets)
    fresh = [secret for secret in secrets if secret and len(secret) >= SHORTEST and secret not in _kept]
    if not fresh:
        return
    with _lock:
        _kept.update(dict.fromkeys(fresh))
        for oldest in list(_kept)[:-_MOST]:
            del _kept[oldest]
        forms = {
            form
            for secret in _kept
            for form in (secret, escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""))
        }
        in_use = tuple(sorted(forms, key=len, reverse=True))


def possible(text: str) -> tuple[SecretPattern, ...]:
    """Return the shapes whose secrets the text may hold; a fast look, for many lines at once."""
    return tuple(shape for shape in SHAPES if shape.may_be_in(text))


def find(text: str, known: tuple[str, ...] = (), shapes: Iterable[SecretPattern] = SHAPES) -> list[FoundSecret]:
    """Return the secrets in a text, in order; where two overlap, they are one.

    ``known`` are secrets whatever their shape, and so is what this process uses.
    """
    found = [
        FoundSecret("key in use here", *match.span(), "lk_" if value.startswith("lk_") else "")
        for value in (*known, *in_use)
        if value and value in text
        for match in re.finditer(re.escape(value), text)
    ]
    if MARKS.search(text):
        for shape in shapes:
            if shape.may_be_in(text):
                found += shape.find(text)
    return _apart(sorted(found, key=lambda secret: secret.start)) if found else found


def _apart(secrets: list[FoundSecret]) -> list[FoundSecret]:
    """Join what overlaps."""
    apart = secrets[:1]
    for secret in secrets[1:]:
        last = apart[-1]
        if secret.start >= last.end:
            apart.append(secret)
        elif secret.end > last.end:
            apart[-1] = FoundSecret(last.kind, last.start, secret.end, last.keep)
    return apart


class SecretFinding(NamedTuple):
    """Where something looks like a secret, and what kind; never the secret itself."""

    where: str
    kind: str

    def __str__(self) -> str:
        return f"{self.where} ({self.kind})"
