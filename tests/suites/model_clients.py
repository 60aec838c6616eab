"""litellm and langchain-openai as their users call them, on the models of a local cloud."""

import asyncio
import os
from functools import partial

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask GitHub for prices

import litellm
import openai
import tiktoken
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

SERVER, KEY = os.environ["LK_BASE_URL"], os.environ["LK_API_KEY"]
HELLO = [{"role": "user", "content": "one two"}]
ANSWER = "I am local/echo, a stand-in that repeats. You said: one two"
OPENAI = {"model": "openai/local/echo", "api_base": f"{SERVER}/openai/v1", "api_key": KEY}
ANTHROPIC = {"model": "anthropic/local/echo", "api_base": f"{SERVER}/iris/anthropic", "api_key": KEY}
EMBEDS = {"model": "openai/local/hash-embedding", "api_base": f"{SERVER}/openai/v1", "api_key": KEY}
both = pytest.mark.parametrize("form", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])


@pytest.fixture
def chat():
    return ChatOpenAI(model="local/echo", base_url=OPENAI["api_base"], api_key=KEY, max_retries=0)


@pytest.fixture
def embeddings(monkeypatch):
    """Its embeddings, with an encoding that needs no download: each byte is a token."""
    bytes_alone = tiktoken.Encoding(
        "bytes", pat_str=r"[\s\S]", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda _: bytes_alone)
    return OpenAIEmbeddings(model="local/hash-embedding", base_url=OPENAI["api_base"], api_key=KEY, max_retries=0)


@both
def test_litellm_answers(form):
    said = litellm.completion(messages=HELLO, max_tokens=50, **form)
    assert said.choices[0].message.content == ANSWER
    assert said.choices[0].finish_reason == "stop"
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens > 0


@both
def test_litellm_streams(form):
    pieces = list(litellm.completion(messages=HELLO, max_tokens=50, stream=True, **form))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == ANSWER
    assert litellm.stream_chunk_builder(pieces).choices[0].finish_reason == "stop"


@both
def test_litellm_answers_asynchronously(form):
    said = asyncio.run(litellm.acompletion(messages=HELLO, max_tokens=50, **form))
    assert said.choices[0].message.content == ANSWER


@both
def test_litellm_ends_at_stop_words_and_budgets(form):
    said = litellm.completion(messages=HELLO, max_tokens=50, stop=[" two"], **form)
    assert said.choices[0].message.content.endswith("one")
    assert litellm.completion(messages=HELLO, max_tokens=2, **form).choices[0].finish_reason == "length"


@both
def test_litellm_raises_its_own_errors(form):
    other = f"{form['model'].partition('/')[0]}/none"
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    ask = partial(litellm.completion, messages=HELLO, max_tokens=50)
    with pytest.raises(litellm.AuthenticationError):
        ask(**{**form, "api_key": "lk_wrong"})
    with pytest.raises(litellm.NotFoundError, match="model not found"):
        ask(**{**form, "model": other})
    with pytest.raises(litellm.BadRequestError, match="calls no tools"):
        ask(tools=[tool], tool_choice="required", **form)


def test_litellm_without_a_budget_gets_the_limit_in_words():
    with pytest.raises(litellm.BadRequestError, match=r"max_tokens.*65536"):
        litellm.completion(messages=HELLO, **ANTHROPIC)


def test_litellm_is_refused_logprobs_with_words():
    with pytest.raises(litellm.BadRequestError, match="computes no logprobs"):
        litellm.completion(messages=HELLO, logprobs=True, **OPENAI)


@pytest.mark.parametrize("given", ["one", ["one", "two"], [[5, 7], [11]]])
def test_litellm_embeds(given):
    answer = litellm.embedding(input=given, **EMBEDS)
    assert len(answer.data) == (1 if isinstance(given, str) else len(given))
    assert all(row["embedding"] for row in answer.data)


def test_langchain_answers(chat):
    said = chat.invoke([SystemMessage("Be brief."), HumanMessage("one"), AIMessage("1"), HumanMessage("one two")])
    assert said.content == ANSWER
    assert said.usage_metadata["total_tokens"] > 0
    assert said.response_metadata["finish_reason"] == "stop"


def test_langchain_streams(chat):
    pieces = list(chat.stream("one two"))
    assert "".join(piece.content for piece in pieces) == ANSWER
    assert len(pieces) > 3


def test_langchain_answers_asynchronously_and_in_batches(chat):
    assert asyncio.run(chat.ainvoke("one two")).content == ANSWER
    assert [said.content for said in chat.batch(["one two", "one two"])] == [ANSWER, ANSWER]


def test_langchain_answers_in_a_chain(chat):
    chain = ChatPromptTemplate.from_messages([("user", "{number} two")]) | chat | StrOutputParser()
    assert chain.invoke({"number": "one"}) == ANSWER


def test_langchain_ends_at_stop_words(chat):
    assert chat.invoke("one two", stop=[" two"]).content.endswith("one")


def test_langchain_answers_as_json(chat):
    answer = chat.with_structured_output({"title": "T", "type": "object", "properties": {}}, method="json_mode")
    assert answer.invoke("Say it as JSON")["model"] == "local/echo"


def test_langchain_raises_the_errors_of_openai(chat):
    with pytest.raises(openai.BadRequestError, match="computes no logprobs"):
        chat.bind(logprobs=True).invoke("one")
    with pytest.raises(openai.NotFoundError, match="model not found"):
        chat.bind(model="none").invoke("one")
    with pytest.raises(openai.AuthenticationError):
        ChatOpenAI(model="local/echo", base_url=OPENAI["api_base"], api_key="lk_wrong", max_retries=0).invoke("one")


def test_langchain_embeds_texts_as_tokens(embeddings):
    one, two = embeddings.embed_documents(["one", "two"])
    assert len(one) == len(two)
    assert one != two
    assert embeddings.embed_query("one") == pytest.approx(one)


def test_langchain_embeds_a_text_longer_than_a_request(embeddings):
    embeddings.embedding_ctx_length = 4
    assert len(embeddings.embed_query("a text of several pieces")) == len(embeddings.embed_query("one"))


def test_langchain_embeds_texts_as_they_are(embeddings):
    embeddings.check_embedding_ctx_length = False
    assert len(embeddings.embed_documents(["one", "two"])) == 2
