"""Every declaration against the pinned API description, which neither side of this package wrote."""

from __future__ import annotations

from datetime import timezone
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

import httpx
import jsonschema
import pytest
from conftest import for_each
from localcloud.conftest import description, moment
from pydantic import BaseModel, TypeAdapter

from lk_jupyter import _docs
from lk_jupyter.api import _client
from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, IRIS, OPENAI, PLACEHOLDER, V1, Group, is_form
from lk_jupyter.localcloud import app
from lk_jupyter.localcloud._mount import HANDLERS

DESCRIPTION = description()

SERVERS = {
    **{prefix: f"https://api.lyceum.technology{prefix}" for prefix in (EXTERNAL, V1, OPENAI)},
    IRIS: "https://iris.lyceum.technology",
}

#: Sent by the client itself with every request.
ORG_HEADER = "X-Org-Slug"

METHODS = {"get", "put", "post", "patch", "delete"}

LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern")

#: Fields of answers that only a broker sends.
OF_BROKERS = {"answer.budget"}

assert app.GROUPS  # importing them fills HANDLERS

#: The operations that a client test calls.
CALLS = {
    endpoint
    for path in (Path(__file__).parent / "api").glob("test_*groups.py")
    for endpoint in import_module(f"api.{path.stem}").CALLS
}

OURS = [endpoint for endpoint in ENDPOINTS if endpoint.function.__module__.startswith("lk_jupyter.")]
every_endpoint = for_each(OURS, lambda endpoint: endpoint.title)

#: Operations that the API description has; a new one may not have arrived there.
DESCRIBED = [endpoint for endpoint in OURS if _docs.described(endpoint)["x-source"] != "not described"]
every_described_endpoint = for_each(DESCRIBED, lambda endpoint: endpoint.title)


# Reading schemas


def resolved(schema, root=DESCRIPTION):
    """Follow references and merge ``allOf``, at this level."""
    while "$ref" in schema:
        node = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            node = node[step]
        schema = {**node, **{key: value for key, value in schema.items() if key != "$ref"}}
    parts = [resolved(part, root) for part in schema.get("allOf", ())]
    merged = {key: value for part in parts for key, value in part.items()}
    merged |= {key: value for key, value in schema.items() if key != "allOf"}
    if parts:
        everywhere = [*parts, schema]
        merged["properties"] = {name: row for part in everywhere for name, row in part.get("properties", {}).items()}
        merged["required"] = [name for part in everywhere for name in part.get("required", ())]
    return merged


def variants(schema, root=DESCRIPTION):
    """Return the alternatives of a schema by type; ``any`` stands for one that allows everything."""
    schema = resolved(schema, root)
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return {kind: found for one in alternatives for kind, found in variants({**one}, root).items()}
    types = schema.get("type", "object" if "properties" in schema else _types_of(schema.get("enum")))
    return dict.fromkeys([types] if isinstance(types, str) else types, schema)


def _types_of(values):
    names = {str: "string", bool: "boolean", int: "integer", type(None): "null"}
    return [names[type(value)] for value in values] if values else ["any"]


def wider(ours, theirs):
    """Whether our types hold all of theirs; a number holds integers."""
    return "any" in ours or all(kind in ours or (kind == "integer" and "number" in ours) for kind in theirs)


def answer_findings(ours, root, theirs, place):
    """Yield where an answer that the description allows would not fit into our model."""
    ours, theirs = variants(ours, root), variants(theirs)
    if not wider(ours, theirs):
        yield f"{place}: we take {sorted(ours)}, the description gives {sorted(theirs)}"
    if "array" in ours and "array" in theirs:
        yield from answer_findings(ours["array"].get("items", {}), root, theirs["array"].get("items", {}), place + "[]")
    if "object" not in ours or "object" not in theirs or "properties" not in ours["object"]:
        return
    mine, given = ours["object"], theirs["object"]
    for name, schema in mine["properties"].items():
        if name in given.get("properties", {}):
            yield from answer_findings(schema, root, given["properties"][name], f"{place}.{name}")
        elif f"{place}.{name}" not in OF_BROKERS:
            yield f"{place}.{name}: not in the description"
    for name in set(mine.get("required", ())) - set(given.get("required", ())):
        yield f"{place}.{name}: we require it, the description does not promise it"
    for name in set(given.get("properties", ())) - set(mine["properties"]):
        yield f"{place}.{name}: missing in our model"


def request_findings(ours, root, theirs, place):
    """Yield where what we may send differs from what the description takes. We never send null."""
    ours, theirs = variants(ours, root), variants(theirs)
    ours.pop("null", None)
    theirs.pop("null", None)
    if set(ours) != set(theirs) and "any" not in theirs:
        yield f"{place}: we send {sorted(ours)}, the description takes {sorted(theirs)}"
    for kind in set(ours) & set(theirs):
        mine, wanted = ours[kind], theirs[kind]
        for limit in (*LIMITS, "enum") if kind == "integer" else LIMITS:
            if mine.get(limit) != wanted.get(limit):
                yield f"{place}: {limit} is {mine.get(limit)}, in the description {wanted.get(limit)}"
    if "array" in ours and "array" in theirs:
        yield from request_findings(ours["array"]["items"], root, theirs["array"].get("items", {}), place + "[]")
    if "object" in ours and "object" in theirs and "properties" in ours["object"]:
        yield from _field_findings(ours["object"], root, theirs["object"], place)


def _field_findings(mine, root, wanted, place):
    fields, known = mine["properties"], wanted.get("properties", {})
    for name in set(fields) ^ set(known):
        yield f"{place}.{name}: only in {'our model' if name in fields else 'the description'}"
    for name in set(mine.get("required", ())) - set(wanted.get("required", ())):
        yield f"{place}.{name}: required in our model only"
    for name in set(wanted.get("required", ())) - set(mine.get("required", ())):
        yield f"{place}.{name}: required in the description only"
    for name in set(fields) & set(known):
        default, theirs = resolved(fields[name], root).get("default"), resolved(known[name]).get("default")
        if default != theirs:
            yield f"{place}.{name}: default is {default!r}, in the description {theirs!r}"
        yield from request_findings(fields[name], root, known[name], f"{place}.{name}")


def schema_of(annotation):
    """Return the JSON schema of a type, and again as the root of its references."""
    schema = TypeAdapter(annotation).json_schema()
    return schema, schema


# The description's side of an endpoint


def path_item(endpoint):
    return DESCRIPTION["paths"][PLACEHOLDER.sub(r"{\1}", endpoint.path)]


def operation(endpoint):
    return path_item(endpoint)[endpoint.method.lower()]


def parameters(endpoint):
    """Return path, query and header parameters by name."""
    rows = [
        resolved(row)
        for row in (*path_item(endpoint).get("parameters", ()), *operation(endpoint).get("parameters", ()))
    ]
    return {row["name"]: row for row in rows if row["name"] != ORG_HEADER}


def contents(endpoint, kind):
    """Return the contents of the successful answers that are of a media type."""
    responses = (
        resolved(response) for code, response in operation(endpoint)["responses"].items() if code.startswith("2")
    )
    return [response["content"][kind] for response in responses if kind in response.get("content", {})]


def answers(endpoint):
    """Return the JSON contents of the successful answers that the declaration is about."""
    return [] if endpoint.streams or endpoint.downloads else contents(endpoint, "application/json")


def request_content(endpoint):
    body, ours = resolved(operation(endpoint).get("requestBody", {})), body_of(endpoint)
    kind = "multipart/form-data" if ours and is_form(ours) else "application/json"
    return body.get("content", {}).get(kind)


def alternatives(annotation):
    """Return the types of a union that declares the answers of different statuses, else the type itself."""
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)


def body_of(endpoint):
    """Return the annotation of the argument that is the body."""
    bodies = [row.annotation for name, row in endpoint.signature.parameters.items() if endpoint.place(name) == "body"]
    return bodies[0] if bodies else None


def examples(content):
    """Return the examples beside a schema."""
    named = [resolved(example)["value"] for example in content.get("examples", {}).values()]
    return named + ([content["example"]] if "example" in content else [])


# The referee itself

TEXT, NUMBER, NULLABLE = {"type": "string"}, {"type": "number"}, {"type": ["string", "null"]}


def thing(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


@pytest.mark.parametrize(
    ("ours", "theirs", "finding"),
    [
        (TEXT, NULLABLE, "we take ['string'], the description gives ['null', 'string']"),
        (TEXT, {"anyOf": [TEXT, {"type": "integer"}]}, "gives ['integer', 'string']"),
        (thing(a=TEXT), thing(a=NUMBER), "x.a: we take"),
        (thing(a=TEXT), thing(), "x.a: not in the description"),
        (thing(), thing(a=TEXT), "x.a: missing in our model"),
        (thing(["a"], a=TEXT), thing(a=TEXT), "x.a: we require it"),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": NULLABLE}, "x[]: we take"),
        (thing(a=TEXT), {"allOf": [thing(a=TEXT), thing(b=TEXT)]}, "x.b: missing"),
    ],
)
def test_the_referee_sees_an_answer_that_would_not_fit(ours, theirs, finding):
    (found,) = answer_findings(ours, {}, theirs, "x")
    assert finding in found


@pytest.mark.parametrize(
    ("ours", "theirs", "finding"),
    [
        (TEXT, NUMBER, "we send ['string'], the description takes ['number']"),
        (TEXT, {**TEXT, "pattern": "^a$"}, "pattern is None, in the description ^a$"),
        ({"type": "integer"}, {"type": "integer", "enum": [1, 2]}, "enum is None, in the description [1, 2]"),
        ({**NUMBER, "minimum": 1}, {**NUMBER, "minimum": 0}, "minimum is 1, in the description 0"),
        (
            thing(a={**TEXT, "default": "b"}),
            thing(a={**TEXT, "default": "c"}),
            "default is 'b', in the description 'c'",
        ),
        (thing(a=TEXT), thing(["a"], a=TEXT), "x.a: required in the description only"),
        (thing(["a"], a=TEXT), thing(a=TEXT), "x.a: required in our model only"),
        (thing(a=TEXT), thing(), "x.a: only in our model"),
        (thing(), thing(a=TEXT), "x.a: only in the description"),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": NUMBER}, "x[]: we send"),
    ],
)
def test_the_referee_sees_a_request_that_differs(ours, theirs, finding):
    (found,) = request_findings(ours, {}, theirs, "x")
    assert finding in found


# The tests


def test_every_operation_of_the_description_is_declared():
    paths = DESCRIPTION["paths"].items()
    operations = {(method.upper(), path) for path, item in paths for method in item if method in METHODS}
    assert {(endpoint.method, _docs.described_path(endpoint)) for endpoint in DESCRIBED} == operations


@every_described_endpoint
def test_the_operation_is_in_the_description_on_the_declared_servers(endpoint):
    servers = operation(endpoint).get("servers") or path_item(endpoint).get("servers") or DESCRIPTION["servers"]
    assert [SERVERS[prefix] for prefix in endpoint.servers] == [server["url"] for server in servers]


@every_described_endpoint
def test_the_status_of_success_is_the_descriptions(endpoint):
    described = [int(code) for code in operation(endpoint)["responses"] if code.startswith("2")]
    assert endpoint.status in described
    assert (endpoint.status == 204) <= (endpoint.returns is type(None))


@every_described_endpoint
def test_a_token_is_sent_where_the_description_asks_for_one(endpoint):
    security = operation(endpoint).get("security", DESCRIPTION["security"])
    needless = security == [] or {} in security
    assert endpoint.auth != needless


@every_described_endpoint
def test_the_parameters_are_the_descriptions(endpoint):
    known, findings = parameters(endpoint), []
    rows = {name: row for name, row in endpoint.signature.parameters.items() if endpoint.place(name) != "body"}
    ours = {endpoint.header(name) or name: row for name, row in rows.items()}
    assert set(ours) == set(known)
    for name, row in ours.items():
        schema, root = schema_of(row.annotation)
        wanted = known[name]["schema"]
        assert endpoint.place(row.name) == known[name]["in"]
        assert (row.default is row.empty) == known[name].get("required", False), name
        default = None if row.default is row.empty else row.default
        if default != resolved(wanted).get("default"):
            findings.append(f"{name}: default is {default!r}, in the description {resolved(wanted).get('default')!r}")
        findings += request_findings(schema, root, wanted, name)
    assert findings == []


@every_described_endpoint
def test_the_body_is_the_descriptions(endpoint):
    content, body = request_content(endpoint), body_of(endpoint)
    assert (content is None) == (body is None)
    if content:
        assert list(request_findings(*schema_of(body), content["schema"], "body")) == []


@every_described_endpoint
def test_every_answer_that_the_description_allows_fits_the_declared_type(endpoint):
    for content in answers(endpoint):
        kinds = map(schema_of, alternatives(endpoint.returns))
        findings = [list(answer_findings(*kind, content["schema"], "answer")) for kind in kinds]
        assert [] in findings, min(findings, key=len)


@every_described_endpoint
def test_what_is_no_json_comes_as_a_stream_or_a_download(endpoint):
    described = resolved(operation(endpoint)["responses"][str(endpoint.status)]).get("content", {})
    streamed = contents(endpoint, "text/event-stream")
    if endpoint.streams:
        (kind,) = get_args(endpoint.returns)
        schemas = [{"$ref": row["schema"]["x-event-schema"]} for row in streamed if "x-event-schema" in row["schema"]]
        assert streamed
        assert [f for schema in schemas for f in answer_findings(*schema_of(kind), schema, "event")] == []
    else:
        assert endpoint.downloads == bool(described and "application/json" not in described)


def test_the_descriptions_examples_survive_a_round_trip():
    rows = [
        (endpoint, endpoint.answer_type, content, example)
        for endpoint in DESCRIBED
        for content in answers(endpoint)
        for example in examples(content)
    ]
    rows += [
        (endpoint, TypeAdapter(body_of(endpoint)), content, example)
        for endpoint in DESCRIBED
        if (content := request_content(endpoint)) and not is_form(body_of(endpoint))
        for example in examples(content)
    ]
    assert len(rows) > 15
    for endpoint, kind, content, example in rows:
        written = kind.dump_python(kind.validate_python(example), mode="json", by_alias=True, exclude_unset=True)
        assert comparable(written) == comparable(example), endpoint
        assert list(validator(content["schema"]).iter_errors(written)) == [], endpoint


def validator(schema):
    return jsonschema.Draft202012Validator({**schema, "components": DESCRIPTION["components"]})


def comparable(value):
    """Make equal what says the same: a time in two notations, or without a zone."""
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    try:
        named = moment(value)
        return named if named.tzinfo else named.replace(tzinfo=timezone.utc)
    except (AttributeError, ValueError):
        return value


def test_every_group_is_an_attribute_of_the_client():
    groups = {endpoint.owner for endpoint in OURS}
    client = _client.Client("http://127.0.0.1", "lk_x")
    on_client = {
        type(getattr(client, name)) for name in vars(_client.Client) if name.islower() and not name.startswith("_")
    }
    assert groups <= {kind for kind in on_client if issubclass(kind, Group)}


@every_endpoint
def test_the_local_cloud_mounts_the_operation_and_a_test_calls_it_there(endpoint):
    assert endpoint in HANDLERS
    assert endpoint in CALLS


@pytest.fixture(scope="module")
def published(cloud):
    """What the local cloud says of itself."""
    return httpx.get(f"{cloud.base_url}/openapi.json").json()


@every_described_endpoint
def test_the_local_cloud_publishes_the_operation_as_it_is_described(endpoint, published):
    path = PLACEHOLDER.sub(r"{\1}", endpoint.path)
    for server in endpoint.servers:
        row = published["paths"][server + path][endpoint.method.lower()]
        assert ("security" in row) == endpoint.auth
        assert str(endpoint.status) in row["responses"]
        known, findings = parameters(endpoint), []
        mine = {each["name"]: each for each in row.get("parameters", ()) if each["name"].lower() != ORG_HEADER.lower()}
        assert set(mine) == set(known)
        for name, each in mine.items():
            assert (each["in"], each["required"]) == (known[name]["in"], known[name].get("required", False))
            findings += request_findings(each["schema"], published, known[name]["schema"], name)
        content, body = request_content(endpoint), row.get("requestBody", {}).get("content", {})
        assert bool(content) == bool(body)
        for schema in body.values():
            findings += request_findings(schema["schema"], published, content["schema"], "body")
        assert findings == []


def test_below_its_prefix_the_local_cloud_publishes_the_paths_that_are_below_it(cloud, published):
    below = httpx.get(f"{cloud.base_url}{EXTERNAL}/openapi.json").json()
    assert below["servers"] == [{"url": EXTERNAL}]
    assert below["paths"] == {
        path.removeprefix(EXTERNAL): row for path, row in published["paths"].items() if path.startswith(EXTERNAL)
    }
    described = {method for item in below["paths"].values() for method in item}
    assert described <= METHODS
    assert "/vms/create" in below["paths"]


@every_endpoint
def test_the_models_name_no_secret_in_their_repr(endpoint):
    for annotation in filter(None, (endpoint.returns, body_of(endpoint))):
        if isinstance(annotation, type(BaseModel)):
            shown = {name for name, field in annotation.model_fields.items() if field.repr}
            assert shown.isdisjoint({"access_token", "refresh_token", "streaming_url", "password", "api_key"})
