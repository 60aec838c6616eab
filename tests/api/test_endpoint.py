import inspect
from typing import Annotated, Optional

import pytest

from lk_jupyter.api._endpoint import ENDPOINTS, POST, PUT, Group, InHeader, endpoint_of
from lk_jupyter.api._models import Model
from lk_jupyter.api.execution import Execution, StreamingExecutionRequest
from lk_jupyter.api.logs import Logs
from lk_jupyter.errors import UsageError


class Settings(Model):
    colour: str


class Things(Group):
    @PUT("/things/{owner}/{file_key:path}", effect="writes")
    def put(self, owner: str, file_key: str, settings: Settings | None = None, *, loud: bool = False) -> None: ...

    #: As Python 3.10 reads what is None by default.
    @PUT("/things/{owner}", effect="writes")
    def pin(self, owner: str, to: Optional[Annotated[str | None, InHeader("X-Pin")]] = None) -> None: ...  # noqa: UP045


for declared in (Things.put, Things.pin):
    ENDPOINTS.remove(endpoint_of(declared))  # a declaration of these tests, not of the package


@pytest.fixture
def sent():
    return []


@pytest.fixture
def things(sent):
    return Things(sent.append)


def test_arguments_travel_in_path_body_and_query(things, sent):
    things.put("me", "a.txt", Settings(colour="red"), loud=True)
    (call,) = sent
    assert call.path == "/api/v2/external/things/me/a.txt"
    assert call.body == Settings(colour="red")
    assert call.query == {"loud": True}


def test_a_header_that_may_be_left_out_travels_as_one(things, sent):
    things.pin("me", "there")
    (call,) = sent
    assert (call.headers, call.query) == ({"X-Pin": "there"}, {})


def test_an_optional_body_may_be_left_out_or_be_none(things, sent):
    things.put("me", "a.txt")
    things.put("me", "a.txt", None)
    assert [call.body for call in sent] == [None, None]


def test_what_is_not_given_is_not_sent(things, sent):
    things.put(owner="me", file_key="a")
    assert sent[0].query == {}


@pytest.mark.parametrize(
    ("owner", "key", "path"),
    [
        ("a/b", "c/d.txt", "a%2Fb/c/d.txt"),
        ("a b", "ü+%.txt", "a%20b/%C3%BC%2B%25.txt"),
        ("..", "a/../b", "%2E%2E/a/%2E%2E/b"),
        (".", "/lead//twice", "%2E//lead//twice"),
        ("a?b#c", "{owner}", "a%3Fb%23c/%7Bowner%7D"),
    ],
)
def test_a_value_stays_within_its_place_in_the_path(things, sent, owner, key, path):
    things.put(owner, key)
    assert sent[0].path == "/api/v2/external/things/" + path


def test_an_empty_id_is_refused_before_anything_is_sent():
    with pytest.raises(UsageError, match=r"Execution\.delete: execution_id is empty"):
        endpoint_of(Execution.delete).call("")


def test_a_value_out_of_range_is_refused_before_anything_is_sent():
    with pytest.raises(UsageError, match=r"Logs\.execution: limit must be 10000 or less"):
        endpoint_of(Logs.execution).call("id", limit=10_001)


def test_wrong_arguments_name_the_operation_and_what_it_takes():
    with pytest.raises(TypeError, match=r"Execution\.get: missing a required argument: 'execution_id'.*execution_id: "):
        endpoint_of(Execution.get).call()
    with pytest.raises(TypeError, match=r"Logs\.user: got an unexpected keyword argument 'lines'.*limit"):
        endpoint_of(Logs.user).call(lines=3)


def test_a_body_may_be_given_as_a_dict():
    call = endpoint_of(Execution.start_streaming).call({"code": "1"})
    assert call.body == StreamingExecutionRequest(code="1")
    with pytest.raises(UsageError, match=r"start_streaming: request\.code is missing"):
        endpoint_of(Execution.start_streaming).call({})


def test_a_bound_operation_shows_its_signature_and_help(things):
    assert list(inspect.signature(things.put).parameters) == ["owner", "file_key", "settings", "loud"]
    assert Execution(print).get.__doc__ == "Read the full record of a run: state, output, result and cost."


def test_the_verb_says_what_may_be_repeated_unless_the_declaration_does():
    assert endpoint_of(Things.put).repeatable
    assert endpoint_of(Execution.delete).repeatable
    assert endpoint_of(Execution.abort_streaming).repeatable
    assert not endpoint_of(Execution.start_streaming).repeatable


#: Operations that read although their method isn't GET: they sign in, look something up, or follow an output.
READING = {
    "Auth.login",
    "Auth.refresh",
    "Auth.validate_api_key",
    "Mfa.verify",
    "Serverless.route",
    "Storage.credentials",
    "Stream.output",
    "Voucher.validate",
}

#: Operations that end a run or a batch, and with it its bill.
STOPPING = {
    "Batches.cancel",
    "Execution.abort_image",
    "Execution.abort_streaming",
    "Execution.complete_streaming",
    "Workloads.abort",
    "Workloads.stop",
}


def test_each_operation_is_marked_with_its_effect_and_only_listed_ones_read_without_get():
    marks = {effect: {each.title for each in ENDPOINTS if each.effect == effect} for effect in ("reads", "stops")}
    assert marks["reads"] == READING | {each.title for each in ENDPOINTS if each.method == "GET"}
    assert marks["stops"] == STOPPING
    assert {each.effect for each in ENDPOINTS if each.method == "DELETE"} == {"deletes"}


def test_an_operation_that_may_change_something_is_not_declared_without_its_effect():
    with pytest.raises(TypeError, match="POST /things needs the argument effect"):
        POST("/things")(lambda _group: None)
