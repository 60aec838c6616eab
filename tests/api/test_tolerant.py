"""Answers of the API in every form that a server may give: fields left out, null, in their other form, unknown."""

from __future__ import annotations

import inspect
import json
import os
from functools import cache
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

import pytest
from conftest import for_each
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, TypeAdapter

from lk_jupyter.api import _client  # noqa: F401 (loads every group)
from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.api._tolerant import read

EXAMPLES = int(os.environ.get("LK_EXAMPLES", "2"))

CHEAP = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking costs minutes, and what fails is small
    suppress_health_check=list(HealthCheck),
)

OURS = [each for each in ENDPOINTS if each.function.__module__.startswith("lk_jupyter.")]


def parts(kind):
    """Return a type and every type within it."""
    return [kind, *(part for inner in get_args(kind) for part in parts(inner))]


def models_of(kind, seen):
    """Collect the models of an answer, with those of their fields."""
    for part in parts(kind):
        if inspect.isclass(part) and not get_args(part) and issubclass(part, BaseModel) and part not in seen:
            seen[part] = None
            for field in part.model_fields.values():
                models_of(field.annotation, seen)
    return seen


ANSWERS = [endpoint for endpoint in OURS if not endpoint.downloads and endpoint.returns is not NoneType]
MODELS = list(dict.fromkeys(model for each in ANSWERS for model in models_of(each.returns, {})))

#: Words that no enumeration has, and values of a kind that a field may come in beside its own.
UNKNOWN = st.sampled_from(["zorp", "", 7, None, True, [], {}, {"new": 1}])


@cache
def schema_of(kind):
    return TypeAdapter(kind).json_schema()


def resolved(schema, root):
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def content_of(schema, root, draw):  # noqa: PLR0911 (a row for each kind)
    """Draw a content that fits a schema, with optional fields left out, null or there, and unknown ones beside them."""
    schema = resolved(schema, root)
    if kinds := schema.get("anyOf"):
        return content_of(draw(st.sampled_from(numbers_of(kinds) or kinds)), root, draw)
    if words := schema.get("enum"):
        return draw(st.sampled_from(words))
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object":
        return object_of(schema, root, draw)
    if kind == "array":
        return [content_of(schema.get("items", {}), root, draw) for _ in range(draw(st.integers(0, 2)))]
    if kind == "string":
        return text_of(schema, draw)
    if kind == "integer":
        return draw(st.integers(0, 9))
    if kind == "number":
        return draw(st.sampled_from([0, 1.5, 0.0041]))
    return {"boolean": True, "null": None}.get(kind, "anything")


def numbers_of(kinds):
    """Return the kinds that are numbers, or text that is one, where there are such: other text is none."""
    types = {kind.get("type") for kind in kinds}
    decimal = [{"type": "string", "pattern": "decimal"}] if "number" in types else []
    plain = [kind for kind in kinds if kind.get("type") in {"number", "integer", "null"}]
    return [*plain, *decimal] if types & {"number", "integer"} else []


def text_of(schema, draw):
    if schema.get("format") == "date-time":
        return draw(st.sampled_from(["2026-06-02T09:14:03Z", "2026-06-02T09:14:03.12", "2026-06-02T09:14:03+00:00"]))
    if "pattern" in schema:  # a decimal, as far as answers go
        return draw(st.sampled_from(["1", "0.00044167"]))
    return draw(st.sampled_from(["a", "zorp", "Ünknown"]))


def object_of(schema, root, draw):
    required, found = set(schema.get("required", ())), {}
    for name, inner in schema.get("properties", {}).items():
        fate = "there" if name in required else draw(st.sampled_from(["there", "there", "left out", "null"]))
        if fate == "there":
            found[name] = content_of(inner, root, draw)
        elif fate == "null":
            found[name] = None
    if "properties" in schema and draw(st.booleans()):
        found["a_field_of_tomorrow"] = draw(UNKNOWN)
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict) and not found:
        found["a"] = content_of(inner, root, draw)
    return found


@for_each(MODELS)
@CHEAP
@given(data=st.data())
def test_every_model_takes_its_optional_fields_missing_or_null_and_unknown_ones_added(model, data):
    schema = schema_of(model)
    content = content_of(schema, schema, data.draw)
    model.model_validate_json(json.dumps(content))
    model.model_validate(content)


@for_each(MODELS)
def test_every_model_takes_the_least_that_it_may_hold(model):
    if issubclass(model, RootModel):
        pytest.skip("it is a bare list or map")
    schema = schema_of(model)
    least = {name: sample(schema["properties"][name], schema) for name in schema.get("required", ())}
    model.model_validate(least)
    absent = {name: None for name in schema["properties"] if name not in least}
    model.model_validate({**least, **absent})


def sample(schema, root):
    """Return the plainest content of a schema."""
    schema = resolved(schema, root)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], root)
    plain = {"string": "1", "integer": 1, "number": 1, "boolean": True, "array": []}
    if schema.get("type") == "object":
        return {name: sample(schema["properties"][name], root) for name in schema.get("required", ())}
    return plain.get(schema.get("type"), "1")


IDENTIFYING = {
    *("execution_id", "vm_id", "deployment_id", "replica_id", "volume_id", "request_id", "user_id", "activity_id"),
    *("id", "key", "name", "slug", "hardware_profile", "instance_type", "serving_name", "meter_slug", "timestamp"),
    *("group_by_value", "access_token", "api_key", "plaintext_key", "secret", "checkout_url", "message"),
    *("access_key", "secret_key", "endpoint", "bucket_name", "backup_codes", "embedding"),
    *("remaining_credits", "available_credits", "balance"),  # the answer itself
}


@for_each(MODELS)
def test_a_model_requires_only_what_identifies_a_thing_or_is_the_answer(model):
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    lists = {name for name in required if get_origin(model.model_fields[name].annotation) is list}
    assert required - lists - IDENTIFYING - {"root"} == set()


@for_each([each for each in ANSWERS if not each.streams], lambda each: each.title)
@CHEAP
@given(data=st.data())
def test_every_answer_is_read_whatever_kind_its_optional_fields_come_in(endpoint, data):
    """One field of one kind too many costs that field, and no more."""
    kind = next((each for each in alternatives(endpoint.returns) if isinstance(each, type)), None)
    if kind is None or not issubclass(kind, BaseModel) or issubclass(kind, RootModel):
        return
    schema = schema_of(kind)
    content = object_of(schema, schema, data.draw)
    optional = [name for name in schema["properties"] if name not in schema.get("required", ())]
    for name in data.draw(st.lists(st.sampled_from(optional), max_size=3)) if optional else ():
        content[name] = data.draw(UNKNOWN)
    read(endpoint.answer_type, endpoint.returns, json.dumps(content).encode())


def test_a_qr_code_of_another_kind_costs_itself_and_no_more():
    endpoint = next(each for each in ANSWERS if each.title == "Mfa.enroll")
    found, _ = read(endpoint.answer_type, endpoint.returns, b'{"secret": "ABC", "qr_code": true}')
    assert (found.secret, found.qr_code_url, found.qr_code) == ("ABC", None, None)


def alternatives(annotation):
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
