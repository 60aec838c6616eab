"""What a run would carry that looks like a secret, and whether it may go.

A secret in a run's code stays in its record on the cloud, for all of the organization to read. So
it is asked about before anything is sent; a finding names place and kind, never the secret.
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
from lk_jupyter.runs.variables.payload import VariablePayload
from lk_jupyter.text.secrets import SHORTEST, SecretFinding, find
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.runs.package.bundle import Bundle

#: Values of one variable that are looked through; the rest of a larger one is taken on trust.
_VALUES = 100_000

#: Options whose words go with a run.
_WORDS = ("name", "label", "arg", "metadata", "env")

#: What names of variables contain whose values are secrets.
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)

#: Places that a message names.
_NAMED = 5

BETTER = "Store it on the cloud instead, where every run finds it in os.environ: %lk_secrets set NAME"


def in_run(package: Bundle, known: tuple[str, ...] = ()) -> tuple[SecretFinding, ...]:
    """Return what looks like a secret in code, files and words of a run. ``known`` are secrets of any shape."""
    if setting("secret_guard") == "off":
        return ()
    source, options = package.source, package.options
    found = [*_in_text(source.code, "line {}", known, source.first_line)]
    for name, content in package.uploads.items():
        with suppress(UnicodeDecodeError):
            found += _in_text(content.decode(), f"{name} line {{}}", known)
    found += _in_text(package.request.requirements_content or "", "-r line {}", known)
    words: dict[str, Any] = {name: getattr(options, name, None) for name in _WORDS}
    words["sweep"] = source.values
    found += [finding for name, value in words.items() for finding in _in_value(value, f"--{name}", known)]
    found += _in_environment(words["env"] or (), known)
    return tuple(dict.fromkeys(found))


def _in_environment(variables: Iterable[str], known: tuple[str, ...]) -> Iterator[SecretFinding]:
    """Yield variables of this kernel that a container gets and that seem to be secrets: its record contains them."""
    for name in variables:
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST and _SECRET_NAME.search(name):
            yield SecretFinding(f"--env {name}", "named like a secret")
        else:
            yield from _in_value(value, f"--env {name}", known)


def in_texts(texts: Mapping[str, str], known: tuple[str, ...] = ()) -> tuple[SecretFinding, ...]:
    """Return what looks like a secret in texts, each by the name of its place."""
    if setting("secret_guard") == "off":
        return ()
    found = [finding for where, text in texts.items() for finding in _in_text(text, f"{where} line {{}}", known)]
    return tuple(dict.fromkeys(found))


def in_variable(name: str, value: Any) -> tuple[SecretFinding, ...]:
    """Return what looks like a secret in the strings of a variable: in containers at any depth, keys included."""
    return () if setting("secret_guard") == "off" else tuple(dict.fromkeys(_in_value(value, f"variable {name}", ())))


def require_consent(packages: Iterable[Bundle], ask: Callable[[str], bool] | None = None) -> list[Bundle]:
    """Return the bundles with permission to send them, after asking once if they seem to hold secrets.

    ``ask`` gets a question and returns whether the answer is yes. Raises UsageError if the answer
    is no, or nobody can answer.
    """
    packages = _with_size_allowed(list(packages), ask)
    unasked = [
        package
        for package in packages
        if not (package.secrets_allowed or getattr(package.options, "allow_secrets", False))
    ]
    findings = dict.fromkeys(finding for package in unasked for finding in package.secrets)
    if not findings:
        return packages
    if ask and setting("secret_guard") == "ask" and ask(f"{_carries(findings)} Send it anyway? [y/N] "):
        return [replace(package, secrets_allowed=True) for package in packages]
    raise UsageError(
        f"{_carries(findings)} Nothing was sent.\n{BETTER}\nSend it anyway: --allow-secrets (in Python "
        "allow_secrets=True)"
    )


def _with_size_allowed(packages: list[Bundle], ask: Callable[[str], bool] | None) -> list[Bundle]:
    """Ask about large variables that nobody named. Raises UsageError as ``require_consent`` does."""
    for package in packages:
        if package.payload.size_allowed or not package.payload.carries:
            continue
        asked = {name for text in getattr(package.options, "inputs", []) for name in re.split("[, ]+", text)}
        sent = [one for one in package.payload.inputs if one.name not in asked]
        size, limit = sum(one.size for one in sent), setting("carry_limit")
        if size <= limit:
            continue
        largest = sorted(sent, key=lambda one: -one.size)[:3]
        said = f"The cell reads {size_label(size)} of variables: {', '.join(map(str, largest))}."
        if not (ask and ask(f"{said} Send them? [y/N] ")):
            names = ",".join(one.name for one in largest)
            raise UsageError(
                f"{said} Without asking, --carry sends {size_label(limit)} (setting carry_limit). Nothing was sent. "
                f"Send them: --in {names}"
            )
        return [replace(one, payload=replace(one.payload, size_allowed=True)) for one in packages]
    return packages


def permit_text(text: str, what: str, ask: Callable[[str], bool] | None = None, *, allowed: bool = False) -> None:
    """Ask before a text goes that holds what looks like a secret. Raises UsageError as ``require_consent`` does."""
    if allowed or setting("secret_guard") == "off":
        return
    named = ", ".join(dict.fromkeys(map(str, _in_text(text, "line {}", ()))))
    said = f"{what} seems to contain a secret: {named}."
    if not named or (ask and setting("secret_guard") == "ask" and ask(f"{said} Send it anyway? [y/N] ")):
        return
    raise UsageError(f"{said} Nothing was sent.\nRemove it, or send it anyway: --allow-secrets")


def _carries(findings: Iterable[SecretFinding]) -> str:
    named = list(map(str, findings))
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"The run seems to contain a secret: {', '.join(named[:_NAMED])}{more}."


def _in_text(text: str, where: str, known: tuple[str, ...], first_line: int = 1) -> Iterator[SecretFinding]:
    for secret in find(text, known):
        yield SecretFinding(where.format(text.count("\n", 0, secret.start) + first_line), secret.kind)


def _in_value(value: Any, where: str, known: tuple[str, ...]) -> Iterator[SecretFinding]:
    """Search a value and its contents. A value that contains itself is searched once."""
    waiting: list[tuple[Any, str]] = [(value, where)]
    seen: set[int] = set()
    for _ in range(_VALUES):
        if not waiting:
            return
        inner, path = waiting.pop()
        if isinstance(inner, bytes):
            inner = inner.decode("latin-1")  # keys are ASCII
        if isinstance(inner, str):
            yield from (SecretFinding(path, secret.kind) for secret in find(inner, known))
        elif id(inner) not in seen:
            seen.add(id(inner))
            with suppress(Exception):  # a class may raise whatever it likes when it is searched
                waiting += _held_by(inner, path)


def _held_by(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            shown = f"{path}[{key!r}]" if isinstance(key, int) or (isinstance(key, str) and not find(key)) else path
            yield from ((key, f"a key of {path}"), (inner, shown))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((inner, path) for inner in value)
    elif (pandas := sys.modules.get("pandas")) and isinstance(value, pandas.DataFrame):
        texts = value.select_dtypes(include=["object", "string", "category"])
        yield from ((list(map(str, texts[column].unique())), f"{path}[{column!r}]") for column in texts.columns)


_known: dict[bytes, tuple[SecretFinding, ...]] = {}


def secrets_in(inputs: Mapping[str, Any], payload: VariablePayload) -> tuple[SecretFinding, ...]:
    """Return what looks like a secret in the variables, which are those in the parcel."""
    if not inputs or setting("secret_guard") == "off":
        return ()
    content = sha256(json.dumps(payload.settings).encode()).digest()
    if content not in _known:
        _known[content] = tuple(found for name, value in inputs.items() for found in in_variable(name, value))
    return _known[content]
