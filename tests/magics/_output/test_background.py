"""Runs in the background: their outputs, their ends, and waiting for them."""

import re
import socket
import threading
from contextlib import closing

import pytest
from localcloud.conftest import until
from magics.kernels import RICH
from patience import PATIENCE
from stand_in import KEY, StandIn

from lk_jupyter.api import _polling
from lk_jupyter.runs import abort, follow


def held(go, words):
    """Code that prints its words once it is let go on."""
    return (
        f"import pathlib, time\nprint('before', flush=True)\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)\nprint({words!r})"
    )


def until_ended(kernel, displays):
    """Return the messages up to the one that ends the run, and see that all are of its own outputs."""
    messages = []
    while True:
        message = kernel.client.get_iopub_msg(timeout=PATIENCE)
        if message["msg_type"] not in RICH:
            continue
        messages.append(message)
        content = message["content"]
        assert content["transient"]["display_id"] in displays
        if content["data"]["text/plain"].startswith("✓ completed"):
            return messages


def test_a_detached_run_only_updates_what_its_own_cell_has_shown(kernel, tmp_path):
    go = tmp_path / "go"
    cell = kernel.run(f"%%lk_run --detach\n{held(go, 'from behind')}")
    made = {c["transient"]["display_id"] for kind, c in cell.messages if kind == "display_data"}
    other = kernel.run(f"import pathlib; pathlib.Path({str(go)!r}).touch(); print('mine')")
    assert other.text == "mine\n"
    assert [kind for kind, _ in other.messages if kind == "display_data"] == []
    texts = [message["content"]["data"]["text/plain"] for message in until_ended(kernel, made)]
    assert any("from behind" in text for text in texts)


def test_a_cell_that_captures_its_output_takes_none_of_another_cells_run(kernel, tmp_path):
    go = tmp_path / "go"
    kernel.run(f"%%lk_run --detach --save run\n{held(go, 'from behind')}")
    waits = f"import pathlib\npathlib.Path({str(go)!r}).touch()\n_ = [task.done.wait() for task in BACKGROUND.tasks]"
    kernel.run("from lk_jupyter.magics._output.background import BACKGROUND")
    other = kernel.run(f"%%capture kept\n{waits}")
    texts = [content["data"]["text/plain"] for kind, content in other.messages if kind == "update_display_data"]
    assert any(text.startswith("✓ completed") for text in texts)
    assert kernel.value("kept.outputs") == "[]"


def test_the_end_is_told_on_the_desktop_too(kernel):
    cell = kernel.run("%%lk_run --detach --save run\nprint(1)")
    asks = [c["data"] for kind, c in cell.messages if kind == "display_data" and "desktop" in c["data"]["text/plain"]]
    assert "requestPermission" in asks[0]["text/html"]
    run_id = kernel.value("run.short_id").strip("'")
    told = None
    while told is None:
        message = kernel.client.get_iopub_msg(timeout=PATIENCE)
        if message["msg_type"] == "update_display_data" and "new Notification" in str(message["content"]["data"]):
            told = message["content"]["data"]
    assert re.fullmatch(rf"print\(1\) \({run_id}\): completed · .* s · .* credits", told["text/plain"])


def test_waiting_shows_the_ends_of_all_that_go_on(kernel, tmp_path):
    kernel.run("%lk_wait")
    go = tmp_path / "go"
    for name in ("one", "two"):
        kernel.run(f"%%lk_run --detach --quiet --save {name}\n{held(go, name)}")
    ids = [kernel.value(f"{name}.short_id").strip("'") for name in ("one", "two")]

    def release(cell):
        if any("Waiting for 2 runs" in text for text in cell.shown):
            go.touch()
        return go.exists()

    cell = kernel.run("%lk_wait", on=release)
    table = next(text for text in cell.shown if text.startswith("Run "))
    for run_id in ids:
        assert re.search(rf"{run_id} +✓ completed +gpu.l40s +\S+ s +.*credits", table)
    assert "No background runs." in kernel.run("%lk_wait").shown


def test_waiting_sets_no_variable_and_shows_the_command_that_sets_them(kernel):
    kernel.run("rows = [1]")
    kernel.run("%%lk_run --detach --quiet --sync --save run\nrows.append(2)")
    run_id = kernel.value("run.short_id").strip("'")
    shown = "\n".join(kernel.run("%lk_wait").shown)
    assert f"To set the variables that the run changed: %lk_attach {run_id}" in shown
    assert kernel.value("rows") == "[1]"
    kernel.run(f"%lk_attach {run_id}")
    assert kernel.value("rows") == "[1, 2]"


def test_an_active_state_of_a_detached_run_has_its_time_in_the_saved_cell(kernel):
    cell = kernel.run("%%lk_run --detach --save run\nprint('from behind')")
    texts = kernel.texts_until(cell, lambda text: text.startswith("✓ completed"))
    assert any(re.match(r"\S started at \d\d:\d\d, \d\d \w{3} · ", text) for text in texts)
    assert texts[-1].startswith("✓ completed ·")
    kernel.run("%lk_wait")


def test_waiting_for_a_run_that_fails_stops_run_all(kernel):
    kernel.run("%%lk_run --detach --quiet --save bad\n1 / 0")
    cell = kernel.run("%lk_wait {bad.short_id}")
    assert any("✗ failed" in text for text in cell.shown)
    assert cell.error["ename"] == "RunFailed"
    assert "ZeroDivisionError" in cell.error["evalue"]
    kernel.run("%lk_wait")


def test_an_interrupt_ends_the_waiting_and_not_the_run(kernel, tmp_path):
    go, begun = tmp_path / "go", tmp_path / "begun"
    code = f"import pathlib\npathlib.Path({str(begun)!r}).touch()\n{held(go, 'x')}"
    kernel.run(f"%%lk_run --detach --quiet --save run\n{code}")
    kernel.run(f"import pathlib, time\nwhile not pathlib.Path({str(begun)!r}).exists(): time.sleep(0.01)")
    waits = kernel.interrupt_when(lambda cell: any("Waiting for 1 run" in text for text in cell.shown))
    cell = kernel.run("%lk_wait", on=waits)
    assert "the runs are still active" in cell.error["evalue"]
    assert kernel.value("run.status") == "'running'"
    go.touch()
    assert kernel.run("%lk_wait").error is None


@pytest.mark.nightly
def test_many_runs_in_the_background_share_their_threads(kernel, tmp_path):
    go = tmp_path / "go"
    for _ in range(6):
        kernel.run(f"%%lk_run --detach --quiet\n{held(go, 'x')}")
    names = (
        "sorted(t.name.rpartition('-')[0] or t.name for t in __import__('threading').enumerate() if 'lk-' in t.name)"
    )
    threads = kernel.value(names)
    assert threads.count("lk-read") == 6
    assert threads.count("'lk'") <= 3  # lk-show, lk-watch and lk-interrupts
    go.touch()
    assert kernel.run("%lk_wait").error is None


def test_a_run_whose_server_is_gone_and_its_abort_come_to_an_end_with_words(make_cloud, home, monkeypatch, run_cell):
    cloud, go = make_cloud(), home / "go"
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    monkeypatch.setattr(abort, "LET_GO", 1.0)
    for module in (_polling, abort):
        monkeypatch.setattr(module, "PATIENCE", 1.0)
    for module in (follow, abort):
        monkeypatch.setattr(module, "PAUSES", (0.0, 0.1))
    others = set(threading.enumerate())  # of runs of other tests
    run_cell(f"%%lk_run --detach --save run\n{held(go, 'let go')}")
    until(lambda: [run.status for run in cloud.client.workloads.list()] == ["running"])
    cloud.kill()
    with socket.socket() as taken:  # no program listens at this address then, and no other test's server takes the port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(cloud.base_url.rpartition(":")[2])))
        run_cell("sent = run.abort_soon()")
        until(lambda: not {each.name for each in {*threading.enumerate()} - others} & {"lk-show", "lk-end", "lk-abort"})
    assert "No answer from the server" in (shown := run_cell("print(sent.words)"))
    assert "Follow it again: %lk_attach" in shown
    assert "The abort failed:" in shown
    assert "The run may still be active." in shown
    go.touch()  # no server is left to end its process
    assert run_cell("print(run.execution_id)").strip() not in {run for _, run in abort._aborts}


def test_a_run_whose_record_stays_unreadable_ends_as_lost_in_words(home, monkeypatch, run_cell):
    cloud = StandIn().on("GET /execution/{}", (500, {"detail": "boom"}))
    cloud.on("GET /execution/streaming/{}/status", (500, {"detail": "boom"}))
    monkeypatch.setenv("LK_BASE_URL", cloud.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    monkeypatch.setattr(_polling, "PATIENCE", 0.3)
    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    with closing(cloud):
        shown = run_cell("%%lk_run --gpu A100 --detach\n1")
        shown += run_cell(
            "from lk_jupyter.magics._output.background import BACKGROUND\nBACKGROUND.tasks[-1].done.wait()"
        )
        until(lambda: "lk-end" not in {each.name for each in threading.enumerate()})
        shown += run_cell("")
    assert not errors
    assert "lost" in shown
    assert "No answer from the server" in shown
