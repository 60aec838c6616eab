"""The stock clients of OpenAI and Anthropic that we hand out, against a local cloud with a real upstream."""

from __future__ import annotations

import asyncio
import sys

import anthropic as sdk
import pytest

import lk_jupyter
from lk_jupyter.errors import UsageError

HELLO = [{"role": "user", "content": "one two"}]
TOOL = {"name": "weather", "description": "Tell the weather.", "input_schema": {"type": "object"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}


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


def asked(anthropic, **fields):
    return anthropic.messages.create(**{"model": "up/large", "max_tokens": 50, "messages": HELLO, **fields})


def test_openai_answers_whole_and_as_a_stream(openai):
    said = openai.chat.completions.create(model="up/large", messages=HELLO)
    assert said.choices[0].message.content == "ONE TWO"
    stream = openai.chat.completions.create(model="up/large", messages=HELLO, stream=True)
    assert [piece.choices[0].delta.content for piece in stream] == ["ONE", "TWO", None]
    assert "up/large" in {model.id for model in openai.models.list()}
    assert openai.embeddings.create(model="up/embed", input=["abc"]).data[0].embedding == [3.0, 1.0]


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


def turn(*blocks):
    return {"role": "user", "content": list(blocks)}


def test_anthropic_shows_images(anthropic, upstream):
    upstream.answer = lambda _: (200, {"choices": [{"message": {"content": "A dot."}, "finish_reason": "length"}]})
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    said = asked(anthropic, messages=[turn({"type": "image", "source": source}, {"type": "text", "text": "What?"})])
    assert (said.content[0].text, said.stop_reason) == ("A dot.", "max_tokens")
    assert upstream.requests[-1]["messages"][0]["content"][0]["image_url"] == {"url": "data:image/png;base64,aGk="}


def test_anthropic_gets_its_own_errors(anthropic, upstream):
    with pytest.raises(sdk.NotFoundError, match="near: up/large"):
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
    with pytest.raises(UsageError, match=rf'This needs the package {name}: %pip install "lk-jupyter\[{name}\]"'):
        getattr(lk_jupyter, name)()
