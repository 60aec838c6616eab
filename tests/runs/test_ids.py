"""Ids of runs: what enters as one, whoever names it, becomes file names, paths and lines of cells."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.api.states import is_run_id
from lk_jupyter.errors import InvalidResponse, UsageError
from lk_jupyter.journal import entry as journal_rows
from lk_jupyter.journal.journal import Journal, JournalEntry, journal
from lk_jupyter.runs.ids import full_id, list_ids
from lk_jupyter.runs.log import log_path
from lk_jupyter.session import connect

from .conftest import CREATED, RUN, ok

ODD = [
    "../../evil",
    "a/b",
    "a\\b",
    "C:evil",
    "{__import__('os')}",
    "$HOME",
    "a b",
    "a\n",
    "",
    "..",
    "a.b",
    "\u0661",
    "a" * 101,
]
EMPTY = {"executions": [], "total_executions": 0, "total_credits_spent": 0, "limit": 50, "offset": 0}


@pytest.mark.parametrize("odd", ODD)
def test_a_server_places_no_log_file_where_it_likes(odd, home):
    with pytest.raises(UsageError, match="isn't a run id"):
        log_path(odd)
    assert not is_run_id(odd)


@given(st.text(max_size=120))
def test_every_id_is_one_plain_file_name(text):
    if is_run_id(text):
        assert text.isascii()
        assert not set(text) & set("/\\.:$[]{} \n\r\0")


class Odd:
    """A server that names the run that it starts as the test says."""

    def __init__(self, name):
        self.name = name
        self.aborted = []

    def __call__(self, request):
        if request.path.endswith("/streaming/start"):
            return ok({"execution_id": self.name, "status": "pending", "streaming_url": ""})
        if "/workloads/abort/" in request.path:
            self.aborted.append(request.path)
            return ok({"execution_id": self.name, "status": "aborted", "message": ""})
        return self.told(request)

    def told(self, request):
        """Answer what only asks."""
        if request.path.endswith("/status"):
            return ok({"execution_id": self.name, "status": "aborted"})
        if request.path.endswith("/workloads/list"):
            rows = [{"execution_id": name, "status": "running", "created_at": CREATED} for name in (self.name, RUN)]
            return ok(rows)
        if "machine" in request.path or "pricing" in request.path:
            return ok({"machine_types": [{"hardware_profile": "cpu", "price_per_hour": 0.1}], "count": 1})
        if request.path.endswith("/available-hardware"):
            return ok({"available_hardware_profiles": ["cpu"]})
        return ok(EMPTY)


def test_a_run_that_a_server_names_oddly_is_aborted_and_leaves_no_file(server, home, monkeypatch):
    server.handler = odd = Odd("../../evil")
    monkeypatch.setenv("LK_LOG_DIR", str(home / "a" / "logs"))
    with pytest.raises(InvalidResponse, match=r"returned '\.\./\.\./evil', which isn't a run id. The run was aborted"):
        connect(server.url, api_key="lk_key").run("print(1)", machine="cpu")
    assert odd.aborted == ["/api/v2/external/workloads/abort/..%2F..%2Fevil"]
    assert not list(home.rglob("*evil*"))
    assert journal().entries()[0].execution_id is None


def test_odd_ids_of_a_list_are_none_that_a_prefix_can_mean(server, client):
    server.handler = Odd("3f0c/../../x")
    assert list_ids(client) == [RUN]
    assert full_id(client, RUN[:4]) == RUN
    for odd in ODD[:-1]:
        with pytest.raises(UsageError):
            full_id(client, odd * 36 if odd else odd)


def test_a_damaged_journal_names_no_run(tmp_path):
    kept = Journal(tmp_path / "journal.sqlite")
    for number, name in enumerate([RUN, *ODD]):
        kept.add(JournalEntry(f"token-{number}", "http://a", execution_id=name))
    kept.close()
    assert [entry.execution_id for _, entry in journal_rows.read(kept.path, limit=100)] == [RUN]


@given(st.dictionaries(st.sampled_from(sorted(journal_rows.FIELDS)), st.none() | st.integers(-(2**62), 2**62) | st.floats() | st.text(max_size=20) | st.binary(max_size=20) | st.just("{}") | st.just("[]")))  # fmt: skip  # noqa: E501
def test_no_row_of_a_journal_raises(row):
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda kept: kept.decode(errors="replace")
        names = ", ".join(f'"{name}"' for name in row) or "x"
        marks = ", ".join("?" * len(row)) or "1"
        connection.execute(f"CREATE TABLE runs ({names})")
        values = [
            value.encode(errors="replace").decode() if isinstance(value, str) else value for value in row.values()
        ]
        connection.execute(f"INSERT INTO runs VALUES ({marks})", values)
        entry = journal_rows.parse_entry(connection.execute("SELECT * FROM runs").fetchone())
    connection.close()
    assert entry is None or entry.execution_id is None or is_run_id(entry.execution_id)
