"""What a run shows besides text, in a real kernel, read as a front end reads it."""

import re

import pytest
from magics.kernels import RICH, fail

from lk_jupyter.session import connect


def outputs(cell):
    """Text, and the last state of each rich output in its place; status line and receipt left out."""
    places = {}
    for kind, content in cell.messages:
        if kind == "clear_output":  # with wait: what follows comes at once
            places.clear()
        elif kind == "stream":
            text = content["text"]
            last = next(reversed(places), None)
            if isinstance(places.get(last), str):
                places[last] += text
            else:
                places[len(places)] = text
        elif kind in RICH:
            places[content.get("transient", {}).get("display_id") or len(places)] = content["data"]
    shown = list(places.values())
    return [item for item in shown if isinstance(item, str) or 'role="status"' not in item.get("text/html", "")]


VIEW = "application/vnd.jupyter.widget-view+json"


def views(cell):
    return [data for data in updates(cell) if VIEW in data]


def updates(cell):
    return [content["data"] for kind, content in cell.messages if kind == "update_display_data"]


def test_text_and_outputs_come_in_order(kernel):
    code = "print('a')\ndisplay({'x': 1})\nprint('b')\nimport pandas as pd\npd.DataFrame({'c': [1]})"
    first, shown, second, frame = outputs(kernel.run(f"%%lk_run\n{code}"))
    assert (first, shown, second) == ("a\n", {"text/plain": "{'x': 1}"}, "b\n")
    assert "<table" in frame["text/html"]
    assert frame["text/plain"] == "   c\n0  1"


def test_an_output_is_updated_in_its_place(kernel):
    cell = kernel.run("%%lk_run\nh = display('one', display_id=True)\nprint('then')\nh.update('two')")
    assert outputs(cell) == [{"text/plain": "'two'"}, "then\n"]


def test_what_comes_after_a_clear_takes_the_place_of_what_was_before(kernel):
    code = (
        "from IPython.display import clear_output\nfor i in range(3):\n    clear_output(wait=True)\n    display(i)\n"
        "    display(-i)\nclear_output(wait=True)\ndisplay('last')"
    )
    assert outputs(kernel.run(f"%%lk_run\n{code}")) == [{"text/plain": "'last'"}]


SURVIVED = """
import sys
class Form:
    def _repr_html_(self): raise ValueError("no form of sk-proj-{secret}")
    def __repr__(self): return "a Form"
class Text:
    def __repr__(self): raise KeyError("no text")
class Shown:
    def _ipython_display_(self): raise RuntimeError("not shown")
    def __repr__(self): return "a Shown"
print("before")
display(Form(), Text(), Shown)
print("half", file=sys.stderr, end="")
display(Shown())
from ipywidgets import Output
with Output(): raise IndexError("inside")
get_ipython().run_cell("1 / 0")
print("on")
Form()
"""


def test_an_error_that_the_code_survives_is_an_error_output_in_its_place(kernel):
    def told(cell):
        known = {"stream": "text", "error": "evalue", "display_data": "data", "execute_result": "data"}
        found = [(known[kind], content[known[kind]]) for kind, content in cell.messages if kind in known]
        return [one for one in found if "status" not in str(one)]

    code = SURVIVED.replace("{secret}", "nothing")
    here, there = told(kernel.run(code)), told(kernel.run(f"%%lk_run --machine cpu\n{code}"))
    assert there == here
    assert [kind for kind, _ in here].count("evalue") == 6
    cell = kernel.run("%%lk_run --machine cpu --allow-secrets\n" + SURVIVED.replace("{secret}", "a1B2" * 12))
    lines = [line for kind, content in cell.messages if kind == "error" for line in content["traceback"]]
    assert any("_repr_html_" in line for line in lines)
    assert "a1B2" not in str([content for kind, content in cell.messages if kind != "execute_input"])


def test_a_large_output_arrives_whole(kernel):
    code = "import random\nclass Big:\n    def _repr_html_(self): return random.randbytes(300_000).hex()\nBig()"
    (shown,) = outputs(kernel.run(f"%%lk_run\n{code}"))
    assert len(shown["text/html"]) == 600_000


@pytest.mark.parametrize("cut", [333, pytest.param(5000, marks=pytest.mark.nightly)])
def test_a_stream_that_is_cut_shows_every_output_once(kernel, faulty, cut):
    fail(faulty, path="/stream/", cut_after=cut, times=3)
    cell = kernel.run("%%lk_run\nimport time\nfor i in range(30): print('line', i); display(i); time.sleep(.01)")
    texts = [item if isinstance(item, str) else item["text/plain"] + "\n" for item in outputs(cell)]
    assert "".join(texts) == "".join(f"line {i}\n{i}\n" for i in range(30))


def test_only_so_many_outputs_are_kept_and_the_rest_is_counted(kernel):
    kernel.run("%env LK_RICH_OUTPUTS=3")
    shown = outputs(kernel.run("%%lk_run\nfor i in range(10): display(i)"))
    kernel.run("%env LK_RICH_OUTPUTS=")
    assert [item["text/plain"] for item in shown[:3]] == ["0", "1", "2"]
    assert shown[3]["text/plain"] == (
        "… 7 more outputs of the run aren't kept in the notebook. Change the limit: %lk_config rich_outputs"
    )


def test_secrets_in_an_output_are_redacted(kernel):
    (shown,) = outputs(kernel.run("%%lk_run --allow-secrets\ndisplay('lk_' + 'a1B2c3D4' * 5)"))
    assert "a1B2c3D4" not in shown["text/plain"]


def test_a_forged_frame_stays_harmless(kernel):
    code = r"print('a\x1b]7411;' + '0' * 32 + ';1-1;0/1;eJyLVkrJLC7ISaxU0lGoVspTslIwrI0FAErlBnQ=;00000000\x07b')"
    assert outputs(kernel.run(f"%%lk_run\n{code}")) == ["ab\n"]


def test_ipythons_syntax_works_in_a_cell(kernel):
    cell = kernel.run("%%lk_run\n!echo from the shell\nimport asyncio\nawait asyncio.sleep(0)\n%time 6 * 7")
    assert cell.text.startswith("from the shell\r\nCPU times: ")
    assert outputs(cell)[-1] == {"text/plain": "42"}


def test_without_rich_the_cell_is_plain_python(kernel):
    cell = kernel.run("%%lk_run --no-rich\nprint(1)\n2")
    assert outputs(cell) == ["1\n"]
    assert "display" in kernel.run("%%lk_run --no-rich\ndisplay(1)").error["evalue"]


def test_a_bar_is_one_output_and_settles_at_its_end(kernel):
    code = (
        "from tqdm.auto import tqdm\nimport time\nprint('a')\nfor i in tqdm(range(8), desc='load'): time.sleep(.2)\n"
        "print('b')"
    )
    cell = kernel.run(f"%%lk_run --save run\n{code}")
    first, bar, second = outputs(cell)
    assert (first, second) == ("a\n", "b\n")
    assert {"lk_jupyter_output": -1} in cell.metadata  # a page continues the bar after a reload
    assert re.fullmatch(r"load: 100%\|.*\| 8/8 \[.*", bar["text/plain"])
    progress = re.search("<progress [^>]*>", bar["text/html"])[0]
    assert 'role="progressbar"' in progress
    assert 'aria-label="load"' in progress
    assert 'max="8" value="8"' in progress
    assert len([data for data in updates(cell) if "<progress" in data["text/html"]]) <= 4
    assert "8/8" in kernel.value("open(run.log_path).read()")


def test_nested_bars_are_rows_of_one_output(kernel):
    code = (
        "from tqdm import tqdm\nimport time\nfor i in tqdm(range(2), desc='epoch'):\n"
        "    for j in tqdm(range(2), desc='step'): time.sleep(.1)"
    )
    (bars,) = outputs(kernel.run(f"%%lk_run\n{code}"))
    assert [line.partition(":")[0] for line in bars["text/plain"].splitlines()] == ["epoch", "step", "step"]
    assert bars["text/html"].count("<progress") == 3


def test_a_bar_after_text_stands_below_that_text(kernel):
    code = "from tqdm import trange\nfor i in range(2):\n    print('epoch', i)\n    for j in trange(2): pass"
    shown = outputs(kernel.run(f"%%lk_run\n{code}"))
    assert [isinstance(item, str) for item in shown] == [True, False, True, False]


def test_a_bar_of_a_run_that_fails_has_stopped(kernel):
    cell = kernel.run("%%lk_run\nfrom tqdm import trange\nfor i in trange(4):\n    if i == 2: raise ValueError('no')")
    (bar,) = outputs(cell)
    assert bar["text/plain"].endswith("(stopped)")
    assert "ValueError: no" in cell.error["evalue"]


def test_a_bar_that_the_code_leaves_open_stops_without_a_traceback_in_the_log(kernel):
    code = "from tqdm import tqdm\nbar = tqdm(total=8)\nbar.update(3);"
    cell = kernel.run(f"%%lk_run --save run\n{code}")
    (bar,) = outputs(cell)
    assert "3/8" in bar["text/plain"]
    assert "Exception" not in kernel.value("open(run.log_path).read()")


def test_a_run_in_the_background_shows_its_outputs_in_one(kernel):
    code = (
        "from tqdm import trange\nfrom PIL import Image\nprint('begun')\nfor i in trange(2): pass\n"
        "display({'x': 1})\nclass Plot:\n    def _repr_png_(self): return Image.new('RGB', (1, 1))._repr_png_()\n"
        "    def __repr__(self): return '<a plot>'\nPlot()"
    )
    cell = kernel.run(f"%%lk_run --detach --save run\n{code}")
    texts = kernel.texts_until(cell, lambda text: text.startswith("✓ completed"))
    assert any(text.startswith("100%|") for text in texts)
    assert "{'x': 1}\n<a plot>" in texts
    other = kernel.run("1")
    assert [kind for kind, _ in other.messages if kind == "display_data"] == []


def test_an_attached_run_shows_its_outputs(kernel):
    kernel.run("%%lk_run --save run\nprint('a')\ndisplay(1)")
    assert outputs(kernel.run("%lk_attach {run.short_id}")) == ["a\n", {"text/plain": "1"}]


def test_stored_logs_hold_no_frames(kernel):
    kernel.run("%%lk_run --save run\nprint('a')\ndisplay(1)\nprint('b')")
    assert kernel.run("%lk_logs {run.short_id}").text == "a\nb\n"


BARS_AND_LINES = (
    "from tqdm import tqdm\nfor epoch in range(1, 6):\n    for _ in tqdm(range(3), desc=f'epoch {epoch}'): pass\n"
    "    print(f'accuracy {epoch}', flush=True)\nprint('out')\n1 / 0"
)


def test_lines_between_progress_bars_are_in_the_cell_the_stored_log_and_a_later_look(kernel):
    cell = kernel.run(f"%%lk_run --save run\n{BARS_AND_LINES}")
    logs = kernel.run(f"%lk_logs {kernel.value('run.execution_id')}".replace("'", ""))
    again = kernel.run("%lk_attach {run.short_id}")
    expected = [*(f"accuracy {epoch}" for epoch in range(1, 6)), "out"]
    for shown in (cell, logs, again):
        lines = [text for kind, content in shown.messages if kind == "stream" for text in content["text"].splitlines()]
        assert [line for line in lines if line in expected] == expected
        assert sum("Traceback (most recent call last)" in line for line in lines) == (shown is logs)


def test_the_result_of_a_run_is_what_it_printed(kernel):
    kernel.run("%%lk_run --save run\nprint('a')\ndisplay(1)")
    assert kernel.value("run.result().stdout") == r"'a\n'"


def test_in_the_background_an_error_is_told(kernel):
    cell = kernel.run("%%lk_run --detach\nprint('a')\n1/0")
    texts = kernel.texts_until(cell, lambda text: text.startswith("✗ failed"))
    assert any("ZeroDivisionError: division by zero" in text for text in texts)


@pytest.mark.nightly
def test_a_larger_output_comes_through_the_bucket(kernel):
    code = (
        "import os\nclass Big:\n    def _repr_html_(self): return 'x' * 3_000_000\n    __repr__ = lambda self: 'Big'\n"
        "print(bool(os.environ.get('LK_STORAGE')))\nBig()"
    )
    cell = kernel.run(f"%%lk_run --save run\n{code}")
    if cell.text == "False\n":
        pytest.skip("this machine cannot show the bucket as a folder")
    assert len(outputs(cell)[-1]["text/html"]) == 3_000_000
    assert kernel.value("run.log_path.stat().st_size < 5000") == "True"
    kernel.run("for found in run._session.storage.ls('.lk_jupyter/outputs'): run._session.storage.remove(found.key)")
    shown = outputs(kernel.run("%lk_attach {run.short_id}"))[-1]
    assert shown["text/plain"].startswith("Big\n(an output of ")


STRANGE = """
class Page:
    def _repr_html_(self): return '<img src=x onerror=alert(1)>'
    def _repr_markdown_(self): return '<script>alert(1)</script>'
    def __repr__(self): return 'a page'
class Drawing:
    def _repr_svg_(self): return '<svg onload="alert(1)"></svg>'
    def __repr__(self): return 'a drawing'
from PIL import Image
display(Page(), Drawing(), Image.new('RGB', (1, 1)))
handle = display(display_id=True) or display('first', display_id='x')
handle.update(Page())
from IPython.display import update_display
update_display('planted', display_id='mine')
best = 7
"""


def test_a_colleagues_run_shows_no_html_here_and_sets_nothing_unless_that_is_asked_for(
    kernel, cloud, home, monkeypatch
):
    monkeypatch.chdir(home)
    with connect(cloud.base_url, cloud.api_key) as colleague:  # another home, another journal
        theirs = colleague.run(STRANGE, gpu="L40S", rich=True, outputs=["best"])
        theirs.wait()
    kernel.run("display('my own', display_id='mine')")
    cell = kernel.run(f"%lk_attach {theirs.short_id}")
    assert cell.error is None
    data = [content["data"] for kind, content in cell.messages if kind in RICH]
    shown = [forms for forms in data if forms.get("text/plain") in {"a page", "a drawing"} or "image/png" in forms]
    assert [sorted(forms) for forms in shown[:2]] == [["text/plain"], ["text/html", "text/plain"]]
    assert re.fullmatch(r'<img alt="a drawing" src="data:image/svg\+xml;base64,[\w+/=]+">', shown[1]["text/html"])
    assert "image/png" in shown[2]
    assert "onerror" not in str(data)
    assert "<script" not in str(data)
    assert f"%lk_attach {theirs.short_id} --rich" in cell.shown[0]
    assert any(f"%lk_attach {theirs.short_id} --out best" in text for text in cell.shown)
    assert kernel.value("'best' in dir()") == "False"
    assert "mine" not in [content.get("transient", {}).get("display_id") for _, content in cell.messages]
    cell = kernel.run(f"%lk_attach {theirs.short_id} --rich --out best")
    assert "mine" not in [content.get("transient", {}).get("display_id") for _, content in cell.messages]
    assert "onerror" in str([content["data"] for kind, content in cell.messages if kind in RICH])
    assert kernel.value("best") == "7"
    cell = kernel.run(f"%lk_attach {theirs.short_id} --detach")
    texts = kernel.texts_until(cell, lambda text: "--rich" in text)
    assert texts
    assert "onerror" not in str(cell.messages)


def test_a_lane_shows_its_outer_bar_while_it_goes_on(kernel, tmp_path):
    go = tmp_path / "go"
    code = (
        "import pathlib, time\nfrom tqdm import tqdm\nfor i in tqdm(range(3), desc='epochs'):\n"
        "    for j in tqdm(range(2), desc='steps'): time.sleep(.2)\n"
        f"    while i == 1 and not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)"
    )

    def go_on(cell):
        newest = next(
            (content["data"].get("text/html", "") for kind, content in cell.messages[::-1] if kind in RICH), ""
        )
        if all(f'aria-label="run {lane} · epochs"' in newest for lane in (1, 2)):
            go.touch()
        return go.exists()

    cell = kernel.run(f"%%lk_run --gpu A100,H100\n{code}", on=go_on)
    boards = [content["data"]["text/html"] for kind, content in cell.messages if kind in RICH]
    with_bars = [html for html in boards if 'aria-label="run 1 · epochs"' in html]
    assert any('aria-label="run 2 · epochs"' in html for html in with_bars)
    assert "steps" not in "".join(re.findall("<progress[^>]*>", "".join(with_bars)))


@pytest.mark.nightly
def test_outputs_survive_a_crash_of_the_kernel(kernel):
    code = "import time\nfor i in range(20): print('line', i); display(i); time.sleep(.1)"
    cell = kernel.run(f"%%lk_run --detach --save run\n{code}")
    kernel.texts_until(cell, lambda text: "line 3" in text)
    run_id = kernel.value("run.execution_id").strip("'")
    kernel.crash()
    shown = outputs(kernel.run(f"%lk_attach {run_id}"))
    texts = [item if isinstance(item, str) else item["text/plain"] + "\n" for item in shown]
    named = [text for text in texts if "%lk_attach" not in text]  # that a run goes on is told at load time
    assert "".join(named) == "".join(f"line {i}\n{i}\n" for i in range(20))


def test_frames_that_make_no_sense_do_no_harm(kernel):
    code = (
        "from _lk.script import run as driver\n"
        "payloads = {}, {'bar': 1, 'n': 'x'}, {'data': 5}, {'data': {'text/html': 5}, 'metadata': {}}\n"
        "for payload in payloads:\n"
        "    for kind in ('bar', 'display', 'update', 'clear', 'error', 'stored', 'what', 'hide'):\n"
        "        driver.frame(kind, payload)\nprint('done')"
    )
    cell = kernel.run(f"%%lk_run\n{code}")
    assert cell.error is None
    assert "done\n" in cell.text
    assert cell.shown[0].startswith("✓ completed")


def test_binary_files_come_along_where_the_cell_names_them_or_is_given_them(kernel):
    kernel.run(
        "from pathlib import Path\nfor name in 'kept.bin', 'other.dat': Path(name).write_bytes(bytes(range(256)))"
    )
    cell = kernel.run("%%lk_run --carry\nprint(len(open('kept.bin', 'rb').read()), Path('other' + '.dat').exists())")
    assert cell.text == "256 False\n"
    kernel.run("place = Path('images') / 'first'\nplace.mkdir(parents=True)")
    cell = kernel.run("%%lk_run --carry\nprint((place / 'a.txt').write_text('kept'), end=' ')")
    assert cell.text == "4 "
    cell = kernel.run(
        "%%lk_run --fresh --files *.bin\nfrom glob import glob\nprint(glob('*'), open(glob('*.bin')[0], 'rb').read(2))"
    )
    assert cell.text == "['kept.bin'] b'\\x00\\x01'\n"


def test_widgets_keep_their_values_and_their_handlers_in_both_directions(kernel):
    kernel.run(
        "%%lk_run --carry\nimport ipywidgets\nlevel = ipywidgets.IntSlider(4)\nseen = []\n"
        "level.observe(lambda change: seen.append(change['new']), 'value')"
    )
    kernel.run("level.value = 7")
    link = "linked = ipywidgets.jslink((level, 'value'), (ipywidgets.IntText(), 'value'))"
    cell = kernel.run(f"%%lk_run --carry\nlevel.value += 1\nprint(level.value, seen)\n{link}")
    assert cell.text == "8 [7, 8]\n"
    assert kernel.run("print(level.value, seen, linked.source[0] is level)").text == "8 [7, 8] True\n"
    (view,) = views(kernel.run("%%lk_run --carry\nlinked.close()\nlevel"))
    assert kernel.run("print(linked.comm, level.comm is None)").text == "None False\n"
    assert view["text/plain"] == "IntSlider(value=8)"
    assert view[VIEW]["model_id"] == kernel.run("print(level.model_id)").text.strip()


def test_what_interact_makes_in_a_run_can_be_moved_here_and_shows_its_result_inside(kernel):
    cell = kernel.run(
        "%%lk_run --carry\nfrom ipywidgets import interact\ntwice = interact(lambda x: print(2 * x), x=4)"
    )
    (view,) = views(cell)
    assert view["text/plain"].startswith("interactive(children=(IntSlider(value=4, description='x', max=12, min=-4)")
    assert view[VIEW]["model_id"] == kernel.run("print(twice.widget.model_id)").text.strip()
    order = [
        content.get("text", content.get("data", {}).get("state", {}).get("msg_id"))
        for kind, content in cell.messages
        if kind in {"comm_msg", "stream"}
    ]
    into, printed, out = [found for found in order if found is not None][:3]
    assert (len(into) > 0, printed, out) == (True, "8\n", "")
    moved = kernel.run("twice.widget.children[0].value = 5\nprint(repr(twice.widget.out.msg_id))")
    assert moved.text == "10\n''\n"


def test_figures_are_pictures_with_their_text_also_one_that_is_open_when_the_code_fails_below_its_error(kernel):
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\ndisplay('first')\nplt.plot([1, 2])\n1 / 0"
    cell = kernel.run(f"%%lk_run\n{code}")
    shown = [content.get("data", kind) for kind, content in cell.messages if kind in {"error", "display_data"}]
    order = [
        "figure" if forms.keys() == {"image/png", "text/plain"} else forms["text/plain"]
        for forms in (one if isinstance(one, dict) else {"text/plain": one} for one in shown)
    ]
    wanted = ["figure", "'first'", "error", "figure"]
    assert [each for each in order if each in wanted] == wanted


def test_an_output_is_updated_by_a_later_cell_in_the_place_that_its_id_names(kernel):
    first = kernel.run("%%lk_run --carry\nhandle = display('one', display_id=True)")
    later = kernel.run("%%lk_run --carry\nhandle.update('two')")
    shown = [content["transient"].get("display_id") for kind, content in first.messages if kind == "display_data"]
    (update,) = [
        content
        for kind, content in later.messages
        if kind == "update_display_data" and content["data"] == {"text/plain": "'two'"}
    ]
    assert update["transient"]["display_id"] in shown


def test_a_widget_is_only_its_picture_where_a_program_executes_the_notebook(kernel):
    """Such as ``jupyter nbconvert --execute``, whose page has no kernel, and which can't be asked for input."""
    widget = "from lk_jupyter.widgets import Login\nLogin()"
    (alive,), (left,) = (outputs(kernel.run(widget, cell_id=cell)) for cell in (None, "unattended"))
    assert VIEW in alive
    assert set(left) == {"text/plain", "text/html", "image/png"}
