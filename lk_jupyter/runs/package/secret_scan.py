"""Find text in a run that looks like a secret, and require the user's consent to send the run.

A secret in a run's code stays in the record on the cloud, which the organization can read. The user must therefore
allow secrets before the request is sent. A finding contains place and kind, never the secret.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.package.script_block import require_block_consent
from lk_jupyter.runs.variables.payload import VariablePayload
from lk_jupyter.text.secrets import SHORTEST, SecretFinding, find_secrets
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.runs.package.bundle import Bundle

#: The maximum number of values in a variable that are searched; further values of a larger variable are trusted.
_VALUES = 100_000

#: Options whose words are sent with a run.
_WORDS = ("name", "label", "arg", "metadata", "env")

#: Words in names of environment variables with secret values.
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)

#: The same for variables of code, where ``key`` and ``tokens`` are common words, with a text that can be a secret.
_SECRET_VARIABLE = re.compile(r"(?:api_?key|secret(?:_key)?|token|password|passwd|credentials?)$", re.IGNORECASE)
_LONGEST_SECRET = 1000

#: The hash of a file of a locked package.
_HASH = re.compile(r"--hash=sha\d{3}:[0-9a-f]{64,128}\b")

#: The maximum number of places in a message.
_MAX_PLACES = 5

BETTER = "Store it on the cloud instead, where every run finds it in os.environ: %lk_secrets set NAME"


def scan_run(bundle: Bundle, active_secrets: tuple[str, ...] = ()) -> tuple[SecretFinding, ...]:
    """Return likely secrets in code, files and words of a run. ``active_secrets`` are found whatever their shape."""
    if setting("secret_guard") == "off":
        return ()
    source, options = bundle.source, bundle.options
    findings = [*_scan_text(source.code, "line {}", active_secrets, source.first_line)]
    for name, content in bundle.uploads.items():
        with suppress(UnicodeDecodeError):
            findings += _scan_text(content.decode(), f"{name} line {{}}", active_secrets)
    requirements = _HASH.sub("", bundle.request.requirements_content or "")
    findings += _scan_text(requirements, "-r line {}", active_secrets)
    words: dict[str, Any] = {name: getattr(options, name, None) for name in _WORDS}
    words["sweep"] = source.values
    findings += [
        finding for name, value in words.items() for finding in _scan_value(value, f"--{name}", active_secrets)
    ]
    findings += _scan_environment(words["env"] or (), active_secrets)
    return tuple(dict.fromkeys(findings))


def _scan_environment(variables: Iterable[str], active_secrets: tuple[str, ...]) -> Iterator[SecretFinding]:
    """Yield environment variables with likely secrets that a container gets: the record of the run contains these."""
    for name in variables:
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST and _SECRET_NAME.search(name):
            yield SecretFinding(f"--env {name}", "named like a secret")
        else:
            yield from _scan_value(value, f"--env {name}", active_secrets)


def scan_texts(texts: Mapping[str, str], active_secrets: tuple[str, ...] = ()) -> tuple[SecretFinding, ...]:
    """Return likely secrets in texts. ``texts`` is place → text."""
    if setting("secret_guard") == "off":
        return ()
    findings = [
        finding for place, text in texts.items() for finding in _scan_text(text, f"{place} line {{}}", active_secrets)
    ]
    return tuple(dict.fromkeys(findings))


def scan_variable(name: str, value: Any) -> tuple[SecretFinding, ...]:
    """Return likely secrets in the strings of a variable: in containers at any depth, keys included."""
    if setting("secret_guard") == "off":
        return ()
    findings = list(_scan_value(value, f"variable {name}", ()))
    if not findings and _SECRET_VARIABLE.search(name) and _may_be_secret(value):
        findings.append(SecretFinding(f"variable {name}", "named like a secret"))
    return tuple(dict.fromkeys(findings))


def _may_be_secret(value: Any) -> bool:
    """Whether a value is one word of letters and digits, as most secrets are."""
    if not isinstance(value, str) or not SHORTEST <= len(value) <= _LONGEST_SECRET or len(value.split()) != 1:
        return False
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def require_consent(bundles: Iterable[Bundle], ask: Callable[[str], bool] | None = None) -> list[Bundle]:
    """Return the bundles with permission to send, after a question for each reason to refuse: secrets, sizes, blocks.

    ``ask`` shows a question and returns whether the answer is yes. Raises UsageError if the answer is no, or without
    ``ask``.
    """
    bundles = list(bundles)
    require_block_consent(bundles, ask)
    bundles = _require_size_consent(bundles, ask)
    unconfirmed = [bundle for bundle in bundles if not bundle.allows_secrets]
    findings = dict.fromkeys(finding for bundle in unconfirmed for finding in bundle.secrets)
    if not findings:
        return bundles
    if ask and setting("secret_guard") == "ask" and ask(f"{_format_findings(findings)} Send it anyway? [y/N] "):
        return [replace(bundle, secrets_allowed=True) for bundle in bundles]
    raise UsageError(
        f"{_format_findings(findings)} Nothing was sent.\n{BETTER}\nSend it anyway: --allow-secrets (in Python "
        "allow_secrets=True)"
    )


def _require_size_consent(bundles: list[Bundle], ask: Callable[[str], bool] | None) -> list[Bundle]:
    """Require consent to upload large variables that no option lists. Raises UsageError like ``require_consent``."""
    for bundle in bundles:
        if bundle.payload.size_allowed or not bundle.payload.carries:
            continue
        named_inputs = {name for text in getattr(bundle.options, "inputs", []) for name in re.split("[, ]+", text)}
        unnamed_inputs = [variable for variable in bundle.payload.inputs if variable.name not in named_inputs]
        size, limit = sum(variable.size for variable in unnamed_inputs), setting("carry_limit")
        if size <= limit:
            continue
        largest = sorted(unnamed_inputs, key=lambda variable: -variable.size)[:3]
        problem = f"The cell reads these variables, {size_label(size)} in total: {', '.join(map(str, largest))}."
        if not (ask and ask(f"{problem} Send them? [y/N] ")):
            names = ",".join(variable.name for variable in largest)
            raise UsageError(
                f"{problem} --sync asks before it sends more than {size_label(limit)} (setting carry_limit). "
                f"Nothing was sent. Send them: --in {names}"
            )
        return [replace(bundle, payload=replace(bundle.payload, size_allowed=True)) for bundle in bundles]
    return bundles


def permit_text(text: str, subject: str, ask: Callable[[str], bool] | None = None, *, allowed: bool = False) -> None:
    """Require consent to send a text with a likely secret. Raises UsageError like ``require_consent``."""
    if allowed or setting("secret_guard") == "off":
        return
    places = ", ".join(dict.fromkeys(map(str, _scan_text(text, "line {}", ()))))
    problem = f"{subject} seems to contain a secret: {places}."
    if not places or (ask and setting("secret_guard") == "ask" and ask(f"{problem} Send it anyway? [y/N] ")):
        return
    raise UsageError(f"{problem} Nothing was sent.\nRemove the secret, or send the text anyway: --allow-secrets")


def _format_findings(findings: Iterable[SecretFinding]) -> str:
    named = list(map(str, findings))
    more = f" and {len(named) - _MAX_PLACES} more" if len(named) > _MAX_PLACES else ""
    return f"The run seems to contain a secret: {', '.join(named[:_MAX_PLACES])}{more}."


def _scan_text(text: str, place: str, active_secrets: tuple[str, ...], first_line: int = 1) -> Iterator[SecretFinding]:
    for secret in find_secrets(text, active_secrets):
        yield SecretFinding(place.format(text.count("\n", 0, secret.start) + first_line), secret.kind)


def _scan_value(value: Any, place: str, active_secrets: tuple[str, ...]) -> Iterator[SecretFinding]:
    """Search a value and its contents; search a value that contains itself once."""
    waiting: list[tuple[Any, str]] = [(value, place)]
    searched_ids: set[int] = set()
    for _ in range(_VALUES):
        if not waiting:
            return
        inner, path = waiting.pop()
        if isinstance(inner, bytes):
            inner = inner.decode("latin-1")  # keys are ASCII
        if isinstance(inner, str):
            yield from (SecretFinding(path, secret.kind) for secret in find_secrets(inner, active_secrets))
        elif id(inner) not in searched_ids:
            searched_ids.add(id(inner))
            with suppress(Exception):  # a class can raise any error during the search
                waiting += _iterate_contents(inner, path)


def _iterate_contents(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            inner_path = (
                f"{path}[{key!r}]" if isinstance(key, int) or (isinstance(key, str) and not find_secrets(key)) else path
            )
            yield from ((key, f"a key of {path}"), (inner, inner_path))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((inner, path) for inner in value)
    elif (pandas := sys.modules.get("pandas")) and isinstance(value, pandas.DataFrame):
        texts = value.select_dtypes(include=["object", "string", "category"])
        yield from ((list(map(str, texts[column].unique())), f"{path}[{column!r}]") for column in texts.columns)


_findings: dict[bytes, tuple[SecretFinding, ...]] = {}


def secrets_in(inputs: Mapping[str, Any], payload: VariablePayload) -> tuple[SecretFinding, ...]:
    """Return likely secrets in the variables of a payload."""
    if not inputs or setting("secret_guard") == "off":
        return ()
    content = sha256(json.dumps(payload.settings).encode()).digest()
    if content not in _findings:
        _findings[content] = tuple(finding for name, value in inputs.items() for finding in scan_variable(name, value))
    return _findings[content]
