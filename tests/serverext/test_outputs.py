"""What a run shows beside its text, as a page gets it."""

import asyncio
import json
import threading
import time
from contextlib import closing
from itertools import groupby

import pytest

from lk_jupyter.api._events import Finished, Output
from lk_jupyter.journal.journal import Journal, JournalEntry
from lk_jupyter.protocol.offloaded import FOLDER
from lk_jupyter.serverext.outputs import OutputsHandler
from lk_jupyter.serverext.stream import EventReader, encode_event

CODE = """
from IPython.display import HTML, display
print("before")
display(HTML("<b>first</b>"))
handle = display("number 0", display_id="counter")
handle.update("number 1")
print("after")
"""


@pytest.fixture
def ended(session):
    """A function that runs a cell on the cloud to its end and gives its id."""

    def run(code):
        run = session.run(code, rich=True)
        run.wait()
        return run.execution_id

    return run


@pytest.fixture
def followed(jupyter):
    """A function that gives the events of a run's stream."""

    def follow(execution_id, query=""):
        with jupyter.page.stream("GET", f"lk/runs/{execution_id}/stream{query}") as answer:
            lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    return follow


def text(events):
    return "".join(event.get("output", "") for event in events)


def shown(events):
    return [event["shown"] for event in events if "shown" in event]


def test_text_and_what_is_shown_come_apart(ended, followed):
    events = followed(ended(CODE))
    assert text(events) == "before\nafter\n"
    first, counter, update = shown(events)
    assert (first["kind"], first["data"]["text/html"]) == ("display", "<b>first</b>")
    assert (update["kind"], update["id"]) == ("update", counter["id"])
    assert "number 1" in update["data"]["text/plain"]
    assert events[-1] == {"finished": {"return_code": 0, "error": None}}


class WaitingOutputs(OutputsHandler):
    """Outputs whose last curves wait until the page has the end of the run."""

    end_received = threading.Event()

    def end_curves(self):
        assert self.end_received.wait(10)
        return super().end_curves()


def test_the_end_of_a_run_is_sent_before_its_last_curves():
    outputs = WaitingOutputs(None, "run")

    async def receive():
        reader = EventReader([Output("loss 3\nloss 2\nloss 1\n"), Finished(0)], outputs, "")
        async for event in reader.events():
            if "finished" in event:
                outputs.end_received.set()

    asyncio.run(asyncio.wait_for(receive(), 20))
    assert outputs.end_received.is_set()


LINES = """
import sys
from IPython.display import display
print("one")
print("two, unfinished", end="")
display("a figure")
print("three", file=sys.stderr)
print("four\\rFOUR\\n")
print("five", end="")
"""


def test_the_log_continues_after_the_lines_that_a_cell_shows(ended, followed):
    run_id = ended(LINES)
    expected = ["one\n", "two, unfinished\n", "three\n", "FOUR\n", "\nfive\n"]
    rests = [text(followed(run_id, f"?after={count}")) for count in range(7)]
    assert rests == ["".join(expected[count:]) for count in range(7)]


OUTPUTS = """
from IPython.display import HTML, display
display(HTML("<b>first</b>"))
print("one")
handle = display("number 0", display_id="counter")
print("two")
handle.update("number 1")
handle.update("number 2")
display("third")
print("three")
"""


def test_outputs_continue_after_the_last_output_of_a_cell_in_order_with_their_newest_state(ended, followed):
    run_id = ended(OUTPUTS)

    def rest(lines, output):
        events = followed(run_id, f"?after={lines}&after_output={output}")[:-1]
        items = [event.get("output") or (event["shown"]["kind"], event["shown"]["number"]) for event in events]
        return [item for item, _ in groupby(items)]  # at load, both states of the counter come, in two events

    update = ("update", 2)
    first, counter, third = (("display", number) for number in (1, 2, 3))
    assert rest(0, 0) == [first, "one\n", counter, "two\n", update, third, "three\n"]
    assert rest(1, 1) == [counter, "two\n", update, third, "three\n"]
    assert rest(2, 2) == [update, third, "three\n"]
    assert rest(3, 3) == [update]
    assert "number 2" in shown(followed(run_id, "?after=3&after_output=3"))[-1]["data"]["text/plain"]


BARS = """
from tqdm.auto import tqdm
for number in tqdm(range(3), desc="first"):
    pass
print("between")
second = tqdm(total=5, desc="<img>")
second.update(2)
second.close()
"""


def test_bars_continue_in_their_outputs_and_a_bar_that_does_not_complete_has_stopped(ended, followed):
    events = followed(ended(BARS), "?after=1")
    newest = {event["number"]: event["data"] for event in shown(events)}
    assert sorted(newest) == [-2, -1]
    assert "3/3" in newest[-1]["text/plain"]
    assert "(stopped)" in newest[-2]["text/plain"]
    assert "<progress" in newest[-2]["text/html"]
    assert "<img" not in newest[-2]["text/html"]
    assert next(event["kind"] for event in shown(events) if event["number"] == -2) == "display"
    assert text(events) == ""


def test_a_cell_gets_html_only_of_a_run_that_was_started_on_this_machine_and_server(
    jupyter, session, ended, followed, cloud
):
    run_id = ended(OUTPUTS)
    metadata = session.client.execution.get(run_id).metadata

    def kinds():
        return {kind for event in shown(followed(run_id, "?after=0")) for kind in event["data"]}

    def record(server):
        with closing(Journal(jupyter.journal)) as journal:
            journal.add(JournalEntry("token", server, execution_id=run_id, request={"metadata": metadata}))

    assert kinds() == {"text/plain"}
    record("https://elsewhere.example")
    assert kinds() == {"text/plain"}
    record(cloud.base_url)
    assert kinds() == {"text/plain", "text/html"}


def test_after_a_clear_all_lines_are_new(ended, followed):
    run_id = ended("from IPython.display import clear_output\nprint(1)\nprint(2)\nclear_output()\nprint(3)\nprint(4)")
    events = followed(run_id, "?after=2")
    assert (text(events), shown(events)) == ("3\n4\n", [{"kind": "clear"}])


@pytest.fixture
def large(ended, session, monkeypatch):
    """A run that has the bucket as a folder and shows what is too large for its log; nothing of it stays there."""
    monkeypatch.setenv("LK_INLINE_OUTPUT", "1000")
    yield ended("from IPython.display import HTML, display\ndisplay(HTML('<i>large</i>' * 1000))  # /mnt/s3")
    session.storage.remove(f"{FOLDER}/")


def test_what_was_too_large_for_the_log_is_brought_from_the_bucket(large, followed):
    (output,) = shown(followed(large))
    assert output["kind"] == "display"
    assert output["data"]["text/html"] == "<i>large</i>" * 1000


def test_what_has_gone_from_the_bucket_is_said_in_its_place(large, session, followed):
    assert session.storage.remove(f"{FOLDER}/")
    (output,) = shown(followed(large))
    assert set(output["data"]) == {"text/plain"}
    assert "bytes, not shown: " in output["data"]["text/plain"]


def test_what_was_printed_in_the_form_of_ours_stays_text(ended, followed):
    printed = "\x1b]7411;0123;1-1;1/1;e30=;0\x07"
    events = followed(ended(f"print({printed!r})"))
    assert shown(events) == []
    assert text(events) == f"{printed}\n"


def test_a_run_of_another_program_has_text_alone(cloud, followed):
    body = {"code": "print('plain')", "execution_type": "cpu"}
    events = followed(cloud.http.post("execution/streaming/start", json=body).json()["execution_id"])
    assert (text(events), shown(events)) == ("plain\n", [])


def test_the_log_of_a_run_that_the_server_does_not_have_is_shown_from_this_machine(jupyter, followed, cloud):
    run_id = "5b1d4c7e-3f0c-4000-8000-000000000000"
    jupyter.logs.mkdir(exist_ok=True)
    (jupyter.logs / f"{run_id}.log").write_text("before\nafter\n")
    events = followed(run_id)
    assert text(events) == "before\nafter\n"
    assert (
        events[-1]["trouble"]["detail"]
        == f"{cloud.base_url} doesn't have this run. This is the log stored on this machine."
    )


def test_of_a_run_that_nobody_has_it_is_said_at_once(followed, cloud):
    (event,) = followed("00000000-0000-4000-8000-000000000000")
    assert event["trouble"]["detail"] == f"{cloud.base_url} doesn't have this run."


@pytest.mark.parametrize("output", ["é\n", "line\u2028separator"])
def test_all_output_can_be_encoded_for_the_page(output):
    assert json.loads(encode_event({"output": output})) == {"output": output}


@pytest.mark.parametrize("length", [1 << 16, 1 << 30], ids=["in pieces", "as one piece"])
def test_the_curves_of_a_log_that_arrives_at_once_have_its_start_and_its_end_and_no_other_number(length):
    lines = [f"step {step} loss: {1 / step:.6f}\n" for step in range(1, 300_001)]
    log = "".join(lines)
    handler = OutputsHandler(None, "run")
    started = time.thread_time()
    events = []
    for at in range(0, len(log), length):
        events += [*handler.feed(log[at : at + length]), *handler.new_curves()]
    events += [*handler.end(), *handler.end_curves()]
    assert time.thread_time() - started < 1.5  # 3 to 4 s for all lines
    (curve,) = [event for event in events if "curves" in event][-1]["curves"]
    assert (curve["steps"][0], curve["steps"][-1]) == (1, 300_000)
    assert all(value == float(f"{1 / step:.6f}") for step, value in zip(curve["steps"], curve["values"], strict=True))
