import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.api._events import Finished, Output, parse


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"output": {"content": "epoch 1\n"}}, Output("epoch 1\n")),
        ({"output": {"content": "\u001b[32mok\u001b[0m\n\n"}}, Output("\u001b[32mok\u001b[0m\n\n")),
        ({"output": {}}, Output("")),
        ({"type": "output", "content": "hi"}, Output("hi")),
        ({"Message": {"Output": {"content": "hi"}}}, Output("hi")),
        ({"jobFinished": {"job": {"result": {"returnCode": 0}}}}, Finished(0)),
        ({"jobFinished": {"job": {"result": {"returnCode": "0"}}}}, Finished(0)),
        ({"jobFinished": {"job": {"result": {"returnCode": None}}}}, Finished(0)),
        ({"jobFinished": {"job": {"result": {}}}}, Finished(0)),
        ({"jobFinished": {}}, Finished(0)),
        ({"jobFinished": {"job": {"result": {"returnCode": "1"}}}}, Finished(1)),
        ({"jobFinished": {"job": {"result": {"error": "no container"}}}}, Finished(0, "no container")),
        ({"jobFinished": {"job": {"result": {"returnCode": "odd"}}}}, Finished(None, "exit code odd")),
        ({"jobFinished": {"job": "odd"}}, Finished(0)),
        ({"Message": {"JobFinished": {"job": {"result": {"return_code": 3}}}}}, Finished(3)),
        ({"type": "completed", "status": "completed", "execution_time": 7.4}, Finished(0)),
        ({"type": "completed", "status": "failed"}, Finished(None, "failed")),
        ({"type": "error", "message": "no node"}, Finished(None, "no node")),
        ({"type": "error"}, Finished(None, "the platform gave no reason")),
    ],
)
def test_every_form_of_a_message_becomes_its_event(message, event):
    assert list(parse(json.dumps(message))) == [event]


@pytest.mark.parametrize(
    "data",
    [
        '{"statusUpdate": {"status": "running"}}',
        "Stream complete",
        "",
        "[1]",
        "17",
        "null",
        '{"type": 5}',
        "[" * 99_999,
    ],
)
def test_what_is_no_event_is_passed_over(data):
    assert list(parse(data)) == []


def test_only_a_clean_end_is_a_success():
    assert Finished(0).succeeded
    assert not Finished(1).succeeded
    assert not Finished(0, "no container").succeeded
    assert not Finished(None, "no node").succeeded


def test_several_objects_in_one_event_all_count():
    data = '{"output":{"content":"a"}}\nnot JSON\n{"output":{"content":"b"}}'
    assert list(parse(data)) == [Output("a"), Output("b")]


def test_one_object_over_several_lines_is_one_event():
    assert list(parse('{"output":\n{"content":"a"}}')) == [Output("a")]


@given(st.text())
def test_any_output_comes_through_unchanged(text):
    assert list(parse(json.dumps({"output": {"content": text}}))) == [Output(text)]


FIELDS = ["output", "jobFinished", "job", "result", "returnCode", "error", "type", "Message", "Output", "content"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner),
    max_leaves=12,
)


@given(JSON)
def test_no_message_breaks_the_reader(message):
    for event in parse(json.dumps(message)):
        assert isinstance(event, Output | Finished)
