"""A run that is followed over a real socket, with all that can happen to its stream."""

import threading
from random import Random

import pytest
from api.scripted import RESET, answer

from lk_jupyter.api import _polling
from lk_jupyter.api._events import Finished, Output
from lk_jupyter.errors import ConnectionFailed, NotFound, NotSignedIn
from lk_jupyter.runs.log import RunLog

from .conftest import DONE, RUN, STREAM, not_found, output

LINES = [f"line {number}\n" for number in range(6)]


def seen(follower):
    """All text that is shown, and how the run ended."""
    *outputs, last = follower.events()
    assert all(isinstance(event, Output) for event in outputs)
    return "".join(event.content for event in outputs), last


def kept(follower):
    return follower.log.read(0, follower.log.size).decode()


def test_a_whole_stream_is_passed_on(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES), DONE)]
    assert seen(follower) == ("".join(LINES), Finished(0))
    assert kept(follower) == "".join(LINES)


@pytest.mark.parametrize("came", [[], [3, 4, 5], [0, 1, 2], [0, 1, 4, 5], [0, 1, 2, 3, 4, 5]], ids=len)
@pytest.mark.parametrize("stored", ["combined_output", "stdout", "lines"])
def test_lines_that_a_stream_leaves_out_come_from_the_store(follower, scripted_run, came, stored):
    scripted_run.connections = [(STREAM, output(*(LINES[at] for at in came)), DONE)]
    if stored == "lines":
        scripted_run.store(*LINES)
    else:
        scripted_run.record[stored] = "".join(LINES)
    left_out = [line for at, line in enumerate(LINES) if at not in came]
    assert seen(follower) == ("".join([*(LINES[at] for at in came), *left_out]), Finished(0))
    assert sorted(kept(follower).splitlines(keepends=True)) == LINES
    assert stored == "lines" or kept(follower) == "".join(LINES)


@pytest.mark.parametrize("stored", ["combined_output", "lines"])
def test_a_replay_after_a_stream_that_began_late_repeats_no_line(follower, scripted_run, stored):
    scripted_run.connections = [(STREAM, output(*LINES[2:4]), RESET), (STREAM, output(*LINES), DONE)]
    scripted_run.record["combined_output"] = "".join(LINES)
    if stored == "lines":
        scripted_run.store(*LINES[:5])
    text, end = seen(follower)
    assert (sorted(text.splitlines(keepends=True)), end) == (LINES, Finished(0))


def test_a_run_that_ended_before_its_record_did_loses_no_line(follower, scripted_run, monkeypatch):
    scripted_run.connections = [(STREAM, DONE)]
    scripted_run.record["status"] = "running"
    waited = []

    def wait(_):
        scripted_run.record |= {"status": "completed", "stdout": "late\n"}
        return bool(waited.append(1))

    monkeypatch.setattr(follower.stop, "wait", wait)
    assert (seen(follower), len(waited)) == (("late\n", Finished(0)), 1)


@pytest.mark.parametrize("cut", range(0, 200, 9))
@pytest.mark.parametrize("end", [b"", RESET], ids=["closed", "reset"])
def test_a_stream_cut_at_any_byte_and_replayed_shows_every_line_once(follower, scripted_run, cut, end):
    whole = output(*LINES)
    scripted_run.connections = [(STREAM, whole[:cut], end), (STREAM, whole, DONE)]
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_stream_that_is_cut_again_and_again_shows_every_line_once(follower, scripted_run):
    whole = output(*LINES)
    scripted_run.connections = [(STREAM, whole[:cut]) for cut in (50, 30, 120, 60, 200)] + [(STREAM, whole, DONE)]
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_replay_in_other_chunks_shows_every_line_once(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:4])), (STREAM, output("".join(LINES)), DONE)]
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_replay_of_the_last_lines_shows_every_line_once(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:4])), (STREAM, output(*LINES[2:]), DONE)]
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_lines_printed_while_the_stream_was_cut_come_from_the_stored_log(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:2])), (STREAM, output(*LINES[4:]), DONE)]
    scripted_run.store(*LINES[:5])
    scripted_run.record["combined_output"] = "".join(LINES)
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_stream_that_ends_silently_is_completed_from_the_record(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:3]))]
    scripted_run.statuses = ["running", "completed"]
    scripted_run.record["combined_output"] = "".join(LINES)
    assert seen(follower) == ("".join(LINES), Finished(0))
    assert kept(follower) == "".join(LINES)


def test_what_the_record_does_not_hold_comes_from_the_stored_log(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:3]))]
    scripted_run.statuses = ["running", "completed"]
    scripted_run.store(*LINES[3:], *LINES[:3])
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_record_that_holds_each_stream_apart_completes_both(follower, scripted_run):
    scripted_run.connections = [(STREAM, output("out 0\n", "err 0\n"))]
    scripted_run.statuses = ["running", "completed"]
    scripted_run.record |= {"stdout": "out 0\nout 1\n", "stderr": "err 0\nerr 1\n"}
    assert seen(follower) == ("out 0\nerr 0\nout 1\nerr 1\n", Finished(0))


@pytest.mark.parametrize("combined", [None, "", "".join(LINES[-2:]), "".join(LINES[::2])], ids=repr)
@pytest.mark.parametrize("connections", [[], [(STREAM, output(*LINES[:3]))], [(STREAM, output(*LINES[:2]), DONE)]])
@pytest.mark.parametrize("streams", [[LINES], [LINES[::2], LINES[1::2]], [[], LINES]])
def test_a_record_that_combines_only_a_part_completes_the_output_from_both_streams(
    follower, scripted_run, combined, connections, streams
):
    scripted_run.connections = list(connections)
    scripted_run.statuses = ["running", "completed"] if connections else ["completed"]
    texts = dict(zip(("stdout", "stderr"), ("".join(lines) for lines in streams), strict=False))
    scripted_run.record |= {"combined_output": combined, **texts}
    text, _ = seen(follower)
    assert sorted(text.splitlines()) == sorted(kept(follower).splitlines()) == "".join(LINES).splitlines()
    assert not follower.lacks_output


@pytest.mark.parametrize("cut", range(len(LINES[0]) + 1, len(LINES[0]) * 3))
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\n\n"])
def test_a_record_with_other_line_ends_continues_an_unfinished_line(follower, scripted_run, cut, line_end):
    text = "".join(LINES)
    scripted_run.connections = [(STREAM, output(text[:cut])), (STREAM, output(text[cut:]), DONE)]
    scripted_run.record["stdout"] = text.replace("\n", line_end)
    shown, _ = seen(follower)
    assert shown.splitlines() == [line.strip() for line in LINES]


def test_a_clipped_record_completes_the_output_in_the_order_of_the_run(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:4]), RESET)]
    scripted_run.statuses = ["running", "completed"]
    clipped = {"combined_output": LINES[2:], "stdout": LINES[1::2], "stderr": LINES[2::2]}
    scripted_run.record |= {name: "".join(lines) for name, lines in clipped.items()}
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_run_without_a_stream_any_more_is_read_from_the_record(follower, scripted_run):
    scripted_run.statuses = ["failed"]
    scripted_run.record |= {"status": "failed", "return_code": 3, "combined_output": "a\nb\n"}
    assert seen(follower) == ("a\nb\n", Finished(3))


def test_a_platform_failure_is_told_from_the_record(follower, scripted_run):
    scripted_run.statuses = ["system_failure"]
    scripted_run.record |= {"status": "system_failure", "status_details": "node lost"}
    assert seen(follower) == ("", Finished(None, "node lost"))


def test_the_newlines_that_workers_add_are_squeezed(follower, scripted_run):
    follower.squeeze = True
    scripted_run.connections = [(STREAM, output("a\n\n", "\n", "b\n", "\n\nc\n\n"), DONE)]
    assert seen(follower) == ("a\nb\nc\n", Finished(0))


def test_an_unknown_state_means_that_the_run_goes_on(follower, scripted_run):
    scripted_run.statuses = ["warming the oven"]
    scripted_run.connections = [(STREAM, output("a\n")), (STREAM, output("a\n"), DONE)]
    assert seen(follower) == ("a\n", Finished(0))


def test_without_a_sign_of_the_server_following_is_given_up_but_not_the_run(follower, server, monkeypatch):
    monkeypatch.setattr(_polling, "PATIENCE", -1)
    server.handler = lambda _request: ()
    with pytest.raises(ConnectionFailed, match=f"may still be active.*%lk_attach {follower.execution_id}"):
        seen(follower)


def test_closing_from_another_thread_ends_a_silent_stream(follower, scripted_run):
    hold = threading.Event()
    scripted_run.connections = [(STREAM, output("a\n"), hold)]
    events = follower.events()
    assert next(events) == Output("a\n")
    closing = threading.Thread(target=follower.close)
    closing.start()
    assert list(events) == []
    closing.join()
    hold.set()


WHOLE = "".join(f"line é {number}\n" for number in range(6))


def again(follower, tmp_path, kept):
    """The same follower in a later kernel, which finds this much of the log."""
    follower.log.close()
    (tmp_path / "run.log").write_bytes(kept)
    follower.log = RunLog(tmp_path / "run.log")
    return follower


@pytest.mark.parametrize("cut", range(len(WHOLE.encode()) + 1))
def test_a_log_that_a_crash_cut_at_any_byte_is_shown_at_once_and_then_completed(follower, scripted_run, tmp_path, cut):
    scripted_run.connections = [(STREAM, output(*WHOLE.splitlines(keepends=True)), DONE)]
    scripted_run.record["combined_output"] = WHOLE
    follower.late = True
    assert seen(again(follower, tmp_path, WHOLE.encode()[:cut])) == (WHOLE, Finished(0))
    assert kept(follower) == WHOLE


@pytest.mark.parametrize("cut", [0, 1, 20, 33, 50])
def test_a_log_is_completed_from_the_store_where_the_stream_does_not_replay(follower, scripted_run, tmp_path, cut):
    lines = WHOLE.splitlines(keepends=True)
    scripted_run.connections = [(STREAM, output(*lines[5:]), DONE)]
    scripted_run.store(*lines[:5])
    scripted_run.record["combined_output"] = WHOLE
    follower.late = True
    assert seen(again(follower, tmp_path, WHOLE.encode()[:cut])) == (WHOLE, Finished(0))
    assert kept(follower) == WHOLE


def test_a_whole_log_is_shown_and_no_stream_is_asked_for(follower, scripted_run, tmp_path):
    scripted_run.record |= {"status": "failed", "return_code": 3}
    follower.is_complete = True
    assert seen(again(follower, tmp_path, WHOLE.encode())) == (WHOLE, Finished(3))


def test_the_end_is_waited_for_though_the_record_cannot_be_read_at_first(follower, scripted_run, server):
    scripted_run.connections = [(STREAM, output(*LINES[:2]))]
    scripted_run.statuses = ["completed"]
    scripted_run.record["combined_output"] = "".join(LINES)
    refusals = iter(range(9))

    def busy(request):
        if request.path.endswith(RUN) and "/stream/" not in request.path and next(refusals, None) is not None:
            return (answer(503, "{}", "application/json"),)
        return scripted_run(request)

    server.handler = busy
    assert seen(follower) == ("".join(LINES), Finished(0))


def test_a_session_that_ends_while_a_run_is_followed_names_the_run(follower, monkeypatch):
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", -1)

    def ended(_execution_id):
        raise NotSignedIn("Your session has expired (HTTP 401). Sign in again: %lk_login")

    monkeypatch.setattr(follower.client.execution, "status", ended)
    advice = f"may still be active.*%lk_attach {follower.execution_id}"
    with pytest.raises(NotSignedIn, match=rf"%lk_login\n.*{advice}"):
        list(follower.events())


def test_a_run_that_the_server_does_not_know_is_not_waited_for(follower, scripted_run, server, monkeypatch):
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", -1)
    server.handler = lambda _request: not_found("Execution not found")
    with pytest.raises(NotFound):
        seen(follower)


@pytest.mark.parametrize(
    "connections",
    [
        [(STREAM, output(*LINES[:2]), RESET)],
        [(STREAM, output(*LINES[:2])), (STREAM, output(*LINES[3:]), DONE)],
        [(STREAM, output(*LINES[:2])), (STREAM, DONE)],
        [(STREAM, output(*LINES[:4])), (STREAM, output(*LINES[:2]), RESET)],
        [(STREAM, RESET)],
    ],
    ids=["gone", "continued", "only its end", "cut replay", "nothing came"],
)
@pytest.mark.parametrize("stored", [None, ""])
def test_output_of_a_cut_stream_may_be_incomplete_where_nothing_was_stored(
    follower, scripted_run, connections, stored, monkeypatch
):
    wholes = []
    monkeypatch.setattr(follower, "on_complete", wholes.append)
    scripted_run.connections = list(connections)
    scripted_run.statuses = ["running", "running", "completed"]
    scripted_run.record["stdout"] = stored
    seen(follower)
    nothing_printed = stored == "" and not follower.log.size
    assert follower._ending.lacks_output is not nothing_printed
    assert len(wholes) == nothing_printed


@pytest.mark.parametrize(
    "connections",
    [
        [(STREAM, output(*LINES), DONE)],
        [(STREAM, output(*LINES))],
        [(STREAM, output(*LINES[:2]), RESET), (STREAM, output(*LINES), DONE)],
        [(STREAM, output(*LINES[:2]), RESET), (STREAM, output(*LINES[1:]), DONE)],
        [(STREAM, output(*LINES), RESET), (STREAM, output(*LINES), DONE)],
        [(STREAM, RESET), (STREAM, output(*LINES), DONE)],
        [not_found("Stream not found"), (STREAM, output(*LINES), DONE)],
    ],
    ids=["complete", "no last event", "replayed", "last lines replayed", "all came twice", "cut at first", "not yet"],
)
def test_output_that_came_to_its_end_is_complete_though_nothing_was_stored(follower, scripted_run, connections):
    scripted_run.connections = list(connections)
    scripted_run.statuses = ["running", "completed"] if len(connections) > 1 else ["completed"]
    assert seen(follower) == ("".join(LINES), Finished(0))
    assert not follower._ending.lacks_output


def test_a_cut_stream_is_complete_where_the_cloud_has_stored_it(follower, scripted_run):
    scripted_run.connections = [(STREAM, output(*LINES[:2]), RESET)]
    scripted_run.store(*LINES)
    scripted_run.statuses = ["completed"]
    scripted_run.record["end_time"] = "2026-06-02T09:15:00Z"
    assert seen(follower) == ("".join(LINES), Finished(0))
    assert not follower._ending.lacks_output


PRINTED = [f"step {number} loss 0.{997 - number}\n" for number in range(40)]


def breaks_without_replay(scripted_run, server, seed, store):
    """Let the stream break three times within a line; what is printed meanwhile never comes again."""
    text, random = "".join(PRINTED), Random(seed)
    cuts = sorted(at for at in random.sample(range(1, len(text)), 30) if text[at - 1] != "\n")[::10][:3]
    ends = [cut + random.choice([0, 3, 17, 60]) for cut in cuts]
    parts = [text[start:end] for start, end in zip([0, *ends], [*cuts, None], strict=True)]
    scripted_run.connections = [(STREAM, output(part), random.choice([RESET, b""])) for part in parts[:-1]]
    scripted_run.connections.append((STREAM, output(parts[-1]), DONE))
    record = scripted_run.record

    def handle(request):
        if not scripted_run.connections:
            scripted_run.record = record | store
        return scripted_run(request)

    server.handler = handle


STORES = {
    "in the order of the run": {"combined_output": "".join(PRINTED)},
    "streams apart": {"stdout": "".join(PRINTED[::3]), "stderr": "".join(PRINTED[1::3] + PRINTED[2::3])},
    "the last part": {"stdout": "".join(PRINTED)[-300:]},
    "nothing": {},
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("seed", range(20))
def test_a_stream_that_breaks_within_a_line_and_is_not_replayed_has_each_line_once_or_names_the_gap(
    follower, scripted_run, server, seed, store
):
    breaks_without_replay(scripted_run, server, seed, STORES[store])
    text, end = seen(follower)
    ending = follower._ending
    assert end == Finished(0)
    if not ending.lacks_output:
        assert sorted(kept(follower).splitlines(keepends=True)) == sorted(PRINTED)
        assert set(PRINTED) <= set(text.splitlines(keepends=True))
    if not ending.lacks_output and not ending.repaired_lines:
        assert sorted(text.splitlines(keepends=True)) == sorted(PRINTED)
    assert not ending.lacks_output or store in {"the last part", "nothing"}
