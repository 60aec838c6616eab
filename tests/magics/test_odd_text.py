"""Output that JSON can contain and UTF-8 can't: half of a surrogate pair, in each way in which output arrives."""

import pytest
from stand_in import IDS, KEY, STREAM, StandIn, event, finished

from lk_jupyter import session

#: Halves of surrogate pairs in three lines: two halves of a character, and two lone halves.
CONTENTS = ["first\n", "smile \ud83d", "\ude00 here\n", "lone \ud800 half\n", "also \udfff\n", "last\n"]
TEXT = "first\nsmile 😀 here\nlone \ufffd half\nalso \ufffd\nlast\n"


@pytest.fixture
def cloud(home, monkeypatch):
    cloud = StandIn()
    monkeypatch.setenv("LK_BASE_URL", cloud.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    yield cloud
    cloud.close()


def stream_output(cloud):
    cloud.stream = (STREAM, *(event({"output": {"content": text}}) for text in CONTENTS), finished(returnCode=0))


def store_record(cloud):
    cloud.stream = (404, {"detail": "Not Found"})
    cloud.record = {"stdout": "".join(CONTENTS), "return_code": 0}


def store_log(cloud):
    cloud.stream = (404, {"detail": "Not Found"})
    lines = "".join(CONTENTS).splitlines(keepends=True)
    entries = [{"timestamp": f"2026-12-03T08:00:0{at}Z", "message": line} for at, line in enumerate(lines)]
    cloud.on("GET /logs/execution/{}", {"logs": entries})


@pytest.mark.parametrize("store", [stream_output, store_record, store_log])
def test_half_of_a_surrogate_pair_is_replaced_and_the_lines_next_to_it_are_shown(cloud, run_cell, home, store):
    store(cloud)
    shown = run_cell("%%lk_run --gpu A100\nprint()")
    assert all(line in shown for line in TEXT.splitlines())
    assert "Traceback" not in shown
    assert [path.read_text() for path in home.rglob("*.log")] == [TEXT]
    assert TEXT in run_cell(f"%lk_attach {IDS[0]}")


def test_half_of_a_surrogate_pair_in_a_chat_is_replaced(cloud):
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("good \ud83d", " day")]
    cloud.on("POST /serverless/chat/completions", lambda _: (STREAM, *map(event, chunks), b"data: [DONE]\n\n"))
    with session.connect(cloud.url, KEY) as connected:
        answer = connected.client.serverless.stream_chat_completions(
            {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        )
        assert "".join(chunk.choices[0].delta.content for chunk in answer) == "good \ufffd day"
