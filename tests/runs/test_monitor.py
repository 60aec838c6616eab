"""What the monitor of a run passes on from its thread to the cell."""

from contextlib import closing
from types import SimpleNamespace

import pytest

from lk_jupyter.api._events import Finished
from lk_jupyter.protocol.frames import Splitter
from lk_jupyter.runs import monitor as module
from lk_jupyter.runs.monitor import RunMonitor


class ReadMeanwhile:
    """An event whose text the cell asks for at the very moment in which it comes."""

    def __init__(self, text, read):
        self._text, self._read = text, read

    @property
    def content(self):
        self._read()
        return self._text


def monitor_of(follower, tmp_path):
    run = SimpleNamespace(
        submitted_at=None,
        log_path=tmp_path / "log",
        messages=SimpleNamespace(splitter=lambda: None, complete=lambda frame: frame),
        short_id="1",
        follower=lambda _: follower,
        learn=lambda _: None,
    )
    return RunMonitor(run)


def test_text_that_comes_while_the_cell_reads_is_not_lost(tmp_path):
    taken = []

    def events():
        for text in ("one\n", "two\n", "three\n"):
            yield ReadMeanwhile(text, lambda: taken.append(monitor.take()))
        yield Finished(0)

    follower = SimpleNamespace(events=events, recalls=True, lost=False, close=lambda: None)
    monitor = monitor_of(follower, tmp_path)
    monitor._read_stream()
    taken.append(monitor.take())
    assert "".join(taken) == "one\ntwo\nthree\n"
    assert monitor.error is None


@pytest.mark.parametrize(
    ("state", "silence", "dropped"), [("completed", -1.0, 1), ("running", -1.0, 0), ("completed", 60.0, 0)]
)
def test_a_silent_stream_of_a_run_that_has_ended_is_asked_again(monkeypatch, tmp_path, state, silence, dropped):
    drops = []
    monitor = monitor_of(SimpleNamespace(recalls=True, lost=False, drop=lambda: drops.append(1)), tmp_path)
    monkeypatch.setattr(module, "_SILENCE", silence)
    with closing(monitor._reader.log):
        monitor.apply_state(state)
    assert len(drops) == dropped
    assert monitor.state == state


@pytest.mark.parametrize("recalls", [False, True])
def test_text_says_that_a_run_runs_unless_an_earlier_look_has_kept_it(tmp_path, recalls):
    events = iter([SimpleNamespace(content="text"), Finished(0)])
    follower = SimpleNamespace(events=lambda: events, recalls=recalls, lost=False)
    monitor = monitor_of(follower, tmp_path)
    before = monitor.state
    monitor._read_stream()
    assert monitor.error is None
    assert monitor.state == (before if recalls else "running")


def test_text_that_only_begins_like_a_frame_is_shown_at_the_end(tmp_path):
    events = iter([SimpleNamespace(content="one\n\x1b]7411;"), Finished(0)])
    monitor = monitor_of(SimpleNamespace(events=lambda: events, recalls=False, lost=False), tmp_path)
    monitor._splitter = monitor._reader.splitter = Splitter("5f2c9f0e8d7b4a61")
    monitor._read_stream()
    assert monitor.take() == "one\n\x1b]7411;"


class Listed:
    """A run whose state, read alone, is counted; ``learn`` keeps the reported states."""

    def __init__(self, name, tmp_path):
        self.execution_id = self.short_id = name
        self.submitted_at, self.log_path = None, tmp_path / name
        self.messages = SimpleNamespace(splitter=lambda: None)
        self.reads, self.learned = 0, []
        self.learn = self.learned.append

    def follower(self, _log):
        return SimpleNamespace(recalls=False, lost=False, drop=lambda: None)

    @property
    def status(self):
        self.reads += 1
        return "Completed"


def test_the_states_of_three_runs_are_read_with_one_request_and_of_an_unlisted_run_alone(tmp_path):
    requests = []
    listed = [SimpleNamespace(execution_id=name, status="Running") for name in "ab"]
    workloads = SimpleNamespace(list=lambda: requests.append(1) or listed)
    runs = [Listed(name, tmp_path) for name in "abc"]
    monitors = [RunMonitor(run) for run in runs]
    module._update_states(SimpleNamespace(client=SimpleNamespace(workloads=workloads)), monitors)
    for monitor in monitors:
        monitor._reader.log.close()
    assert len(requests) == 1
    assert [run.reads for run in runs] == [0, 0, 1]
    assert [run.learned for run in runs] == [["running"], ["running"], ["completed"]]
