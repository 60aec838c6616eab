"""What looks like a secret: keys whose shape tells them, in any text.

Most shapes are those of detect-secrets, which is only imported once a text holds a mark of one of
them. Its guesses by entropy, and the shapes that ordinary words fit too, are left out: a guard
that cries wolf is soon switched off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Secret:
    """Where a text holds a secret, and of what kind; never the secret itself."""

    kind: str
    start: int
    end: int
    keep: str = ""  # what may still be shown of it: the mark that it begins with


@dataclass(frozen=True)
class Shape:
    """One row: a text without any of the ``marks``, or without ``also``, holds no such secret.

    ``pattern`` is ours, or names a detector of detect-secrets. With ``inner`` the secret is what
    its one group holds. ``real`` tells a key from a word of its shape.
    """

    kind: str
    marks: tuple[str, ...]
    pattern: str
    inner: bool = False
    real: Callable[[str], bool] | None = None
    also: str = ""

    def may_be_in(self, text: str) -> bool:
        """Whether it is worth a closer look; this one is fast."""
        return self.also in text and any(mark in text for mark in self.marks)

    @cached_property
    def _detector(self) -> Any:
        module, _, name = self.pattern.partition(":")
        return getattr(import_module(f"detect_secrets.plugins.{module}"), name)()

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The compiled patterns; the library's are imported here."""
        return tuple(self._detector.denylist) if _LIBRARY.fullmatch(self.pattern) else (re.compile(self.pattern),)

    def find(self, text: str) -> Iterator[Secret]:
        """Yield the secrets of this shape."""
        for pattern in self.patterns:
            at = 0
            while match := pattern.search(text, at):
                start, end = match.span(1) if self.inner and match.re.groups else match.span()
                at = max(match.end(), match.start() + 1)
                if self.real is None or self.real(text[start:end]):
                    end = end if self.inner else _end_of_word(text, end)
                    at = max(at, end)
                    keep = next((mark for mark in self.marks if text.startswith(mark, start)), "")
                    yield Secret(self.kind, start, end, keep)


#: Where a word begins: after no letter, but for those of an escape in JSON or in a repr, and of a colour.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\[[0-9]m)|(?<=[0-9][0-9]m))"
_LIBRARY = re.compile(r"\w+:\w+Detector")
_WORD = re.compile(r"[\w+/=-]*(?:\.[\w+/=-]+)*")
_PLACE = re.compile(r"\{.*\}|<.*>|[$%].*|\*+|x+|\.+")
_NAME = re.compile(r"[a-z]+\d{0,4}|[A-Z]+|\d+|")


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
    """Whether the parts of this are JSON, as those of a web token are."""
    valid: bool = _JWT._detector.is_formally_valid(token)
    return valid


_JWT = Shape("JSON Web Token", ("eyJ",), "jwt:JwtTokenDetector", real=_valid_token, also=".")

_GITLAB = ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "glcbt-", "glimt-", "glptt-", "glagent-", "gloas-")

SHAPES = (
    Shape("API key of Lyceum Cloud", ("lk_",), rf"{_BEGIN}lk_[\w-]{{16,}}", real=_no_name),
    _JWT,
    Shape(
        "signed address",
        ("X-Amz-",),
        r"(?<=\?)[^\s\"'<>\\?]*X-Amz-(?:Signature|Credential|Security-Token)=[^\s\"'<>\\]*",
    ),
    Shape(
        "private key",
        ("PRIVATE KEY",),
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:[\w+/=\s\\:;,.]|-(?!-))*-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\]*)",
    ),
    Shape("private key", ("PRIVATE KEY", "PuTTY-User-Key"), "private_key:PrivateKeyDetector"),
    Shape("AWS key", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws", "AWS", "Aws"), "aws:AWSKeyDetector", inner=True),
    Shape("Azure storage key", ("AccountKey=",), "azure_storage_key:AzureStorageKeyDetector"),
    Shape("password in an address", ("://",), "basic_auth:BasicAuthDetector", inner=True, real=_filled_in, also="@"),
    Shape("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), "github_token:GitHubTokenDetector"),
    Shape("GitHub token", ("github_pat_",), r"github_pat_\w{22,}"),
    Shape("GitLab token", (*_GITLAB, "GR1348941"), "gitlab_token:GitLabTokenDetector"),
    Shape("Google key", ("AIza",), r"AIza[\w-]{35}"),
    Shape("Hugging Face token", ("hf_",), rf"{_BEGIN}hf_[A-Za-z0-9]{{30,}}"),
    Shape("Anthropic key", ("sk-ant-",), r"sk-ant-[\w-]{20,}"),
    Shape("OpenAI key", ("sk-proj-", "sk-svcacct-", "sk-admin-"), r"sk-(?:proj|svcacct|admin)-[\w-]{20,}"),
    Shape("OpenAI key", ("T3BlbkFJ",), "openai:OpenAIDetector", also="sk-"),
    Shape("Mailchimp key", ("-us",), "mailchimp:MailchimpDetector"),
    Shape("npm token", (":_authToken=",), "npm:NpmDetector"),
    Shape("PyPI token", ("pypi-Ag",), "pypi_token:PypiTokenDetector"),
    Shape("SendGrid key", ("SG.",), "sendgrid:SendGridDetector"),
    Shape("Slack token", ("xox", "XOX", "hooks.slack.com"), "slack:SlackDetector"),
    Shape("Square secret", ("sq0csp-",), "square_oauth:SquareOAuthDetector"),
    Shape("Stripe key", ("sk_live_", "rk_live_"), "stripe:StripeDetector"),
)


def possible(text: str) -> tuple[Shape, ...]:
    """Return the shapes whose secrets the text may hold; a fast look, for many lines at once."""
    return tuple(shape for shape in SHAPES if shape.may_be_in(text))


def find(text: str, known: tuple[str, ...] = (), shapes: Iterable[Shape] = SHAPES) -> list[Secret]:
    """Return the secrets in a text, in order; where two overlap, they are one.

    ``known`` are secrets whatever their shape.
    """
    found = [secret for value in known if value and value in text for secret in _occurrences(text, value)]
    for shape in shapes:
        if shape.may_be_in(text):
            found += shape.find(text)
    return _apart(sorted(found, key=lambda secret: secret.start)) if found else found


def _occurrences(text: str, value: str) -> Iterator[Secret]:
    for match in re.finditer(re.escape(value), text):
        yield Secret("key in use here", *match.span(), "lk_" if value.startswith("lk_") else "")


def _apart(secrets: list[Secret]) -> list[Secret]:
    """Join what overlaps."""
    apart = secrets[:1]
    for secret in secrets[1:]:
        last = apart[-1]
        if secret.start >= last.end:
            apart.append(secret)
        elif secret.end > last.end:
            apart[-1] = Secret(last.kind, last.start, secret.end, last.keep)
    return apart
