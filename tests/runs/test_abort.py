"""lk_jupyter.runs.abort: against servers that answer in every way that there is, over a real socket."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from api.scripted import answer
from localcloud.conftest import until
from patience import PATIENCE

from lk_jupyter.runs import abort
from lk_jupyter.runs.abort import abort_soon, close_when_idle
from lk_jupyter.runs.interrupts import serve_all
from lk_jupyter.runs.run import Run

from .conftest import RUN, not_found, ok


class Cloud:
    """A server with one run; ``answers`` are those to aborts, the last for good, after which the run has ended."""

    def __init__(self, *answers, ends=True, state="running"):
        self.answers = list(answers)
        self.ends = ends
        self.state = state
        self.aborts = 0

    def __call__(self, request):
        if "/workloads/abort/" not in request.path:
            return ok({"execution_id": RUN, "status": self.state})
        self.aborts += 1
        last = len(self.answers) == 1
        reply = self.answers[0] if last else self.answers.pop(0)
        if last and self.ends:
            self.state = "aborted"
        return reply


def said(status, text, kind="application/json", **headers):
    return (answer(status, text, kind, **headers),)


ODD = {
    "empty": said(200, ""),
    "no content": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",),
    "a message": said(200, '{"message": "Run abort requested"}'),
    "accepted": said(202, "{}"),
    "a list": said(200, '["aborted"]'),
    "a number": said(200, "1"),
    "text": said(200, "OK", "text/plain"),
    "broken JSON": said(200, "{not json"),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_any_answer_of_success_is_enough_and_the_abort_is_sent_once(client, server, odd):
    server.handler = cloud = Cloud(odd)
    sent = abort_soon(client, RUN)
    assert sent.wait(PATIENCE)
    assert sent.error is None
    assert cloud.aborts == 1


class EventualCloud:
    """A cloud that knows a new run only after some answers of 404; ``unknown`` is how many aborts get one."""

    def __init__(self, unknown, *, accepts_unknown=False):
        self.unknown = unknown
        self.accepts_unknown = accepts_unknown
        self.is_active = True
        self.billed = []
        self.accepted = 0

    def __call__(self, request):
        if request.path.startswith("/billing/history") or "/billing/" in request.path:
            return ok({"executions": self.billed, "total": len(self.billed)})
        if "/abort" in request.path:
            self.unknown -= 1
            if self.unknown < 0:
                self.is_active = False
            self.accepted += self.unknown < 0
            return ok({}) if self.unknown < 0 or self.accepts_unknown else not_found("Execution not found")
        if self.unknown > 0:
            return not_found("Execution not found")
        return ok({"execution_id": RUN, "status": "running" if self.is_active else "aborted"})


@pytest.mark.parametrize("accepts_unknown", [False, True])
def test_a_run_that_the_cloud_does_not_know_for_a_while_is_aborted_again_until_it_ends(
    client, server, monkeypatch, accepts_unknown
):
    monkeypatch.setattr(abort, "PAUSES", (0.0,))
    monkeypatch.setattr(abort, "_REPEAT", 0.2)
    server.handler = cloud = EventualCloud(12, accepts_unknown=accepts_unknown)
    sent = abort_soon(client, RUN)
    until(sent.ended.is_set)
    assert cloud.accepted
    assert not cloud.is_active


@pytest.mark.parametrize("accepts_unknown", [False, True])
def test_a_run_that_stays_unknown_is_reported_and_never_called_aborted(client, server, monkeypatch, accepts_unknown):
    monkeypatch.setattr(abort, "PAUSES", (0.0, 0.1))
    monkeypatch.setattr(abort, "_REPEAT", 0.2)
    monkeypatch.setattr(abort, "PATIENCE", 1.0)
    server.handler = EventualCloud(10**6, accepts_unknown=accepts_unknown)
    sent = abort_soon(client, RUN)
    until(lambda: "may be billed" in sent.words)
    assert not sent.ended.is_set()
    until(lambda: (client, RUN) not in abort._aborts)
    assert not sent.ended.is_set()
    assert "may be billed" in sent.words


def test_a_row_of_the_billing_history_is_the_end_of_a_run_that_the_cloud_no_longer_knows(client, server):
    server.handler = cloud = EventualCloud(10**6)
    cloud.billed = [{"execution_id": RUN, "status": "aborted"}]
    assert abort_soon(client, RUN).wait(PATIENCE)


@pytest.mark.parametrize("status", [400, 404, 409, 410])
@pytest.mark.parametrize("state", ["aborted", "completed"])
def test_a_refusal_to_abort_what_has_ended_is_its_end(client, server, status, state):
    server.handler = cloud = Cloud(said(status, '{"detail": "Run has already ended"}'), ends=False, state=state)
    assert abort_soon(client, RUN).wait(PATIENCE)
    assert cloud.aborts == 1


#: Refusals that say nothing of the run: a key that is taken again in a moment, a gateway between.
PASSING = (401, 402, 408, 418, 425, 451)


@pytest.mark.parametrize(
    "failure",
    [said(503, "{}"), said(500, "{}"), said(502, "<html>", "text/html"), (), *(said(each, "{}") for each in PASSING)],
    ids=["503", "500", "page", "lost", *map(str, PASSING)],
)
def test_a_failure_is_said_at_once_and_the_abort_is_repeated_in_the_background(client, server, failure, monkeypatch):
    monkeypatch.setattr(abort, "PAUSES", (0.0,))
    server.handler = cloud = Cloud(*[failure] * 9, ODD["a message"])
    sent = abort_soon(client, RUN)
    until(lambda: sent.is_stuck or sent.ended.is_set())
    if sent.is_stuck:  # the repetition is as fast as this test
        assert "The run may still be active" in sent.words
        assert f"%lk_abort {RUN}" in sent.words
    until(sent.ended.is_set)
    assert cloud.aborts == 10
    assert sent.error is None


def test_a_run_that_keeps_running_after_its_abort_was_accepted_is_named(client, server):
    server.handler = cloud = Cloud(ODD["a message"], ends=False)
    sent = abort_soon(client, RUN)
    assert not sent.wait(0.5)
    assert sent.accepted
    assert sent.words.startswith("The server accepted the abort, but the run is still running.")
    cloud.state = "aborted"
    assert sent.ended.wait(PATIENCE)


def test_a_refusal_for_good_is_not_repeated(client, server):
    server.handler = cloud = Cloud(said(403, '{"detail": "Not your run"}'), ends=False)
    sent = abort_soon(client, RUN)
    assert not sent.wait(PATIENCE)
    assert "Not your run" in sent.words
    assert cloud.aborts == 1


def failing_once(function):
    """Return a function whose first call fails with an error that no code expects."""
    errors = [OverflowError("too large")]

    def call(run):
        if errors:
            raise errors.pop()
        return function(run)

    return call


def test_an_abort_is_repeated_after_an_error_that_nobody_thought_of(client, server, monkeypatch):
    monkeypatch.setattr(abort, "PAUSES", (0.0,))
    server.handler = Cloud(ODD["empty"])
    monkeypatch.setattr(client.workloads, "abort", failing_once(client.workloads.abort))
    assert abort_soon(client, RUN).ended.wait(PATIENCE)


def test_a_run_that_was_requested_to_stop_is_aborted_after_an_error_that_nobody_thought_of(client, server, monkeypatch):
    server.handler = Cloud(ODD["empty"])
    monkeypatch.setattr(client.execution, "status", failing_once(client.execution.status))
    assert abort_soon(client, RUN, request_stop=lambda: None, grace=PATIENCE).ended.wait(PATIENCE / 2)


def test_an_abort_that_is_on_its_way_is_not_sent_twice(client, server):
    server.handler = cloud = Cloud(ODD["a message"], ends=False)
    assert abort_soon(client, RUN) is abort_soon(client, RUN)
    cloud.state = "aborted"
    until(lambda: (client, RUN) not in abort._aborts)
    assert cloud.aborts == 1


def test_python_ends_only_once_the_server_has_heard_of_the_abort(client, server):
    cloud, go_on = Cloud(ODD["a message"]), threading.Event()

    def slow(request):
        assert "/abort/" not in request.path or go_on.wait(PATIENCE)
        return cloud(request)

    server.handler = slow
    sent = abort_soon(client, RUN)
    end = threading.Thread(target=abort.wait_for_aborts)
    end.start()
    end.join(0.1)
    assert end.is_alive()
    go_on.set()
    end.join(PATIENCE)
    assert not end.is_alive()
    assert sent.has_arrived


def test_interrupts_are_ignored_only_while_aborts_are_awaited(client, server):
    handlers = []

    def handle(request):
        if "/abort/" in request.path:
            until(lambda: signal.getsignal(signal.SIGINT) is not before)
            handlers.append(signal.getsignal(signal.SIGINT))
        return cloud(request)

    before, cloud = signal.getsignal(signal.SIGINT), Cloud(ODD["a message"])
    server.handler = handle
    abort_soon(client, RUN)
    abort.wait_for_aborts()
    assert handlers == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_client_is_closed_once_its_aborts_have_come_to_their_ends(client, server, monkeypatch):
    monkeypatch.setattr(abort, "PAUSES", (0.0,))
    server.handler = Cloud(*[said(503, "{}")] * 5, ODD["empty"])
    sent, closed = abort_soon(client, RUN), []
    close_when_idle(client, lambda: closed.append(sent.ended.is_set()))
    until(lambda: closed)
    assert closed == [True]


@pytest.mark.usefixtures("home")
def test_a_stop_that_gets_404_aborts_the_run_unless_its_end_is_known(client, server, monkeypatch):
    monkeypatch.setattr(abort, "PAUSES", (0.0,))
    cloud = EventualCloud(3)

    def without_stop(request):
        return not_found("Execution not found") if "/stop/" in request.path else cloud(request)

    server.handler = without_stop
    Run(SimpleNamespace(client=client), RUN).stop()
    until(lambda: not cloud.is_active)


@pytest.mark.usefixtures("home")
def test_a_second_interrupt_of_whoever_waits_for_an_aborted_run_names_the_command_that_stops_it(
    client, server, monkeypatch
):
    server.handler = cloud = Cloud(ODD["a message"])
    run = Run(SimpleNamespace(client=client), RUN)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(abort.Abort, "wait", interrupted)
    assert f"Stop it: %lk_abort {RUN}" in run.describe_abort()
    monkeypatch.setattr(abort.Abort, "wait_for_answer", interrupted)
    with pytest.raises(KeyboardInterrupt, match=f"%lk_abort {RUN}"):
        run.abort()
    until(lambda: cloud.aborts and (client, RUN) not in abort._aborts)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("chosen", "again"), [("abort", False), (None, True), ("detach", False)])
def test_an_interrupt_of_whoever_waits_for_a_run_aborts_it_unless_that_is_not_wanted(
    client, server, monkeypatch, chosen, again
):
    server.handler = cloud = Cloud(ODD["a message"])
    options = SimpleNamespace(on_interrupt=chosen)
    run = Run(SimpleNamespace(client=client), RUN, bundle=SimpleNamespace(options=options))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "wait_aside", interrupted)
    if again:
        monkeypatch.setattr(run, "describe_abort", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    until(serve_all)
    until(lambda: (client, RUN) not in abort._aborts)
    assert bool(cloud.aborts) == (chosen != "detach")


#: Starts a run, waits for it, and prints its id once it does.
SCRIPT = """
import threading, time, lk_jupyter
from lk_jupyter.runs.interrupts import is_blocking

def report():
    while not is_blocking(run.execution_id):
        time.sleep(0.01)
    print(run.execution_id, flush=True)

with lk_jupyter.connect() as session:
    run = session.run("import time; time.sleep(100)", timeout=600)
    threading.Thread(target=report, daemon=True).start()
    run.wait()
"""


@pytest.mark.parametrize(("times", "gap"), [(2, 0), (2, 0.05), (2, 0.3), (20, 0.02)])
def test_a_script_that_is_interrupted_again_and_again_leaves_no_run(signed_in, times, gap):
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        run = process.stdout.readline().strip()
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(gap)
        assert process.wait(PATIENCE) != 0
    until(lambda: signed_in.client.execution.status(run).status == "aborted")
