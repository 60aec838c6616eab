"""The runs of this machine, as a page sees them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from serverext.conftest import running

from lk_jupyter.journal.entry import read, read_run
from lk_jupyter.journal.journal import Journal, JournalEntry
from lk_jupyter.text.secrets import MARK

KEY = "lk_" + "3fA9" * 8

HOSTILE = "<img src=x onerror=alert(1)>\u202e.ipynb"


@pytest.fixture(scope="module")
def with_runs(cloud, tmp_path_factory):
    """A Jupyter server of a user who has started 600 runs."""
    home = tmp_path_factory.mktemp("journal")
    journal = Journal(home / "journal.sqlite")
    for number in range(600):
        journal.add(
            JournalEntry(
                f"token-{number}",
                cloud.base_url,
                execution_id=f"run-{number}",
                notebook=HOSTILE if number % 100 == 0 else "work/train.ipynb",
                cell_id=f"cell-{number}",
                code=f"%%lk_run\n# A comment\nprint({number})\n" + "x" * 5000,
                request={"code": "x" * 1000},
                cost=Decimal("0.000000600"),
                created_at=float(number),
                state="running" if number == 599 else "completed",
                labels=["a", "b"],
                git_commit=str(number % 10) * 40,
            )
        )
    journal.close()
    variables = {"LK_JOURNAL": str(journal.path), "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with running(home, **variables) as server:
        server.path = journal.path
        yield server


def test_the_newest_runs_come_first_with_the_cell_that_they_came_from(with_runs):
    first = with_runs.get("journal", params={"limit": 2}).json()["runs"][0]
    assert (first["execution_id"], first["notebook"], first["cell_id"]) == ("run-599", "work/train.ipynb", "cell-599")
    assert (first["going_on"], first["cost"], first["line"]) == (True, "0.000000600", "print(599)")
    assert not {"token", "request", "code", "session", "log_path"} & set(first)


def test_all_runs_come_page_by_page_each_once(with_runs):
    seen, before = [], None
    while True:
        page = with_runs.get("journal", params={"limit": 250, **({"before": before} if before else {})}).json()
        seen += [run["execution_id"] for run in page["runs"]]
        before = page["before"]
        if before is None:
            break
    assert seen == [f"run-{number}" for number in reversed(range(600))]


@pytest.mark.parametrize("limit", ["0x1", "-1", "²", "9" * 5000])
def test_a_number_that_is_none_is_refused(with_runs, limit):
    assert with_runs.get("journal", params={"limit": limit}).status_code == 400


def test_five_hundred_runs_come_in_one_answer_soon(with_runs):
    answer = with_runs.get("journal", params={"limit": 500})
    assert len(answer.json()["runs"]) == 500
    assert answer.elapsed.total_seconds() < 20


def test_runs_of_one_notebook_are_found_by_its_name_however_hostile(with_runs):
    runs = with_runs.get("journal", params={"notebook": HOSTILE}).json()["runs"]
    assert {run["notebook"] for run in runs} == {HOSTILE}
    assert len(runs) == 6


def test_the_code_of_a_run_comes_separately_with_commit_labels_and_a_note_that_a_page_changes(with_runs):
    facts = with_runs.get("journal/run-7/code").json()
    assert facts.pop("code").startswith("%%lk_run\n# A comment\nprint(7)\n")
    assert facts == {"git_commit": "7" * 40, "labels": ["a", "b"], "note": ""}
    assert with_runs.get("journal/run-x/code").status_code == 404
    answer = with_runs.send("PUT", "journal/run-7/note", json={"note": f"best so far {KEY}"})
    assert answer.json()["note"] == f"best so far lk_{MARK}"
    assert with_runs.get("journal/run-7/code").json()["note"] == f"best so far lk_{MARK}"
    assert with_runs.send("PUT", "journal/run-x/note", json={"note": "x"}).status_code == 404
    assert with_runs.send("PUT", "journal/run-7/note", json={"note": "x" * 2001}).status_code == 400
    assert with_runs.send("PUT", "journal/run-7/note", json={"note": ""}).json()["note"] == ""


def test_a_journal_of_an_older_release_has_no_notes(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add(JournalEntry("token", "http://x", execution_id="run-1", code="print(1)"))
    journal.close()
    with closing(sqlite3.connect(journal.path)) as connection:
        for column in ("note", "git_commit"):
            connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
    assert [(entry.note, entry.git_commit) for _, entry in read(journal.path, limit=9)] == [("", "")]
    assert (read_run(journal.path, "run-1").note, read_run(journal.path, "run-1").code) == ("", "print(1)")
    assert read_run(tmp_path / "none.sqlite", "run-1") is None


@pytest.mark.parametrize("query", [{"limit": "501"}, {"limit": "-1"}, {"limit": "x"}, {"before": "1;DROP TABLE runs"}])
def test_a_number_that_is_none_is_told(with_runs, query):
    answer = with_runs.get("journal", params=query)
    assert (answer.status_code, answer.json()["state"]) == (400, "bad-request")


def test_looking_changes_nothing(with_runs):
    before = with_runs.path.read_bytes()
    with_runs.get("journal")
    assert with_runs.path.read_bytes() == before


def test_without_a_journal_there_are_no_runs(jupyter):
    assert jupyter.get("journal").json() == {"runs": [], "before": None}
