"""A talk in a widget."""

import threading

import pytest
from patience import PATIENCE

from lk_jupyter.errors import UsageError
from lk_jupyter.widgets import Chat


@pytest.fixture
def chat(talking):
    chat = Chat("up/large", system="Be brief.")
    chat.refresh()
    yield chat
    chat.close()


def test_a_talk_goes_on_and_is_counted(chat, upstream):
    assert chat.models[:2] == ["local/echo", "up/large"]
    chat.ask("one")
    chat.ask("two")
    assert [turn["text"] for turn in chat.turns] == ["one", "ONE", "two", "TWO"]
    assert chat.turns[1]["facts"].startswith("7 + 5 tokens")
    assert chat.spent == "Cost so far: under 0.0001 credits"
    assert [message["content"] for message in upstream.requests[-1]["messages"]] == ["Be brief.", "one", "ONE", "two"]
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2
    chat.clear()
    assert (chat.turns, chat.messages, chat.spent) == ([], [], "")


def test_an_answer_can_be_stopped_and_what_came_stays(chat, upstream):
    upstream.hold.clear()
    came = threading.Event()
    chat.observe(lambda change: came.set() if change.new and change.new[-1]["text"] == "ONE" else None, "turns")
    asking = threading.Thread(target=chat.ask, args=["one two"])
    asking.start()
    assert came.wait(PATIENCE)
    with pytest.raises(UsageError, match="still coming"):
        chat.ask("three")
    chat.stop()
    asking.join(PATIENCE)
    assert not chat.answering
    assert chat.messages[-1]["content"] == "ONE"
    assert chat.spent == "Cost so far: 0.0000 credits, plus uncounted usage"


def test_its_picture_tells_what_was_said_without_markup_and_keys(chat):
    chat.ask("<b>hi</b>")
    shown = chat.picture().bundle()
    assert "You: <b>hi</b>" in shown["text/plain"]
    assert "up/large: <B>HI</B>" in shown["text/plain"]
    assert "&lt;B&gt;HI&lt;/B&gt;" in shown["text/html"]
    with pytest.raises(UsageError, match="The question seems to contain a secret"):
        chat.ask("lk_" + "a1b2c3d4" * 5)


def test_an_answer_is_shown_as_its_markdown_and_a_question_as_it_was_typed(chat):
    chat.ask("*one* [x](javascript:hits)")
    question, answer = chat.turns
    assert question["html"] == ""
    assert "<em>ONE</em>" in answer["html"]
    assert "href" not in answer["html"]
    assert "<em>ONE</em>" in chat.picture().bundle()["text/html"]


def test_nothing_and_nobody_to_ask_are_told(chat):
    with pytest.raises(UsageError, match="Type a question first"):
        chat.ask(" ")
    chat.model = "up/lrge"
    with pytest.raises(UsageError, match=r"Near: up/large"):
        chat.ask("hello")
    assert chat.turns == []
