"""Read answers that differ from the description: the readable parts are returned, the omitted parts are reported once.

A valid answer takes no extra time. From any other answer, the smallest invalid piece is removed: a field that may be
missing, or a row of a list. The id of an object is required.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from lk_jupyter.api._endpoint import MOST_PROBLEMS
from lk_jupyter.api._models import Listing, Page
from lk_jupyter.protocol.json_limits import VALIDATED, VALIDATED_FAST, replace_lone_surrogates, require_small
from lk_jupyter.text.problems import describe_problem
from lk_jupyter.text.units import count_label

#: Keys in which other servers wrap answers.
_WRAPPERS = (
    "data",
    "result",
    "response",
    "execution",
    "run",
    "job",
    "vm",
    "instance",
    "deployment",
    "batch",
    "payload",
)

_PASSES = 20

#: Maximum bytes of a damaged text that is still read: the text is in memory several times.
_MOST_DAMAGED_BYTES = 16_000_000


def read(kind: TypeAdapter[Any], returns: Any, body: bytes) -> tuple[Any, str]:
    """Return an answer, and the omitted parts in words. Raises ValidationError, JsonTooLarge."""
    require_small(body, VALIDATED_FAST if getattr(returns, "fails_fast", False) else VALIDATED)
    try:
        return kind.validate_json(body or b"null"), ""
    except ValidationError as error:
        try:
            content = _parse_lenient_json(body)
        except (ValueError, RecursionError):
            raise error from None
        refused = error
    several = get_args(returns) if get_origin(returns) in {Union, UnionType} else ()
    for one in map(TypeAdapter, several) if several else (kind,):
        for shape in _iterate_shapes(returns, content):
            try:
                return repair_content(one, shape)
            except ValidationError:
                continue
    raise refused


def _parse_lenient_json(body: bytes) -> Any:
    """Parse JSON of any encoding; replace invalid characters."""
    try:
        return from_json(body)
    except ValueError:
        if len(body) > _MOST_DAMAGED_BYTES:
            raise
        return from_json(_repair_text(body))


def _repair_text(body: bytes) -> bytes:
    content = json.loads(body.decode(json.detect_encoding(body), errors="replace"))
    return replace_lone_surrogates(json.dumps(content, ensure_ascii=False)).encode()


def repair_content(kind: TypeAdapter[Any], content: Any) -> tuple[Any, str]:
    """Return the readable parts of a content, and the omitted rows in words.

    Raises ValidationError, also for a list without any readable row: an empty list would mean that nothing exists.
    """
    content, rows, reason, first = copy.deepcopy(content), 0, "", None
    for _ in range(_PASSES):
        try:
            value = kind.validate_python(content)
        except ValidationError as error:
            if error.error_count() > MOST_PROBLEMS:
                raise
            first = first or error
            problems = error.errors(include_url=False, include_input=False)
            paths = {
                _find_invalid_path(content, problem["loc"], missing=problem["type"] == "missing")
                for problem in problems
            }
            if () in paths:
                raise
            for path in sorted(paths, key=lambda path: [(isinstance(step, int), step) for step in path], reverse=True):
                rows += isinstance(path[-1], int)
                if isinstance(path[-1], int):
                    reason = reason or f"{'.'.join(map(str, problems[0]['loc']))} {describe_problem(problems[0])}"
                _remove_path(content, path)
        else:
            if first and rows and isinstance(value, (Listing, Page)) and not len(value):
                raise first
            return value, f"{count_label(rows, 'row')} can't be read and are left out ({reason})" if rows else ""
    return kind.validate_python(content), ""


def _find_invalid_path(content: Any, place: tuple[int | str, ...], *, missing: bool) -> tuple[int | str, ...]:
    """Return the path to the smallest invalid piece of a content."""
    steps: list[int | str] = []
    for step in place[:-1] if missing else place:
        is_present = step in content if isinstance(content, dict) else _is_index(content, step)
        if is_present:  # otherwise the name of a type of a union
            steps.append(step)
            content = content[step]
    return tuple(steps)


def _is_index(content: Any, step: int | str) -> bool:
    return isinstance(content, list) and isinstance(step, int) and step < len(content)


def _remove_path(content: Any, path: tuple[int | str, ...]) -> None:
    for step in path[:-1]:
        content = content[step]
    del content[path[-1]]


def _iterate_shapes(returns: Any, content: Any) -> Iterator[Any]:
    """Yield a content, and its possible meanings if the content is wrapped or should be a list."""
    key = _list_key(returns)
    if key is not None:
        yield from _iterate_lists(key, content)
    if key == "" and content is None:  # some languages write an empty list this way
        yield []
    yield content
    if isinstance(content, dict):
        for inner in (content[name] for name in _WRAPPERS if name in content):
            yield {**content, **inner} if isinstance(inner, dict) else inner
            if isinstance(inner, list) and len(inner) == 1:
                yield inner[0]


def _list_key(returns: Any) -> str | None:
    """Return the key of an answer's list, empty for a plain list; None without a list."""
    if not isinstance(returns, type):
        return None
    if issubclass(returns, Listing):
        return str(returns.__private_attributes__["_key"].default)
    is_page = issubclass(returns, RootModel) and returns.__name__.startswith("Page[")
    return "" if is_page else None


def _iterate_lists(key: str, content: Any) -> Iterator[Any]:
    if isinstance(content, list) and content and key:
        yield {key: content}
    if isinstance(content, dict) and key not in content:
        lists = [value for value in content.values() if isinstance(value, list)]
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)), None)
        if len(lists) == 1:
            yield {**content, key: lists[0]} if key else lists[0]
        elif inner is not None:
            yield from _iterate_lists(key, inner) if key not in inner else [inner]


def empty(kind: TypeAdapter[Any]) -> Iterator[BaseModel | None]:
    """Yield the value for an answer without content, if the declared type has such a value."""
    contents: tuple[Any, ...] = ({}, None)
    for content in contents:
        try:
            yield kind.validate_python(content)
        except ValidationError:
            continue
