"""Outputs in front ends that append or drop display updates: what a notebook file has in the end.

The rules are those of the real servers, which ``test_installed_front_ends.py`` runs in the night.
"""

import json
import re
import time
from datetime import datetime, timezone

import pytest
from magics.kernels import ALL_IS_SHOWN, CELL

import lk_jupyter
from lk_jupyter.magics._output.run import notice_topic
from lk_jupyter.runs.observers.limits import Countdown

#: What pages send with a cell. They show updates in place, in any cell.
VS_CODE = {"cellId": "vscode-notebook-cell:/home/me/a.ipynb#W0sZmlsZQ"}
LAB = {"cellId": "9f1c-4b", "deletedCells": [], "recordTiming": False}
PAGES = {"VS Code": VS_CODE, "JupyterLab": LAB, "Colab": {}}


class Notebook:
    """Outputs of cells, as a front end saves them that appends, drops or applies display updates.

    ``moments`` are the times at which text with each start of an id was first shown.
    """

    def __init__(self, kernel, rule):
        self.kernel, self.rule, self.cells = kernel, rule, []
        self.moments = {}
        self._by_display_id = {}
        kernel.earlier_updates.clear()

    def run(self, code, on=None):
        self.cells.append([])
        is_done = [on is None]

        def watch(cell):
            self._save_moment(cell.messages[-1][1])
            is_done[0] = is_done[0] or bool(on(cell))

        cell = self.kernel.run(code, on=watch)
        for content in self.kernel.earlier_updates:
            self._save("update_display_data", content)
        self.kernel.earlier_updates.clear()
        for kind, content in cell.messages:
            self._save(kind, content)
        return self.cells[-1]

    def _save_moment(self, content):
        plain_text = content.get("text") or content.get("data", {}).get("text/plain", "")
        for short_id in re.findall(r"\b[0-9a-f]{8}\b", plain_text):
            self.moments.setdefault(short_id, datetime.now(tz=timezone.utc))

    def _save(self, kind, content):
        outputs = self.cells[-1]
        display_id = content.get("transient", {}).get("display_id")
        if kind == "stream":
            last = outputs[-1] if outputs else {}
            if last.get("name") == content["name"]:
                last["text"] += content["text"]
            else:
                outputs.append({"output_type": "stream", **content})
        elif kind == "update_display_data" and self.rule == "applied":
            for output in self._by_display_id.get(display_id, []):
                output.update(data=content["data"], metadata=content["metadata"])
        elif kind in {"display_data", "error"} or (kind == "update_display_data" and self.rule == "appended"):
            outputs.append({"output_type": kind, **{name: content[name] for name in content if name != "transient"}})
            self._by_display_id.setdefault(display_id, []).append(outputs[-1])
        elif kind == "clear_output":
            outputs.clear()


def text(output):
    if output["output_type"] == "stream":
        return output["text"]
    return output["evalue"] if output["output_type"] == "error" else output["data"]["text/plain"]


def check_cell(name, outputs):
    """Check what a file has of the cell of a run: at most four outputs besides rich ones, and one receipt at the end.

    The last output has state, cost and id: it is the receipt, or the error, which some front ends save below it. The
    receipt of a session is in the cell that stops the session.
    """
    texts, last = list(map(text, outputs)), outputs[-1]
    ids = receipts([[last]]) or re.findall(SHORT_ID, text(last), re.IGNORECASE)
    assert len(ids) == (2 if name == "fan" else 1), (name, texts)
    ids = [run_id[:8] for run_id in ids]
    assert [run_id[:8] for run_id in receipts([outputs])] == ([] if name == "session" else ids), (name, texts)
    assert all(run_id in text(last) for run_id in ids), (name, texts)
    assert re.search(r"completed|failed|aborted", text(last)), (name, texts)
    assert "credits" in text(last), (name, texts)
    assert sum(map(bool, map(str.strip, texts))) - (name == "figure") <= 4, (name, texts)
    assert size_without_log(outputs) < 10_000, (name, texts)


def size_without_log(outputs):
    """Return the bytes that outputs take in a file, except the log."""
    return sum(len(json.dumps(output)) for output in outputs if output["output_type"] != "stream")


def receipts(cells):
    """Return the ids of all receipts in outputs."""
    metadata = [output.get("metadata", {}).get("lk_jupyter", {}) for outputs in cells for output in outputs]
    several = [receipt for each in metadata for receipt in each.get("runs", [each])]
    return [receipt["execution_id"] for receipt in several if "execution_id" in receipt]


@pytest.fixture(params=[pytest.param("appended", marks=pytest.mark.nightly), "dropped"])
def notebook(kernel, request):
    kernel.client.session.metadata = {}
    yield Notebook(kernel, request.param)
    kernel.run(ALL_IS_SHOWN)
    kernel.client.session.metadata = CELL


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.nightly] * (name != "JupyterLab")) for name in PAGES])
def page(kernel, request):
    kernel.client.session.metadata = PAGES[request.param]
    yield Notebook(kernel, "applied")
    kernel.run(ALL_IS_SHOWN)
    kernel.client.session.metadata = CELL


ID = r"[0-9a-f-]{36}"
SHORT_ID = r"run ([0-9a-f]{8})"
PLAIN = "%%lk_run --gpu A100\nprint('in the log')"


def test_a_cell_shows_its_id_the_log_and_one_receipt(notebook):
    first, log, last = notebook.run(PLAIN)
    run_id = re.search(ID, text(first))[0]
    assert f"Follow: %lk_attach {run_id[:8]}. Stop: %lk_abort {run_id[:8]}" in text(first)
    assert "A100 at 1.59 credits/h" in text(first)
    assert text(log) == "in the log\n"
    assert re.search(rf"✓ completed .* credits · run {run_id}", text(last))
    assert receipts(notebook.cells) == [run_id]
    assert sum(len(json.dumps(output)) for output in (first, last)) < 10_000


def test_the_id_appears_within_2_s_and_a_run_of_any_length_adds_two_outputs_to_its_log(notebook):
    times = []

    def on(cell):
        times.extend(time.time() for kind, _ in cell.messages if kind == "display_data")
        return bool(times)

    outputs = notebook.run(
        "%%lk_run --gpu A100\nimport time\nfor i in range(30):\n    print(i)\n    time.sleep(.1)", on
    )
    (receipt_id,) = receipts([outputs])
    with notebook.kernel.journal() as journal:
        assert times[0] - journal.get(receipt_id).created_at < 2
    assert [output["output_type"] for output in outputs] == ["display_data", "stream", "display_data"]
    assert sum(len(json.dumps(output)) for output in outputs if output["output_type"] != "stream") < 10_000


def test_the_receipt_of_a_failed_cell_is_below_its_error_with_the_hints(notebook):
    first, log, error, last = notebook.run("%%lk_run --gpu A100\nprint('before')\nimport missing_module")
    run_id = re.search(ID, text(first))[0]
    assert (text(log), error["ename"]) == ("before\n", "RunFailed")
    assert re.search(rf"run {run_id[:8]} .*\nState: failed\. Cost: (under )?[\d.]+ credits\.$", text(error), re.DOTALL)
    assert re.search(rf"✗ failed .* run {run_id}", text(last))
    assert "-r missing" in text(last)
    assert receipts(notebook.cells) == [run_id]


def test_an_interrupted_cell_ends_with_its_receipt(notebook):
    on = notebook.kernel.interrupt_when(lambda cell: "started" in cell.text)
    cell = notebook.run("%%lk_run --gpu A100\nprint('started', flush=True)\nimport time; time.sleep(600)", on=on)
    first, log, error, last = cell
    run_id = re.search(ID, text(first))[0]
    assert (text(log), error["ename"]) == ("started\n", "KeyboardInterrupt")
    assert re.fullmatch(rf"Run {run_id[:8]} was stopped\. Cost: (under )?[\d.]+ credits\.", text(error))
    assert re.search(rf"✗ failed .* credits · stopped early .* run {run_id}", text(last))
    assert receipts(notebook.cells) == [run_id]


def test_bars_and_updated_outputs_appear_once_in_their_last_state(notebook):
    code = """%%lk_run --gpu A100
from IPython.display import display
from tqdm.auto import tqdm
handle = display('state 0', display_id=True)
for i in tqdm(range(3)):
    handle.update(f'state {i + 1}')"""
    _, first, newest, bars, last = map(text, notebook.run(code))
    assert (first, newest) == ("'state 0'", "'state 3'")
    assert "3/3" in bars
    assert "100%" in bars
    assert "completed" in last
    assert len(receipts(notebook.cells)) == 1


def test_a_detached_run_shows_its_commands_and_nothing_in_later_cells(notebook, tmp_path):
    go = tmp_path / "go"
    code = "%%lk_run --gpu A100 --detach\nimport pathlib, time\nprint('of the detached run', flush=True)\n"
    (first,) = notebook.run(f"{code}while not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)")
    run_id = re.search(ID, text(first))[0]
    assert re.match(r"\S submitted at \d\d:\d\d, \d\d \w{3} · in the background", text(first))
    assert f"Follow: %lk_attach {run_id[:8]}. Stop: %lk_abort {run_id[:8]}" in text(first)
    later = f"import pathlib\npathlib.Path({str(go)!r}).touch()\n{ALL_IS_SHOWN}\nprint('later')"
    assert [text(output) for output in notebook.run(later)] == ["later\n"]
    (last,) = notebook.run("%lk_wait")
    assert re.search(rf"{run_id[:8]}\s+✓ completed", text(last))
    assert receipts(notebook.cells) == [run_id]
    notebook.run(f"%lk_wait {run_id}")
    assert receipts(notebook.cells) == [run_id]


def test_a_fan_out_reports_each_id_and_ends_with_its_table(notebook):
    started, logs, last = notebook.run("%%lk_run --gpu A100 --sweep x=1,2\nprint('lane', x)")
    ids = re.findall(ID, text(started))
    assert len(ids) == 2
    assert text(started).startswith("2 runs, at most ")
    assert text(logs).startswith("Complete logs:")
    assert all(run_id[:8] in text(last) for run_id in ids)
    assert sorted(receipts(notebook.cells)) == sorted(ids)


def test_a_fan_out_in_the_background_reports_its_ids_and_nothing_later(notebook):
    (started,) = notebook.run("%%lk_run --gpu A100 --sweep x=1,2,3 --parallel 2 --detach\nprint('lane', x)")
    assert len(re.findall(ID, text(started))) >= 2
    assert [text(output) for output in notebook.run(f"{ALL_IS_SHOWN}\nprint('later')")] == ["later\n"]
    (last,) = notebook.run("%lk_wait")
    assert len(set(receipts([[last]]))) == 3


def test_lines_that_are_left_out_are_counted_in_the_log(notebook):
    _, log, _ = notebook.run("%%lk_run --gpu A100\nfor i in range(200): print('line', i)")
    lines = text(log).splitlines()
    assert lines[49:52] == ["line 49", lines[50], "line 150"]
    assert lines[50].startswith("▸ 100 lines hidden. Complete log: ")


def test_a_cell_without_updates_shows_nothing_before_its_id_and_nothing_of_a_refused_start(notebook):
    (error,) = notebook.run("%%lk_run --gpu A100 --max-cost 0.0000001\nprint(1)")
    assert error["output_type"] == "error"


def test_the_last_output_on_a_page_has_state_cost_and_id_and_nothing_is_in_another_cell(page):
    cells = {
        "detached": page.run("%%lk_run --gpu A100 --detach\nprint('of the detached run')"),
        "plain": page.run(PLAIN),
        "failing": page.run("%%lk_run --gpu A100\nprint('before')\nimport missing_module"),
        "fan": page.run("%%lk_run --gpu A100 --sweep x=1,2\nprint('lane', x)"),
    }
    assert [text(output) for output in page.run(f"{ALL_IS_SHOWN}\nprint('later')")] == ["later\n"]
    for name, outputs in cells.items():
        if name != "detached" or page.kernel.client.session.metadata:  # Colab's cell has ended before its run
            check_cell(name, outputs)
    assert "-r missing" in text(cells["failing"][-1])
    assert [text(output) for output in cells["plain"] if output["output_type"] == "stream"] == ["in the log\n"]
    notebook = {"cells": [{"outputs": outputs} for outputs in page.cells]}
    assert [receipt["execution_id"] for receipt in lk_jupyter.receipts(notebook)] == receipts(page.cells)


def test_a_captured_run_leaves_no_output(page):
    page.run(f"%%capture\n{PLAIN}")
    assert page.cells == [[]]


def test_a_countdown_is_one_warning_in_minutes_and_one_in_seconds():
    countdown, texts, topics = Countdown(600), set(), set()
    for seconds in range(480, 600, 5):
        countdown.tick(None, seconds, "")
        texts |= set(map(str, countdown.notices))
        topics |= set(map(notice_topic, countdown.notices))
    assert len(texts) == 24
    assert len(topics) == 2
