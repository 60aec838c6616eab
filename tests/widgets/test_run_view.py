"""A run as a widget: its facts, its log, and what lets its cell go."""

import threading
import time
from types import SimpleNamespace

import pytest
from patience import PATIENCE

from lk_jupyter import session
from lk_jupyter.errors import RunDetached
from lk_jupyter.runs.interrupts import is_blocking
from lk_jupyter.widgets import RunView

pytestmark = pytest.mark.usefixtures("signed_in")

REST = "abcdefghijklmnopqrstuvwxyzABCDEFGH"
CODE = f"""print("\\x1b[31m<b>red</b>\\x1b[0m")
print("hf_" + "{REST}")
for line in range(30): print("line", line)
raise SystemExit(3)"""


def wait_for_lines(view, count):
    came = threading.Event()
    view.observe(lambda change: change["new"] >= count and came.set(), "total")
    view.load()
    assert view.total >= count or came.wait(PATIENCE)


def test_a_run_that_failed_is_shown_with_its_log_and_the_reason():
    run = session.current().run(CODE, timeout=60)
    run.wait()
    view = RunView(run)
    wait_for_lines(view, 32)
    assert view.ended
    assert ["State", "✗ failed"] in view.facts
    assert view.run["state"].startswith("failed")
    assert view.run["notes"][0].endswith(run.execution_id)
    assert "exit code 3" in view.reason
    shown = view.lines(0)
    assert shown["lines"][0] == "<b>red</b>"
    assert view.lines(30) == {"first": 30, "lines": ["line 28", "line 29"]}
    picture = view.picture()
    assert "line 29" in picture.text
    assert REST not in str(shown) + picture.text + picture.html


def test_the_end_is_in_the_notebook_before_the_page_shows_it(monkeypatch):
    run = session.current().run("print(1)", timeout=60)
    run.wait()
    view, order = RunView(run), []
    monkeypatch.setattr(view, "_places", [SimpleNamespace(settle=lambda: order.append(view.picture().text))])
    monkeypatch.setattr(view, "send_state", lambda key=None: order.append("told") if "run" in {*(key or ())} else None)
    view.load()
    left, *later = order
    assert "completed" in left
    assert "told" in later


def test_what_a_run_writes_is_text_in_the_picture():
    run = session.current().run("print('<img src=x onerror=alert(1)>')", gpu="A100", timeout=60)
    run.wait()
    view = RunView(run)
    wait_for_lines(view, 1)
    assert "&lt;img" in view.picture().html
    assert "<img" not in view.picture().html
    assert view.local
    assert view.run["notes"][1].startswith("No GPU on this machine")
    assert view.picture().html.count("local cloud, no GPU") == 1


def test_a_cell_that_waits_is_let_go_and_the_run_goes_on():
    run = session.current().run("import time; time.sleep(60)", timeout=120)
    view = RunView(run)
    view.load()
    assert not view.held
    threading.Thread(target=let_go_as_soon_as_held, args=(run, view)).start()
    with pytest.raises(RunDetached, match=f"%lk_wait {run.short_id}"):
        run.wait()
    assert not is_blocking(run.execution_id)
    view.stop()
    assert run.wait().status == "aborted"


def let_go_as_soon_as_held(run, view):
    while not is_blocking(run.execution_id):
        time.sleep(0.01)
    view.detach()
