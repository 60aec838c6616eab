"""lk_jupyter.magics._output: the receipt of a run, and what its observers hear."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.magics._output import live
from lk_jupyter.magics._output.run import RunDisplay
from lk_jupyter.magics._output.run_status import receipt
from lk_jupyter.runs.observers.base import ObserverGroup, RunObserver


@pytest.mark.parametrize(("waited", "took"), [(2, "10.0 s"), (90, "waited 1 min 30 s, ran 10.0 s")])
def test_a_receipt_says_how_long_the_run_waited_where_that_was_long(waited, took):
    created = datetime(2026, 11, 29, tzinfo=timezone.utc)
    start = created + timedelta(seconds=waited)
    record = ExecutionRecord(
        execution_id="x",
        status="completed",
        created_at=created,
        start_time=start,
        end_time=start + timedelta(seconds=10),
    )
    assert receipt(record, None).facts[:1] == [took]


def test_observers_hear_all_that_the_run_wrote_before_they_are_asked_at_its_end():
    class Listener(RunObserver):
        heard = ""

        def tick(self, run, seconds, text):
            self.heard += text
            return []

        def ended(self, run, record):
            return [self.heard]

    view = RunDisplay(None, None, observers=ObserverGroup([Listener()]))
    machines = dict.fromkeys(("bundle", "machine", "requested_machine", "quote"))
    view._run = SimpleNamespace(
        **machines, mark_viewed=lambda: None, messages=SimpleNamespace(withheld=0), log_problem=""
    )
    view.observe("one\n")
    view._list_observer_facts(1.0)
    view.observe("last words\n")
    _, notices = view.close_run(ExecutionRecord(execution_id="x", status="completed"))
    assert notices == ["one\nlast words\n"]


def test_a_terminal_shows_the_progress_of_a_long_upload_as_lines_and_of_a_short_upload_none(shell, capsys, monkeypatch):
    view = RunDisplay(shell, None)
    view.show_upload("uploading 0% · 0 B of 200 MB")
    view.show_upload("uploading 4% · 8.0 MB of 200 MB")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(live, "_FIRST_LINE_SECONDS", 0)
    view = RunDisplay(shell, None)
    for share in (0, 4, 8):
        view.show_upload(f"uploading {share}%")
    assert capsys.readouterr().out.split() == ["◌", "submitting", "·", "uploading", "4%"]
