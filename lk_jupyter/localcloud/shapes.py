"""The form of recorded answers: fields, nulls, times, numbers, words and ids; and local answers in this form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from lk_jupyter.localcloud.recorded import PSEUDONYM
from lk_jupyter.protocol.id_forms import IdForm

#: Fields of a request that an answer repeats: whether they are null depends on the request.
_REPEATED = frozenset({"metadata", "labels", "run_name", "file_name", "name", "timeout", "time_limit"})

#: Fields with words of an enumeration of the server.
STATES = frozenset({"status", "state"})

_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,12})?")

#: An id of this cloud: a UUID, hexadecimal digits, or digits after a prefix.
_ID = re.compile(r"(?:[a-z]{2,12}[-_])?(?=[0-9a-f]{8,32}(?:-|$))[0-9a-f]{8}(?:-?[0-9a-f]{4}){1,6}")

#: Numbers above this limit are milliseconds since 1970, not seconds.
_MILLISECONDS = 1e11


class Shape:
    """The merged form of values at the same place of several answers."""

    def __init__(self) -> None:
        self.fields: dict[str, Shape] = {}
        self.item: Shape | None = None
        self.objects = 0
        self.nulls = 0
        self.examples: list[Any] = []
        self.is_partial = False  # rows without an example may have other fields
        self.is_declared = False

    def add(self, value: Any, *, is_partial: bool = False) -> None:
        """Add the value of another answer; ``is_partial`` is whether the value is in a list with more rows."""
        self.is_partial |= is_partial
        if isinstance(value, dict):
            self.objects += 1
            has_empty_list = any(inner == [] for inner in value.values())
            for name, inner in value.items():
                child = self.fields.setdefault(name, Shape())
                if inner is None and has_empty_list:
                    child.objects += 1  # null without rows shows nothing about rows
                else:
                    child.add(inner, is_partial=is_partial)
        elif isinstance(value, list):
            self.item = self.item or Shape()
            has_more = any(_is_rest(inner) for inner in value)
            for inner in value:
                if not _is_rest(inner):
                    self.item.add(inner, is_partial=is_partial or has_more)
        elif value is None:
            self.nulls += 1
        else:
            self.examples.append(value)

    def mark_declared(self, names: frozenset[str]) -> None:
        """Mark the fields that this cloud has too: whether an answer has such a field depends on the state."""
        for name, child in self.fields.items():
            child.is_declared |= name in names
            child.mark_declared(names)
        if self.item:
            self.item.mark_declared(names)

    @property
    def is_null(self) -> bool:
        """Whether all values were null."""
        return bool(self.nulls) and not (self.examples or self.objects or self.item or self.is_partial)

    @property
    def is_map(self) -> bool:
        """Whether the names of the fields are values, such as machine types."""
        return any(not re.fullmatch(r"[A-Za-z_]\w*", name) for name in self.fields)


def fit_container(value: Any, shape: Shape | None) -> Any:
    """Return a list in the recorded object, or the list of an object if a list was recorded."""
    if shape and isinstance(value, list) and shape.item is None:
        names = [name for name, each in shape.fields.items() if each.item]
        return {names[0]: value} if len(names) == 1 else value
    if shape and isinstance(value, dict) and shape.item and not shape.objects:
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        return lists[0] if len(lists) == 1 else value
    return value


def _is_rest(row: Any) -> bool:
    """Return whether a row represents rows that the recording omits."""
    return isinstance(row, str) and re.fullmatch(r"<\d+ more>", row) is not None


class Forms:
    """Write local answers in recorded forms; ``write`` returns a local id in a form."""

    def __init__(self, ids: Mapping[str, IdForm], write: Callable[[str, IdForm], IdForm]) -> None:
        self._ids = ids
        self._write = write
        self._by_field: dict[str, IdForm] = {}
        self._words: dict[str, str] = {}
        self._times: list[str] = []

    def learn(self, value: Any, field: str = "") -> None:
        """Note the forms that answers of other operations have too."""
        if isinstance(value, dict):
            for name, inner in value.items():
                self.learn(inner, name)
        elif isinstance(value, list):
            for inner in value:
                self.learn(inner, field)
        elif isinstance(value, str):
            if value in self._ids:
                self._by_field.setdefault(field, self._ids[value])
            elif field in STATES and not PSEUDONYM.match(value):
                self._words.setdefault(value.lower(), value)
            elif _TIME.fullmatch(value):
                self._times.append(value)

    def change(self, value: Any, shape: Shape | None, field: str = "") -> Any:
        """Return a value of this cloud in the recorded form."""
        if isinstance(value, dict):
            return self._change_object(value, shape)
        if isinstance(value, list):
            return [self.change(inner, shape.item if shape else None, field) for inner in value]
        if value is None or (shape and shape.is_null and field not in _REPEATED):
            return None
        return value if isinstance(value, bool) else self._change_text(value, shape, field)

    def _change_text(self, value: str | float, shape: Shape | None, field: str) -> Any:
        """Return a text or a number in the recorded form."""
        examples = shape.examples if shape else []
        if isinstance(value, str) and _ID.fullmatch(value):
            form = next((self._ids[each] for each in examples if each in self._ids), self._by_field.get(field))
            return value if form is None else self._write(value, form)
        if field in STATES and isinstance(value, str):
            return self._words.get(value.lower(), value)
        return _change_scalar(value, examples or self._times[:_TIMES])

    def _change_object(self, value: dict[str, Any], shape: Shape | None) -> dict[str, Any]:
        if shape is None or not shape.fields or shape.is_map:
            return {name: self.change(inner, None, name) for name, inner in value.items()}
        changed = {
            name: self.change(inner, shape.fields.get(name), name)
            for name, inner in value.items()
            if name in shape.fields or shape.is_partial
        }
        if shape.is_partial:
            return changed
        more = {
            name: each
            for name, each in shape.fields.items()
            if not (name in value or name in _REPEATED or each.is_declared)
        }
        return {**changed, **{name: _write_example(each) for name, each in more.items()}}


#: Number of times whose form decides on the form of the times of other answers.
_TIMES = 3


def _write_example(shape: Shape) -> Any:
    """Return a value for a field that this cloud lacks."""
    if shape.examples:
        return fill_pseudonyms(shape.examples[0])
    if shape.fields:
        return {name: _write_example(each) for name, each in shape.fields.items()}
    return [] if shape.item else None


def fill_pseudonyms(value: Any, id_text: str = "") -> Any:
    """Return JSON with words for pseudonyms, and with an id for pseudonyms of ids."""
    if isinstance(value, dict):
        return {fill_pseudonyms(name): fill_pseudonyms(inner, id_text) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill_pseudonyms(inner, id_text) for inner in value]
    if not isinstance(value, str):
        return value
    return PSEUDONYM.sub(
        lambda match: id_text if match[1] == "id" and id_text else f"{match[1]}{match[2] or ''}", value
    )


def _change_scalar(value: Any, examples: list[Any]) -> Any:
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        numbers = [each for each in examples if isinstance(each, (int, float)) and not isinstance(each, bool)]
        if numbers:
            return _write_timestamp(value, numbers[0])
        times = [match for each in examples if isinstance(each, str) and (match := _TIME.fullmatch(each))]
        return _write_time(value, times) if times else value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        kinds = {type(each) for each in examples}
        is_integer = kinds == {int} and value.isdigit()
        return int(value) if is_integer else float(value) if kinds and kinds <= {int, float} else value
    if isinstance(value, (int, float)) and examples:
        if all(isinstance(each, str) and _NUMBER.fullmatch(each) for each in examples):
            return format(value, ".12f").rstrip("0").rstrip(".")
        if all(isinstance(each, str) and _TIME.fullmatch(each) for each in examples) and 1e9 < value < _MILLISECONDS:
            moment = datetime.fromtimestamp(value, timezone.utc).isoformat()
            return _write_time(moment, [match for each in examples if (match := _TIME.fullmatch(each))])
    return value


def _read_time(text: str) -> datetime:
    match = _TIME.fullmatch(text)
    assert match  # noqa: S101 (the caller has matched the text)
    digits = f".{match[2]:0<6.6}" if match[2] else ""
    moment = datetime.fromisoformat(f"{text[:10]}T{text[11:19]}{digits}")
    return moment.replace(tzinfo=timezone(_read_offset(match[3])))


def _read_offset(zone: str | None) -> timedelta:
    if not zone or zone == "Z":
        return timedelta(0)
    minutes = min(int(zone[1:3]), 23) * 60 + min(int(zone[-2:]), 59)
    return timedelta(minutes=-minutes if zone[0] == "-" else minutes)


def _write_time(text: str, examples: list[re.Match[str]]) -> str:
    """Return a time with the separator, decimals and zone of the examples."""
    form, places = examples[0], max(len(match[2] or "") for match in examples)
    moment = _read_time(text).astimezone(timezone(_read_offset(form[3])))
    digits = f".{f'{moment.microsecond:06}':0<{places}.{places}}" if places else ""
    return f"{moment:%Y-%m-%d}{form[1]}{moment:%H:%M:%S}{digits}{form[3] or ''}"


def _write_timestamp(text: str, example: float) -> float:
    """Return a time as seconds or milliseconds since 1970, as the example is."""
    seconds = _read_time(text).timestamp() * (1000 if example > _MILLISECONDS else 1)
    return int(seconds) if isinstance(example, int) else seconds
