"""A session without work ends; a session in use doesn't."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from lk_jupyter.remote.script import session


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += max(seconds, 0.01)


@pytest.fixture
def clock(monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(session, "time", fake)
    monkeypatch.setitem(session._work, "since", fake.now)
    monkeypatch.setitem(session._work, "cells", 1)
    monkeypatch.setitem(session._moment, "cells", 1000)  # no moment is due
    monkeypatch.setitem(session._moment, "due", 0.0)
    return fake


@pytest.fixture
def signals(monkeypatch):
    """The signals that the session sends."""
    sent = []
    monkeypatch.setattr(session.os, "kill", lambda _, number: sent.append(number))
    return sent


class Slow:
    """A variable that takes long to save, so that a cell arrives meanwhile the first time."""

    def __init__(self, clock, saves, seconds=30.0):
        self._clock, self._saves, self._seconds = clock, saves, seconds

    def __reduce__(self):
        self._saves.append(self._clock.now)
        if len(self._saves) == 1:
            session._mark_busy()
            session._count_cell(None)
            self._clock.sleep(self._seconds)
            session._mark_idle()
        raise ValueError("not sent")


def release(namespace, **settings):
    place = {"put": "http://127.0.0.1:9/", "key": "00"}
    shell = SimpleNamespace(user_ns=namespace, user_ns_hidden={})
    session._release_when_idle({"idle": 60, "left": 100_000, "save": place, **settings}, shell)


def test_a_session_that_was_used_while_it_saved_its_variables_stays(clock, signals, monkeypatch):
    monkeypatch.setattr("lk_jupyter.remote.values.transfer.TRIES", 1)
    saves = []
    started = clock.now
    release({"slow": Slow(clock, saves)})
    assert len(saves) == 2  # after the cell, the session waits for 60 s again, and saves again
    assert saves[1] - saves[0] >= 90
    assert clock.now - started >= 150
    assert signals == [session.signal.SIGTERM]


def test_a_cell_is_interrupted_before_the_time_limit_so_that_no_pickle_reads_while_it_writes(
    clock, signals, monkeypatch
):
    monkeypatch.setattr("lk_jupyter.remote.values.transfer.TRIES", 1)
    session._mark_busy()
    monkeypatch.setattr(session.os, "kill", lambda _, number: (signals.append(number), session._mark_idle()))
    started = clock.now
    release({"x": 1}, left=600)
    assert signals == [session.signal.SIGINT, session.signal.SIGTERM]
    assert 560 <= clock.now - started < 600


def test_a_cell_of_a_machine_with_a_short_limit_gets_most_of_its_time(clock, signals, monkeypatch):
    session._mark_busy()
    monkeypatch.setattr(session.os, "kill", lambda _, number: (signals.append(number), session._mark_idle()))
    started = clock.now
    release({}, left=8, save=None)
    assert signals == [session.signal.SIGINT, session.signal.SIGTERM]
    assert 5 <= clock.now - started < 8


def test_a_session_saves_a_moment_after_a_cell_unless_another_cell_runs_meanwhile(clock, signals, monkeypatch):
    uploads, saves = [], []
    monkeypatch.setattr(session, "_upload_variables", lambda _, text, __: uploads.append(json.loads(text)["carry"]))
    monkeypatch.setitem(session._moment, "cells", 0)
    release({"slow": Slow(clock, saves, 0.01), "x": 1})
    assert len(saves) == 3  # a cell ran while the first moment was packed
    assert [upload.get("moment") is not None for upload in uploads] == [True, False]
    assert saves[1] <= uploads[0]["moment"] + 1 < saves[2]
