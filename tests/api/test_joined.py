"""Output that comes in a flood: fewer events, the same text."""

import json

from api.scripted import KEY, ScriptedServer
from api.test_event_stream import CHUNKED, FORMS, HELLO, LAST_CHUNK, chunk
from conftest import for_each
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.api._client import Client
from lk_jupyter.api._events import FLOOD, Output, join_output

MANY = HELLO * (2 * FLOOD // len(HELLO))
PLAIN = st.text().map(lambda text: b"data: %b\n\n" % json.dumps({"output": {"content": text}}).encode())
FORM = st.sampled_from([text for name, (text, _) in FORMS.items() if "last" not in name])
ODD = st.sampled_from(
    [
        b'data: {"output":{"content":null}}\n\n',
        b'data: {"output":{"content":"a"}},{"output":{"content":"b"}}\n\n',
        b'data: {"output":{"content":"half a pair \\ud83d"}}\n\n',
        b'data: {"output":{"content":"a"},"jobFinished":{}}\n\n',
        b"data: 1\n\n",
        b"data: ]],[[\n\n",
        b"data\n\n",
        b"\n\n\n",
    ]
)


def told(events):
    """Output in a row is one text."""
    said = [""]
    for event in events:
        if isinstance(event, Output):
            said[-1] += event.content
        else:
            said += [event, ""]
    return said


def test_events_of_plain_output_that_came_together_are_one():
    assert list(join_output([MANY])) == [
        b'data: {"output":{"content":"%b"}}\n\n' % (b"hello\\n" * MANY.count(HELLO)),
    ]


@for_each(range(1, len(HELLO)))
def test_an_event_that_two_pieces_share_stays_as_it_is(cut):
    first, *between, last = join_output([MANY + HELLO[:cut], HELLO[cut:] + MANY])
    assert first == last
    assert b"".join(between) == HELLO


def test_few_events_are_left_alone():
    pieces = [HELLO, HELLO[:9], HELLO[9:] + HELLO]
    assert list(join_output(pieces)) == pieces


@given(st.data())
def test_a_flood_tells_the_same_as_its_events_one_by_one(data):
    events = data.draw(st.lists(st.one_of(PLAIN, PLAIN, FORM, ODD, st.just(MANY)), min_size=1, max_size=8))
    text = b"".join(events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=3)))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True) if i < j]
    drops = [text[i : i + FLOOD - 1] for i in range(0, len(text), FLOOD - 1)]
    server = ScriptedServer()
    server.reply(CHUNKED, *map(chunk, pieces), LAST_CHUNK).reply(CHUNKED, *map(chunk, drops), LAST_CHUNK)
    with Client(server.url, KEY) as client:
        assert told(client.follow("e1")) == told(client.follow("e1"))
    server.close()
