"""Magics on a cloud whose stream breaks within a line and isn't replayed."""

import json
import re
import warnings
from collections import Counter

import pytest
from patience import PATIENCE
from stand_in import IDS, KEY, STREAM, StandIn, finished, said

import lk_jupyter
from lk_jupyter.api.logs import INCOMPLETE
from lk_jupyter.errors import RunFailed
from lk_jupyter.magics._output.background import BACKGROUND
from lk_jupyter.runs import follow

LINES = [f"step {number} loss 0.{97 - number}\n" for number in range(12)]
TEXT = "".join(LINES)
#: The head of a stream that ends too early. Unlike a reset, it discards nothing that the client hasn't read yet.
CUT_STREAM = STREAM.replace(b"Connection: close", b"Content-Length: 1000000\r\nConnection: close")
REPAIRED = "missing or torn. The complete lines are at the end of the output."


@pytest.fixture(params=["stored", "not stored"])
def cloud(request, home, monkeypatch):
    """A stand-in whose streams break in line 4 and continue in line 7; ``stored`` is whether the record has all."""
    monkeypatch.setattr(follow, "PAUSES", (0.0,))
    cloud = StandIn()
    cloud.is_stored = request.param == "stored"
    cloud.warning = REPAIRED if cloud.is_stored else INCOMPLETE
    connections, records = Counter(), Counter()

    def stream(request):
        execution_id = request.path.rpartition("/")[2]
        connections[execution_id] += 1
        cut, end = TEXT.index("4 loss"), TEXT.index("7 loss") + 4
        if connections[execution_id] == 1:
            return CUT_STREAM, said(TEXT[:cut])
        return STREAM, said(TEXT[end:]), finished(returnCode=0)

    def record(request):
        execution_id = request.path.rpartition("/")[2]
        records[execution_id] += connections[execution_id] > 1
        is_stored = cloud.is_stored and records[execution_id] > 1  # not yet when the second connection starts
        return {**cloud._row(execution_id), **state(execution_id), **({"stdout": TEXT} if is_stored else {})}

    def state(execution_id):
        return {"status": "completed" if records[execution_id] > 1 else "running"}

    cloud.on("POST /stream/{}", stream)
    cloud.on("GET /execution/{}", record)
    cloud.on("GET /execution/streaming/{}/status", lambda request: state(request.path.split("/")[-2]))
    monkeypatch.setenv("LK_BASE_URL", cloud.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    yield cloud
    cloud.close()


def names_gap(cloud, shown):
    """Return whether a text names the gap. A record that is read before the second stream ends may fill the gap."""
    return cloud.warning in shown or cloud.is_stored


def check_log(cloud, home, text=TEXT):
    """Check that the log file has each line once if the record has them."""
    logs = [path.read_text() for path in home.rglob("*.log") if path.stem in IDS]
    assert logs
    assert all((log == text) is cloud.is_stored for log in logs)


def test_a_cell_has_each_line_or_names_the_gap(cloud, run_cell, home):
    shown = run_cell("%%lk_run --gpu A100\nprint()")
    is_in_order = re.search(".*".join(map(re.escape, LINES)), shown, re.DOTALL)
    assert shown.count(cloud.warning) == (not is_in_order)
    assert not cloud.is_stored or all(line in shown for line in LINES)
    check_log(cloud, home)


def test_a_cell_that_is_attached_later_shows_the_repaired_log_or_names_the_gap(cloud, run_cell, home):
    run_cell("%%lk_run --gpu A100\nprint()")
    shown = run_cell(f"%lk_attach {IDS[0]}")
    assert (TEXT in shown) is cloud.is_stored
    assert (INCOMPLETE in shown) is not cloud.is_stored
    check_log(cloud, home)


def test_a_detached_run_names_the_gap(cloud, run_cell, home, capsys):
    shown = run_cell("%%lk_run --gpu A100 --detach\nprint()")
    assert all(task.done.wait(PATIENCE) for task in list(BACKGROUND.tasks))
    shown += "".join(capsys.readouterr())
    assert names_gap(cloud, shown)
    check_log(cloud, home)


def test_each_run_of_a_fan_out_names_its_gap(cloud, run_cell, home):
    shown = run_cell("%%lk_run --gpu A100 --sweep lr=1,2\nprint(lr)")
    assert names_gap(cloud, shown)
    check_log(cloud, home)


def test_a_notebook_run_names_the_gap(cloud, run_cell, home):
    cells = [{"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (home / "book.ipynb").write_text(json.dumps(book))
    assert names_gap(cloud, run_cell(f"%lk_run_notebook {home / 'book.ipynb'} --gpu A100"))
    check_log(cloud, home)


def test_a_call_of_an_executor_warns_of_the_gap(cloud, home):
    with lk_jupyter.Executor(gpu="A100") as executor, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(RunFailed, match="finished without an answer"):
            executor.submit(print).result()
    assert names_gap(cloud, "\n".join(str(warning.message) for warning in warned))
    check_log(cloud, home)
