"""The stock clients of OpenAI and Anthropic that we hand out, against a local cloud with a real upstream."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module

import httpx
import pytest

import lk_jupyter
from lk_jupyter.errors import UsageError

HELLO = [{"role": "user", "content": "one two"}]
TOOL = {"name": "weather", "description": "Tell the weather.", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}


@pytest.fixture(scope="module")
def sdk():
    """The package itself: it takes a second to import, and each process collects all tests."""
    return import_module("anthropic")


@pytest.fixture(scope="module")
def openai_sdk():
    return import_module("openai")


@pytest.fixture
def anthropic(talking):
    with lk_jupyter.anthropic(max_retries=0) as client:
        yield client


@pytest.fixture
def openai(talking):
    with lk_jupyter.openai(max_retries=0) as client:
        yield client


@pytest.fixture
def deployment(talkative):
    made = talkative.client.inference.create({"hf_model_id": "up/large", "gpu_type": "a100"})
    yield made.deployment_id
    talkative.client.inference.stop({"deployment_id": made.deployment_id})


@pytest.fixture
def fault(talkative):
    """A function that orders a fault; none is left after the test."""
    address = f"{talkative.base_url}/_faults"
    yield lambda **row: httpx.post(address, json=[row]).raise_for_status()
    httpx.delete(address).raise_for_status()


def asked(anthropic, **fields):
    return anthropic.messages.create(**{"model": "up/large", "max_tokens": 50, "messages": HELLO, **fields})


def test_openai_answers_whole_and_as_a_stream(openai):
    said = openai.chat.completions.create(model="up/large", messages=HELLO)
    assert said.choices[0].message.content == "ONE TWO"
    stream = openai.chat.completions.create(model="up/large", messages=HELLO, stream=True)
    assert [piece.choices[0].delta.content for piece in stream] == ["ONE", "TWO", None]
    assert "up/large" in {model.id for model in openai.models.list()}
    assert openai.embeddings.create(model="up/embed", input=["abc"]).data[0].embedding == [3.0, 1.0]


def test_openai_reads_one_model(openai, openai_sdk):
    for listed in openai.models.list():
        assert openai.models.retrieve(listed.id) == listed
    with pytest.raises(openai_sdk.NotFoundError, match="model not found: 'up/none'"):
        openai.models.retrieve("up/none")


def test_openai_calls_tools_and_gives_their_results(openai, upstream):
    calling = {"choices": [{"index": 0, "message": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}
    upstream.answer = lambda _: (200, calling)
    said = openai.chat.completions.create(model="up/large", messages=HELLO, tools=[FUNCTION], tool_choice="required")
    [call] = said.choices[0].message.tool_calls
    assert (said.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert json.loads(call.function.arguments) == {"city": "Bonn"}
    upstream.answer = None
    called = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    openai.chat.completions.create(model="up/large", messages=[*HELLO, called, result], tools=[FUNCTION])
    assert upstream.requests[-1]["messages"][1:] == [called, result]
    assert upstream.requests[-1]["tools"] == [FUNCTION]


def test_openai_counts_tokens_at_the_end_of_a_stream(openai):
    options = {"include_usage": True}
    stream = openai.chat.completions.create(model="local/echo", messages=HELLO, stream=True, stream_options=options)
    *pieces, counts = stream
    assert {piece.id for piece in pieces} == {counts.id}
    whole = openai.chat.completions.create(model="local/echo", messages=HELLO)
    assert counts.usage == whole.usage


def test_anthropic_answers_whole_and_as_a_stream(anthropic, upstream):
    said = asked(anthropic, system="Be brief.", stop_sequences=["END"], extra_body={"temperature": 0.5})
    assert (said.content[0].text, said.stop_reason) == ("ONE TWO", "end_turn")
    assert (said.usage.input_tokens, said.usage.output_tokens) == (7, 5)
    assert upstream.requests[-1]["messages"] == [{"role": "system", "content": "Be brief."}, *HELLO]
    assert (upstream.requests[-1]["stop"], upstream.requests[-1]["max_tokens"]) == (["END"], 50)
    assert upstream.requests[-1]["temperature"] == 0.5
    with anthropic.messages.stream(model="up/large", max_tokens=50, messages=HELLO) as stream:
        assert list(stream.text_stream) == ["ONE", "TWO"]
        whole = stream.get_final_message()
    assert (whole.content[0].text, whole.stop_reason, whole.usage.output_tokens) == ("ONETWO", "end_turn", 5)


def test_anthropic_takes_the_models_by_their_aliases_too(anthropic):
    assert {"up/large", "claude-lyceum-large"} <= {model.id for model in anthropic.models.list()}
    assert asked(anthropic, model="claude-lyceum-large").content[0].text == "ONE TWO"


def test_anthropic_calls_tools_and_gets_their_results(anthropic, upstream):
    calling = {"choices": [{"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}
    upstream.answer = lambda _: (200, calling)
    said = asked(anthropic, tools=[TOOL], tool_choice={"type": "any"})
    (use,) = said.content
    assert (said.stop_reason, use.name, use.input) == ("tool_use", "weather", {"city": "Bonn"})
    sent = upstream.requests[-1]
    assert sent["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert sent["tool_choice"] == "required"
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "rain"}
    asked(anthropic, messages=[*HELLO, {"role": "assistant", "content": said.content}, turn(result)], tools=[TOOL])
    *_, call, answer = upstream.requests[-1]["messages"]
    assert call["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Bonn"}'}
    assert answer == {"role": "tool", "tool_call_id": "call_1", "content": "rain"}


def test_openai_keeps_files_and_works_off_batches_at_their_own_address(openai):
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    body = {"model": "local/echo", "messages": HELLO}
    kept = openai.files.create(file=("in.jsonl", json.dumps({**line, "body": body}).encode()), purpose="batch")
    assert (kept.status, kept.filename) == ("processed", "in.jsonl")
    assert openai.files.retrieve(kept.id) == kept
    assert kept.id in {file.id for file in openai.files.list(purpose="batch")}
    made = openai.batches.create(
        input_file_id=kept.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    assert made.id in {batch.id for batch in openai.batches.list(limit=5)}
    assert b"local/echo" in openai.files.content(kept.id).read()
    assert openai.files.delete(kept.id).deleted


@pytest.mark.parametrize("given", [[5, 7, 11], [[5, 7, 11]], [[5, 7], [11]]])
def test_openai_embeds_the_ids_of_tokens(openai, upstream, given):
    openai.embeddings.create(model="up/embed", input=given)
    assert upstream.requests[-1]["input"] == (given if isinstance(given[0], list) else [given])
    answer = openai.embeddings.create(model="local/hash-embedding", input=given)
    assert len(answer.data) == (len(given) if isinstance(given[0], list) else 1)
    assert answer.usage.prompt_tokens == 3
    assert answer.data[0].embedding != openai.embeddings.create(model=answer.model, input=[[2]]).data[0].embedding


def test_openai_is_refused_what_a_model_cannot_do(openai, openai_sdk):
    with pytest.raises(openai_sdk.BadRequestError, match="computes no logprobs"):
        openai.chat.completions.create(model="local/echo", messages=HELLO, logprobs=True)


@pytest.mark.parametrize("streams", [False, True])
def test_anthropic_names_the_stop_sequence_that_ended_a_message(anthropic, streams):
    fields = {"model": "local/echo", "max_tokens": 50, "messages": HELLO, "stop_sequences": ["never", " two"]}
    if streams:
        with anthropic.messages.stream(**fields) as stream:
            said = stream.get_final_message()
    else:
        said = anthropic.messages.create(**fields)
    assert said.content[0].text.endswith("one")
    assert (said.stop_reason, said.stop_sequence) == ("stop_sequence", " two")


def test_anthropic_counts_tokens(anthropic, sdk):
    counted = anthropic.messages.count_tokens(model="local/echo", messages=HELLO, system="Be brief.")
    said = anthropic.messages.create(model="local/echo", max_tokens=5, messages=HELLO, system="Be brief.")
    assert counted.input_tokens == said.usage.input_tokens
    tools = anthropic.messages.count_tokens(model="local/echo", messages=HELLO, tools=[TOOL])
    assert tools.input_tokens > counted.input_tokens
    with pytest.raises(sdk.NotFoundError, match="similar"):
        anthropic.messages.count_tokens(model="up/lrge", messages=HELLO)


def test_anthropic_reads_one_model_and_when_it_was_made(anthropic, sdk):
    for listed in anthropic.models.list(limit=20):
        assert anthropic.models.retrieve(listed.id) == listed
        assert listed.created_at.tzinfo is not None
    with pytest.raises(sdk.NotFoundError, match="up/none"):
        anthropic.models.retrieve("up/none")


def turn(*blocks):
    return {"role": "user", "content": list(blocks)}


def test_anthropic_shows_images(anthropic, upstream):
    upstream.answer = lambda _: (200, {"choices": [{"message": {"content": "A dot."}, "finish_reason": "length"}]})
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    said = asked(anthropic, messages=[turn({"type": "image", "source": source}, {"type": "text", "text": "What?"})])
    assert (said.content[0].text, said.stop_reason) == ("A dot.", "max_tokens")
    assert upstream.requests[-1]["messages"][0]["content"][0]["image_url"] == {"url": "data:image/png;base64,aGk="}


def test_anthropic_gets_its_own_errors(anthropic, upstream, sdk):
    with pytest.raises(sdk.NotFoundError, match="similar: up/large"):
        asked(anthropic, model="up/lrge")
    with pytest.raises(sdk.BadRequestError, match="max_tokens") as refused:
        asked(anthropic, max_tokens=0)
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(sdk.BadRequestError, match="'document' cannot be passed on"):
        asked(anthropic, messages=[turn({"type": "document"})])
    upstream.cut = {"error": {"message": "out of memory"}}
    with (
        anthropic.messages.stream(model="up/large", max_tokens=50, messages=HELLO) as stream,
        pytest.raises(sdk.APIStatusError, match="out of memory"),
    ):
        list(stream.text_stream)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": 128_000, "timeout": 60}, "max_tokens.*65536"),
        ({"extra_body": {"temperature": 3}}, "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages"),
    ],
)
def test_anthropic_is_refused_with_the_field_that_is_wrong(anthropic, sdk, fields, words):
    with pytest.raises(sdk.BadRequestError, match=words):
        asked(anthropic, **fields)


STATUSES = {
    401: "AuthenticationError",
    402: "APIStatusError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "APIStatusError",
}


class Either:
    """One of the two clients: its package, the path of its chats, and a chat with it."""

    def __init__(self, request):
        self.name = request.param
        self.client = request.getfixturevalue(self.name)
        self.package = request.getfixturevalue({"openai": "openai_sdk", "anthropic": "sdk"}[self.name])
        self.path = {"openai": "/chat/completions", "anthropic": "/v1/messages"}[self.name]

    def ask(self, client=None, **options):
        client = (client or self.client).with_options(**options)
        create = client.chat.completions.create if self.name == "openai" else client.messages.create
        return create(model="up/large", messages=HELLO, max_tokens=50)


@pytest.fixture(params=["openai", "anthropic"])
def either(request):
    return Either(request)


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_is_the_error_that_users_of_the_client_catch(either, fault, status):
    fault(path=either.path, status=status)
    with pytest.raises(getattr(either.package, STATUSES[status])) as refused:
        either.ask()
    assert refused.value.status_code == status


def test_a_wrong_key_is_refused_in_the_words_of_the_server(either, talking):
    with (
        lk_jupyter.connect(talking.base_url, "lk_wrong") as session,
        getattr(lk_jupyter, either.name)(session=session) as stranger,
        pytest.raises(either.package.AuthenticationError, match="Invalid or expired"),
    ):
        either.ask(stranger)


def test_a_rate_limit_that_ends_soon_is_waited_for(either, fault):
    fault(path=either.path, status=429, headers={"Retry-After-Ms": "1"})
    assert either.ask(max_retries=1).id


def test_a_late_answer_and_a_lost_one_are_errors_of_the_client(either, upstream, fault):
    upstream.hold.clear()
    with pytest.raises(either.package.APITimeoutError):
        either.ask(timeout=0.2)
    upstream.hold.set()
    fault(path=either.path, lose_answer=True)
    with pytest.raises(either.package.APIConnectionError):
        either.ask()


def test_a_deployment_of_ones_own_answers_both(talking, deployment):
    with lk_jupyter.openai(deployment=deployment) as client:
        said = client.chat.completions.create(model=deployment, messages=HELLO)
        assert said.choices[0].message.content == "ONE TWO"
    with lk_jupyter.anthropic(deployment=deployment) as client:
        assert asked(client, model="any").content[0].text == "ONE TWO"
        with client.messages.stream(model="any", max_tokens=50, messages=HELLO) as stream:
            assert stream.get_final_text() == "ONETWO"


def test_the_asynchronous_clients_answer_too(talking):
    async def ask():
        async with lk_jupyter.openai(asynchronous=True) as client, lk_jupyter.anthropic(asynchronous=True) as other:
            first = await client.chat.completions.create(model="up/large", messages=HELLO)
            return first.choices[0].message.content, (await asked(other)).content[0].text

    assert asyncio.run(ask()) == ("ONE TWO", "ONE TWO")


def test_a_session_signs_in_their_place_and_is_renewed(talkative, upstream, home):
    talkative.add_user("talker@example.org")
    pair = talkative.client.auth.login({"email": "talker@example.org", "password": "correct horse"})
    with lk_jupyter.connect(talkative.base_url, pair.access_token) as session:
        with lk_jupyter.anthropic(session=session) as client:
            assert asked(client).content[0].text == "ONE TWO"
        with lk_jupyter.openai(session=session) as client:
            assert client.chat.completions.create(model="up/large", messages=HELLO).id == "up-1"


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_no_attribute_of_a_client_shows_the_key(talking, name):
    with getattr(lk_jupyter, name)() as client:
        shown = f"{client!r} {vars(client)} {vars(client._client)} {client.default_headers}"
    assert talking.api_key not in shown


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(talking, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf'This needs {name}: .*pip install .*"{name}>='):
        getattr(lk_jupyter, name)()
