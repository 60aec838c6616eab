"""The journal of a user: many kernels, damaged files, places where nothing can be written."""

import json
import os
import random
import secrets
import sqlite3
import stat
import subprocess
import sys
import time
import types
from contextlib import closing
from decimal import Decimal
from threading import Thread

import pytest
from localcloud.conftest import until
from patience import PATIENCE

from lk_jupyter.connection.budget import BUDGETS, read_usage
from lk_jupyter.errors import ApiError, UsageError
from lk_jupyter.journal import journal as journal_module
from lk_jupyter.journal.charges import ChargeBook, charge_book
from lk_jupyter.journal.journal import REFUSED, Journal, JournalEntry, journal
from lk_jupyter.journal.prune import compact, prune
from lk_jupyter.runs.history.rerun import stored_request
from lk_jupyter.session import connect
from lk_jupyter.text.secrets import MARK


@pytest.fixture
def kept(tmp_path):
    kept = Journal(tmp_path / "data" / "journal.sqlite")
    yield kept
    kept.close()


@pytest.fixture
def book(tmp_path):
    book = ChargeBook(tmp_path / "data" / "journal-charges.sqlite")
    yield book
    book.close()


def entry(number, **facts):
    return JournalEntry(
        token=f"token-{number}", base_url="http://here", created_at=float(number), code="print(1)\n" * 40, **facts
    )


FULL = entry(
    1,
    execution_id="3f0c2a9e-1",
    notebook="ü/Näme 1.ipynb",
    request={"code": "print('é')", "import_files": '{"a.py": ""}'},
    price_per_hour=Decimal("1.59"),
    options={"gpu": "A100"},
    labels=["a"],
    metadata={"k": "v"},
    cost=Decimal("0.0041"),
    seconds=9.3,
    summary={"gpu": {"peak": 3}},
    group="sweep",
    shown=True,
)


def test_an_entry_comes_back_as_it_was(kept):
    kept.add(FULL)
    assert kept.get("token-1") == kept.get("3f0c2a9e-1") == FULL
    assert kept.find("3f0c") == [FULL]
    assert kept.find("%") == []


def test_the_file_is_for_its_owner_only(kept):
    kept.add(FULL)
    if os.name != "nt":
        assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_an_update_changes_its_run_and_no_other(kept):
    kept.add(entry(1, execution_id="one"))
    kept.add(entry(2))
    kept.update("one", state="completed", cost=Decimal("0.5"))
    kept.update("token-2", execution_id="two", state="running")
    kept.update("three", state="failed")
    assert [(found.execution_id, found.state, found.cost) for found in kept.entries()] == [
        ("two", "running", None),
        ("one", "completed", Decimal("0.5")),
    ]


def test_entries_are_newest_first_though_the_clock_jumped_back(kept):
    for number in (5, 9, 2):
        kept.add(entry(number))
    assert [found.token for found in kept.entries(limit=2)] == ["token-2", "token-9"]


def test_entries_can_be_chosen(kept):
    kept.add(entry(1, state="completed", cost=Decimal("0.1"), notebook="a.ipynb"))
    kept.add(entry(2, state="failed", cost=Decimal("0.02"), notebook="b.ipynb"))
    kept.add(entry(3, state=REFUSED))
    kept.add(entry(4, state="a state of the future"))
    assert [found.token for found in kept.entries(going_on=True)] == ["token-4"]
    assert [found.token for found in kept.entries(since=3)] == ["token-4", "token-3"]
    assert kept.entries(base_url="http://there") == []
    assert kept.spent() == Decimal("0.12")
    assert kept.spent(since=2) == kept.spent(notebook="b.ipynb") == Decimal("0.02")


WRITE = """
import sys
from pathlib import Path
from lk_jupyter.journal.journal import JournalEntry, Journal
kept = Journal(Path(sys.argv[1]))
for number in range(40):
    token = f"{sys.argv[2]}-{number}"
    kept.add(JournalEntry(token=token, base_url=""))
    kept.update(token, state="completed", execution_id=token)
assert not kept.trouble, kept.trouble
kept.close()
"""


def test_many_kernels_write_at_once_and_nothing_is_lost(kept):
    command = [sys.executable, "-c", WRITE, str(kept.path)]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(4)]
    assert [writer.wait(PATIENCE) for writer in writers] == [0] * 4
    assert len(kept.entries()) == 160
    assert kept.entries(going_on=True) == []


KILLED = (
    WRITE.replace("kept.close()", "")
    .replace("range(40)", "range(10**9)")
    .replace('kept.update(token, state="completed", execution_id=token)', "print(number, flush=True)")
)


def test_a_killed_kernel_loses_nothing_that_it_had_written(kept):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(kept.path), "k"], stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(50):
            last = int(writer.stdout.readline())
        writer.kill()
    assert {f"k-{number}" for number in range(last + 1)} <= {found.token for found in kept.entries()}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("damage", ["cut", "garbage", "zeros"])
def test_a_damaged_file_is_set_aside_with_one_line_and_what_can_be_read_is_kept(kept, caplog, seed, damage):
    for number in range(60):
        kept.add(entry(number))
    kept.close()
    random.seed(seed)
    whole = kept.path.read_bytes()
    at = random.randrange(len(whole))
    spoilt = {"cut": b"", "garbage": random.randbytes(600), "zeros": bytes(600)}[damage]
    rest = b"" if damage == "cut" else whole[at + 600 :]
    kept.path.write_bytes(whole[:at] + spoilt + rest)
    kept.add(entry(100))
    before = {found.token for found in kept.entries()}
    assert "token-100" in before
    kept.update("token-100", state="completed")
    assert kept.get("token-100").state == "completed"
    assert not kept.trouble
    assert len(caplog.messages) <= 1
    if caplog.messages:
        assert "was renamed to journal-damaged-" in caplog.messages[0]
        assert len(list(kept.path.parent.glob("journal-damaged-*.sqlite"))) == 1


@pytest.mark.parametrize("damaged", ["7", '"text"', "[1]", "null"])
def test_an_entry_whose_request_is_damaged_is_read_without_it(kept, damaged):
    kept.add(FULL)
    with closing(sqlite3.connect(kept.path)) as connection, connection:
        connection.execute("UPDATE runs SET request = ?", (damaged,))
    (read,) = kept.entries()
    assert (read.token, read.request) == (FULL.token, {})
    assert kept.get(FULL.token).request == {}


def test_all_entries_before_a_cut_are_saved(kept, caplog):
    for number in range(200):
        kept.add(entry(number))
    kept.close()
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[: len(whole) * 3 // 4])
    saved = {found.token for found in kept.entries()}
    assert len(saved) > 100
    assert "entries were recovered" in caplog.text


def test_where_nothing_can_be_written_it_is_said_once_and_nothing_raises(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    kept = Journal(tmp_path / "file" / "journal.sqlite")
    kept.add(FULL)
    kept.update("token-1", state="completed")
    assert kept.entries() == []
    assert kept.get("token-1") is None
    assert kept.spent() == 0
    assert len(caplog.messages) == 1
    assert "Runs stay active" in caplog.messages[0]
    kept.close()


def test_a_journal_of_an_older_release_gets_the_new_columns(kept):
    kept.path.parent.mkdir()
    with closing(sqlite3.connect(kept.path)) as older:
        older.execute("CREATE TABLE runs (token PRIMARY KEY NOT NULL, base_url, gone)")
        older.execute("INSERT INTO runs VALUES ('old', 'http://here', 1)")
        older.commit()
    kept.add(FULL)
    assert [found.token for found in kept.entries()] == ["token-1", "old"]
    assert kept.get("old").summary == {}


MODULE = "def work():\n    return 'é'\n" * 200


def request_of(number, **files):
    return {
        "code": "work()",
        "timeout": 60,
        "import_files": json.dumps({"_lk_run.py": MODULE, "n": str(number), **files}),
    }


def stored_texts(kept):
    return [row["text"] for row in kept._database.execute("SELECT text FROM texts")]


def test_a_module_that_every_run_uploads_is_stored_once_and_each_request_is_complete(kept):
    requests = {f"token-{number}": request_of(number, **{"big.py": "x" * 500 * number}) for number in range(3)}
    for number, token in enumerate(requests):
        kept.add(entry(number, request=requests[token], code_hash="a"))
    assert sorted(stored_texts(kept)) == sorted([MODULE, "x" * 500, "x" * 1000])
    assert {token: kept.get(token).request for token in requests} == requests
    assert {found.token: found.request for found in kept.entries(code_hash="a")} == requests
    assert all(found.request == {"code": "work()", "timeout": 60} for found in kept.entries())
    assert [charge.timeout for charge in kept.charges("http://here", since=0)] == [60] * 3


def test_a_request_of_an_older_release_is_complete(kept):
    kept.add(entry(1))
    row = [json.dumps(request_of(1)), "token-1"]
    kept._database.execute("UPDATE runs SET request = ? WHERE token = ?", row)
    assert kept.get("token-1").request == request_of(1)


@pytest.mark.parametrize("files", ["{}", "no JSON", '{"a":"b"}', '["a"]', json.dumps({"a": "\ud800" * 600, "b": 1})])
def test_files_that_cannot_be_split_come_back_as_they_were(kept, files):
    kept.add(entry(1, request={"import_files": files}))
    assert kept.get("token-1").request == {"import_files": files}
    assert not kept.trouble


def test_a_lone_surrogate_in_a_long_text_is_kept(kept):
    files = {"a.py": "\ud800" * 600, "b.py": MODULE}
    kept.add(entry(1, request={"import_files": json.dumps(files)}))
    assert json.loads(kept.get("token-1").request["import_files"]) == files
    assert stored_texts(kept) == [MODULE]


def test_a_secret_in_a_long_text_is_stored_nowhere(kept):
    key = f"lk_{secrets.token_urlsafe(32)}"
    kept.add(entry(1, request=request_of(1, **{"a.py": f"{MODULE}key = '{key}'"})))
    assert MARK in json.loads(kept.get("token-1").request["import_files"])["a.py"]
    kept.close()
    assert not any(key.encode() in path.read_bytes() for path in kept.path.parent.iterdir())


def test_a_request_that_lost_a_text_counts_as_unknown_and_is_not_sent_again(kept):
    kept.add(entry(1, execution_id="3f0c2a9e-1", request=request_of(1)))
    kept._database.execute("DELETE FROM texts")
    found = kept.get("token-1")
    assert found.request == {}
    with pytest.raises(UsageError, match="Nothing was sent"):
        stored_request("3f0c2a9e-1", found)


def test_a_repair_keeps_the_texts_that_requests_need(kept):
    kept.add(entry(1, request=request_of(1)))
    assert "1 entries were recovered" in kept._database._replace_damaged_file()
    assert kept.get("token-1").request == request_of(1)


def test_pruning_deletes_old_ended_runs_and_their_texts_and_keeps_the_others(kept, book):
    kept.add(entry(1, state="completed", request=request_of(1, **{"old.py": "x" * 900})))
    kept.add(entry(2, state="running", execution_id="two", request=request_of(2)))
    kept.add(entry(3, request=request_of(3)))  # its start never had an answer
    kept.add(entry(9, state="completed", request=request_of(9)))
    kept.add(entry(4, state="completed"))
    kept._database.execute("UPDATE runs SET request = 'no JSON' WHERE token = 'token-2'")
    assert prune(kept, book, before=5) == 3
    assert [found.token for found in kept.entries()] == ["token-9"]
    assert [row["token"] for row in kept._database.execute("SELECT token FROM runs ORDER BY token")] == [
        "token-2",
        "token-9",
    ]
    assert stored_texts(kept) == [MODULE]
    assert kept.get("token-9").request == request_of(9)
    assert prune(kept, book, before=5) == 0


def test_pruned_runs_count_in_the_budget_of_their_notebook(home):
    kept, server = journal(), types.SimpleNamespace(base_url="http://here")
    facts = {"price_per_hour": Decimal(36), "request": request_of(1)}
    kept.add(entry(1, state="completed", cost=Decimal("0.5"), **facts))
    kept.add(entry(2, state="failed", **facts))  # without a bill: 61 s for 36 credits per hour
    kept.add(entry(3, state=REFUSED, **facts))
    kept.add(entry(4, state="completed", cost=Decimal(7), notebook="other.ipynb", **facts))
    day, notebook = BUDGETS
    before = read_usage(server, notebook)
    assert before.spent + before.open == Decimal("1.11")
    assert prune(kept, charge_book(), before=5) == 4
    assert read_usage(server, notebook).spent == Decimal("1.11")
    assert read_usage(server, day).spent == 0
    assert {charge.notebook: charge.cost for charge in charge_book().charges("http://here")} == {
        None: Decimal("1.11"),
        "other.ipynb": Decimal(7),
    }


def test_a_journal_of_an_older_release_shrinks_and_its_requests_are_complete(kept):
    for number in range(150):
        kept.add(entry(number))
        row = [json.dumps(request_of(number)), f"token-{number}"]
        kept._database.execute("UPDATE runs SET request = ? WHERE token = ?", row)
    kept.vacuum()
    before = kept.path.stat().st_size
    compact(kept)
    assert kept.path.stat().st_size < before / 4
    assert all(kept.get(f"token-{number}").request == request_of(number) for number in range(150))


@pytest.mark.parametrize(("days", "tokens"), [("0", ["new", "old"]), ("30", ["new"])])
def test_a_run_deletes_runs_above_the_age_limit_once_in_a_process(signed_in, monkeypatch, days, tokens):
    monkeypatch.setenv("LK_JOURNAL_DAYS", days)
    now = time.time()
    for token, age in (("old", 31), ("new", 29)):
        created_at = now - age * 86_400
        journal().add(JournalEntry(token=token, base_url="http://here", created_at=created_at, state="completed"))
    with connect() as session:
        session.run("print(1)").wait()
    until(lambda: [found.token for found in journal().entries()][1:] == tokens)


def test_threads_share_a_journal(kept):
    threads = [Thread(target=lambda number=number: kept.add(entry(number))) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.entries()) == 30


def test_runs_that_wait_for_the_file_make_no_rows_meanwhile(kept, monkeypatch):
    others = []

    def stored(facts, made=journal_module.convert_to_columns):
        other = Thread(target=lambda: others.append(kept._database.lock.acquire(blocking=False)))
        other.start()
        other.join(PATIENCE)
        return made(facts)

    monkeypatch.setattr(journal_module, "convert_to_columns", stored)
    kept.add(entry(1))
    assert others == [False]


def test_a_run_is_in_the_journal_before_it_is_sent_and_with_its_end(signed_in):
    with connect() as session:
        run = session.run("print(6 * 7)", gpu="A100", name="six", label=["x"], metadata={"a": "b"})
        found = journal().get(run.execution_id)
        assert found.going_on
        assert found.code == "print(6 * 7)"
        assert found.request["code"] == run.bundle.request.code
        assert found.token == run.bundle.token
        assert (found.machine, found.run_name, found.labels, found.metadata) == (
            "gpu.a100",
            "six",
            ["x"],
            {"a": "b"},
        )
        record = run.wait()
        ended = journal().get(run.execution_id)
        assert (ended.state, ended.cost, ended.reason) == ("completed", record.billed, "")
        assert ended.seconds == (record.end_time - record.start_time).total_seconds()
        assert journal().entries(going_on=True) == []


def test_a_start_that_is_refused_is_kept_with_the_reason(make_cloud, home):
    cloud = make_cloud("--faults")
    cloud.http.post(f"{cloud.base_url}/_faults", json={"path": "/streaming/start", "status": 402}).raise_for_status()
    with connect(cloud.base_url, cloud.api_key) as session, pytest.raises(ApiError):
        session.run("print(1)")
    (found,) = journal().entries()
    assert found.state == REFUSED
    assert "402" in found.reason
    assert not found.going_on


def test_a_run_that_failed_is_kept_with_its_reason(signed_in):
    with connect() as session:
        run = session.run("1 / 0")
        run.wait()
        assert "ZeroDivisionError" in journal().get(run.execution_id).reason


def test_no_address_of_a_stream_is_kept(signed_in):
    with connect() as session:
        run = session.run("print(1)")
        run.wait()
        text = json.dumps(vars(journal().get(run.execution_id)), default=str)
        assert "/stream/" not in text
        assert signed_in.api_key not in text


def test_runs_are_looked_up_without_reading_all_requests(kept):
    kept.add(FULL)
    for query in ("SELECT * FROM runs WHERE token = ? OR execution_id = ?", "DELETE FROM runs WHERE execution_id >= ?"):
        values = ["a"] * query.count("?")
        plan = [row["detail"] for row in kept._database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        assert not any(step.startswith("SCAN") for step in plan)
    columns = [row["name"] for row in kept._database.execute("PRAGMA table_info(runs)")]
    assert columns[-2:] == ["code", "request"]


def test_a_run_without_a_name_is_known_by_its_first_line():
    def title(code, **facts):
        return JournalEntry("token", "http://here", code=code, **facts).title

    code = "%%lk_run --gpu A100\n# training\n\n  model = train(data)\nprint(model)"
    assert title(code) == "model = train(data)"
    assert title(code, run_name="digits") == "digits"
    assert title("%pip install x") == title("") == ""
    assert title("x = '" + "a" * 90 + "'") == "x = '" + "a" * 34 + "…"
    assert "[redacted]" in title(f"key = 'lk_{secrets.token_urlsafe(32)}'")
