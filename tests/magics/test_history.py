"""Looking back from a cell: the ledger, two runs side by side, one again, one as a script."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from patience import PATIENCE

from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.text.secrets import MARK

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
KEY = "lk_" + "3fA9" * 8


@pytest.fixture
def ran(signed_in, shell, run_cell):
    """A function that runs a cell, and gives its Run."""

    def ran(code, line=""):
        run_cell(f"%%lk_run --save run {line}\n{code}")
        return shell.user_ns["run"]

    return ran


def test_the_history_is_the_value_of_the_cell(ran, shell, run_cell):
    run = ran("print('accuracy')", "--gpu A100 --label from-a-cell")
    shell.run_cell("runs = %lk_history accuracy --label from-a-cell --since 1h -n 5")
    runs = shell.user_ns["runs"]
    assert isinstance(runs, pd.DataFrame)
    assert runs.loc[run.short_id].machine == "gpu.a100"
    assert run.short_id in run_cell("%lk_history --label from-a-cell")


def test_a_note_is_stored_searched_compared_and_deleted_and_the_commit_of_the_folder_is_recorded(
    ran, shell, run_cell, tmp_path, monkeypatch
):
    commit = "0123456789abcdef0123" * 2
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(commit)
    monkeypatch.chdir(tmp_path)
    run = ran("print('noted')")
    monkeypatch.chdir(tmp_path.parent)
    plain = ran("print('noted')")
    assert run_cell(f"%lk_note {run.short_id}").startswith("No note. Write one: %lk_note ")
    stored = run_cell(f"%lk_note {run.short_id} best so far, then {KEY} {{lr}}")
    assert stored == f"Stored the note about run {run.short_id}.\n"
    assert run_cell(f"%lk_note {run.short_id}") == f"best so far, then lk_{MARK} {{lr}}\n"
    shell.run_cell("rows = %lk_history noted best so far")
    assert list(shell.user_ns["rows"].note) == [f"best so far, then lk_{MARK} {{lr}}"]
    assert list(shell.user_ns["rows"].git_commit) == [commit[:12]]
    assert run.short_id in run_cell(f"%lk_history {commit[:10]}")
    compared = run_cell(f"%lk_diff {run.short_id} {plain.short_id}")
    assert [words in compared for words in ("Note", "best so far", "Git commit", commit[:12])] == [True] * 4
    assert run_cell(f"%lk_note {run.short_id} --delete").startswith("Deleted the note")
    assert journal().get(run.execution_id).note == ""
    refused = run_cell(f"%lk_note {run.short_id} {'x' * 2001}")
    assert refused == "UsageError: A note has at most 2,000 characters, got 2,001. Nothing was stored.\n"


def test_without_pandas_it_is_a_table(ran, run_cell, monkeypatch):
    run = ran("print(1)")
    monkeypatch.setitem(sys.modules, "pandas", None)
    shown = run_cell("%lk_history -n 1")
    head, rule, row = shown.splitlines()[-3:]
    assert head.split()[:4] == ["run", "started", "state", "machine"]
    assert set(rule) == {"-", " "}
    assert row.startswith(run.short_id)


def test_a_slip_is_one_line(signed_in, run_cell):
    shown = run_cell("%lk_history --since yesterday")
    assert shown.startswith("UsageError: --since takes a duration or a date, got 'yesterday'")
    assert len(shown.splitlines()) == 1
    assert "No matching run" in run_cell("%lk_history nowhere-to-be-found")


def test_pruning_deletes_old_runs_of_the_journal(ran, run_cell):
    run = ran("print('prune me')")
    assert run_cell("%lk_history prune").startswith("Deleted 0 runs older than 365 days from the journal (")
    journal().update(run.execution_id, created_at=1.0)
    assert run_cell("%lk_history prune --older 90").startswith("Deleted 1 run older than 90 days from the journal (")
    assert journal().get(run.execution_id) is None
    assert run.short_id in run_cell("%lk_history -n 1")  # as the cloud has it
    assert "journal doesn't have the request" in run_cell(f"%lk_rerun {run.short_id}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prune --state failed", "prune takes only --older DAYS. Nothing was deleted."),
        ("prune accuracy", "prune takes only --older DAYS. Nothing was deleted."),
        ("--older 3", "--older works only with prune. Nothing was deleted."),
        ("prune --older 0", "--older"),
    ],
)
def test_a_line_that_prunes_and_searches_deletes_nothing(signed_in, run_cell, line, words):
    kept = JournalEntry(token="old", base_url="http://here", created_at=1.0, state="failed")
    journal().add(kept)
    assert run_cell(f"%lk_history {line}").startswith(f"UsageError: {words}")
    assert journal().get("old")


def test_without_an_age_limit_pruning_needs_an_age(signed_in, run_cell, monkeypatch):
    monkeypatch.setenv("LK_JOURNAL_DAYS", "0")
    assert "The setting journal_days is 0, so all runs are kept. Nothing was deleted." in run_cell("%lk_history prune")


def test_two_runs_stand_side_by_side(ran, run_cell):
    first, second = ran("x = 1"), ran("x = 2", "--gpu H100")
    shown = run_cell(f"%lk_diff {first.short_id} {second.short_id}")
    assert re.search(r"Machine +gpu\.l40s +gpu\.h100", shown)
    assert "-x = 1" in shown
    assert "+x = 2" in shown


def test_a_run_is_sent_again_and_followed(ran, shell, run_cell):
    run = ran("print('once more')", "--gpu A100")
    shown = run_cell(f"%lk_rerun {run.short_id} --machine H100 --save repeated")
    assert "once more" in shown
    assert "gpu.h100" in shown
    assert shell.user_ns["repeated"].execution_id != run.execution_id
    assert shell.user_ns["repeated"].record.python_code == run.record.python_code


def test_a_run_that_failed_fails_again(ran, run_cell):
    run = ran("x = 1\n1/0")
    shown = _COLOUR.sub("", run_cell(f"%lk_rerun {run.short_id}"))
    assert "cell.py:3" in shown
    assert "RunFailed" in shown


def test_a_run_is_sent_again_in_the_background(ran, shell, run_cell):
    run = ran("print('later')")
    run_cell(f"%lk_rerun {run.short_id} --detach --save repeated")
    assert "completed" in run_cell("%lk_wait")
    assert shell.user_ns["repeated"].result().stdout == "later\n"


def test_a_secret_is_not_sent_again(ran, run_cell):
    run = ran(f"key = '{KEY}'", "--allow-secrets")
    shown = run_cell(f"%lk_rerun {run.short_id}\n")
    assert "UsageError" in shown
    assert "the journal doesn't store" in shown
    assert "UsageError" in run_cell(f"%lk_export {run.short_id}")


def test_the_script_is_shown_or_written_and_never_written_over(ran, run_cell, tmp_path, signed_in):
    run = ran("print('from the script')")
    assert run_cell(f"%lk_export {run.short_id}").startswith("#!/bin/sh\n# Repeats run")
    path = tmp_path / "again.sh"
    assert f"Wrote {path}" in run_cell(f"%lk_export {run.short_id} {path}")
    environment = {"PATH": "/usr/bin:/bin", "LK_API_KEY": signed_in.api_key}
    done = subprocess.run([path], env=environment, capture_output=True, check=True, timeout=PATIENCE)
    assert done.stdout == b"from the script\n"
    assert "already exists. Nothing was written" in run_cell(f"%lk_export {run.short_id} {path}")
    assert "Can't write" in run_cell(f"%lk_export {run.short_id} {tmp_path}/no/such/folder.sh")


def test_variables_go_along_and_come_back_again(signed_in, shell, run_cell):
    shell.user_ns["small"] = [1, 2, 3]
    shell.user_ns["large"] = np.arange(300_000.0)
    run_cell("%%lk_run --fresh --in small,large --out total --save run\ntotal = sum(small) + int(large.sum())")
    run, total = shell.user_ns["run"], shell.user_ns.pop("total")
    shell.user_ns["small"] = [0]
    shown = run_cell(f"%lk_rerun {run.short_id}")
    assert "Set here: total" in shown
    assert shell.user_ns["total"] == total == 6 + 299_999 * 150_000
    assert "links that expire" in run_cell(f"%lk_export {run.short_id}")


def test_a_secret_in_a_variable_is_asked_about_and_kept_nowhere(signed_in, shell, run_cell):
    shell.user_ns["frame"] = pd.DataFrame({"token": [KEY] * 3})
    output = run_cell("%%lk_run --fresh --in frame\nprint(len(frame))")
    assert "variable frame['token'] (API key of Lyceum Cloud)" in output
    assert "Nothing was sent" in output
    assert KEY[3:] not in output
    output = run_cell("%%lk_run --fresh --in frame --allow-secrets --save run\nprint(frame)")
    assert f"lk_{MARK}" in output
    assert KEY[3:] not in output
    assert journal().get(shell.user_ns["run"].execution_id).request["import_files"] == MARK
    assert "the journal doesn't store" in run_cell(f"%lk_rerun {shell.user_ns['run'].short_id}")


def test_the_audit_log_lists_a_key_that_was_created_here(run_cell, signed_in, shell):
    run_cell("calls = %lk_history --audit")
    assert len(shell.user_ns["calls"]) == 0
    run_cell("%lk_keys create audited")
    shown = run_cell("%lk_history --audit")
    assert "Auth.create_api_key" in shown
    assert "audited" in shown
    assert "Note" not in run_cell("%lk_history --audit nothing-like-this")
