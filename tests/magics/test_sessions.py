"""``%%lk_run --session`` on a local cloud, where Jupyter of this environment stands in for the image."""

from __future__ import annotations

import builtins
import importlib.util
import re
import shutil
import threading
import zipfile

import psutil
import pytest
from localcloud.conftest import until
from magics.kernels import CELL, RICH
from patience import PATIENCE

import lk_jupyter
from lk_jupyter import session
from lk_jupyter.config.files import config_file
from lk_jupyter.errors import CellFailed, ConnectionFailed, LkError, UsageError
from lk_jupyter.magics._output.live import RUN_MIME
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.runs.notebooks import warm_python
from lk_jupyter.runs.notebooks.servers import read_password, start_server, stop_on_failure
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.variables import state

pytestmark = pytest.mark.xdist_group("hosted")


@pytest.fixture
def user(hosting, home, monkeypatch):
    """The user of a notebook, signed in to the cloud that hosts Jupyter servers."""
    monkeypatch.setenv("LK_BASE_URL", hosting.base_url)
    monkeypatch.setenv("LK_API_KEY", hosting.api_key)
    yield hosting
    for warm in [*warm_python.connected_warm_pythons.values()]:
        warm.close()


@pytest.fixture
def going_on(user):
    """The runs that are active, without the session that tests share; those that a test leaves are aborted."""

    def active():
        return [run for run in user.client.workloads.list() if run.run_name != "session shared"]

    yield active
    for run in active():
        user.client.workloads.abort(run.execution_id)
    until(lambda: not active())


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A folder with the journal that knows the session which tests share, and the secret behind its password."""
    folder = tmp_path_factory.mktemp("known")
    (folder / "signing.key").write_bytes(bytes(32))
    return folder


@pytest.fixture
def shared(user, known, monkeypatch):
    """A session that the tests of this file share, each with variables of its own; the first one starts it."""
    monkeypatch.setenv("LK_JOURNAL", str(known / "journal.sqlite"))
    config_file().parent.mkdir(parents=True)
    shutil.copy(known / "signing.key", config_file().parent)
    return "%%lk_run --session shared"


def test_a_session_keeps_its_variables_shows_no_password_is_listed_and_stopped_with_its_bill(
    hosting, going_on, run_cell
):
    shown = run_cell("%%lk_run --session train --gpu A100\nx = 6 * 7\nprint('first', x)\nx")
    assert "first 42\n" in shown
    assert "at 1.59 credits/h" in shown.partition("first 42")[0]
    assert "Billed until you stop it (%lk_sessions stop train), or at its time limit of 10 min." in shown
    (run,) = going_on()
    assert (run.hardware_profile, run.run_name) == ("gpu.a100", "session train")
    password = read_password(Run(session.current(), run.execution_id))
    lines = [str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if password in line]
    said = shown

    shown = run_cell("%%lk_run --session train\nprint(x + 1)")
    assert "43\n" in shown
    assert re.search(r"✓ completed · [\d.]+ s · session train · ≈ [\d.]+ credits so far", shown)
    assert [still.execution_id for still in going_on()] == [run.execution_id]

    shown = run_cell("%lk_sessions")
    assert re.search(rf"train .*gpu\.a100 .*1\.59 credits/h .*credits .*{run.execution_id[:8]}", shown)
    assert password not in said + shown + str(hosting.client.execution.get(run.execution_id))
    shown = run_cell("%lk_sessions stop train")
    assert run.execution_id in shown
    assert going_on() == []
    assert hosting.client.execution.get(run.execution_id).billed > 0
    assert "Unknown session 'train'. Nothing was stopped." in run_cell("%lk_sessions stop train")


def test_an_error_in_a_cell_names_its_line_and_leaves_the_session(shared, run_cell):
    run_cell(f"{shared}\nx = 1")
    shown = run_cell(f"{shared}\nx = 2\n1 / 0")
    assert "CellFailed: session shared: ZeroDivisionError: division by zero" in shown
    assert "line 3" in shown or "----> 3 1 / 0" in shown
    assert "2\n" in run_cell(f"{shared}\nprint(x)")
    survived = "class A:\n    def _repr_html_(self): 1 / 0\n    def __repr__(self): return 'an A'\ndisplay(A())"
    shown = run_cell(f"{shared}\n{survived}\nprint('on')")
    assert re.search("ZeroDivisionError.*an A\n.*on\n.*completed", shown, re.DOTALL)
    shown = run_cell(f"{shared}\n{survived}\n[][1]")
    assert re.search("ZeroDivisionError.*an A\n.*CellFailed: session shared: IndexError", shown, re.DOTALL)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("--session train -r nosuch.txt,x", "-r: 'nosuch.txt,x' is neither a file here nor a package."),
        ("--session train --sweep x=1,2", "--sweep doesn't work with --session. Nothing was sent."),
        ("--session train --detach", "--detach doesn't work with --session. Nothing was sent."),
        ("--session ../x", "--session takes letters, digits, - and _, at most 40, got '../x'. Nothing was sent."),
        ("--idle 3", "A run doesn't support 'idle'. Nothing was sent."),
    ],
)
def test_what_a_session_cannot_honor_is_refused_before_anything_is_sent(going_on, run_cell, line, refused):
    assert refused in run_cell(f"%%lk_run {line}\n1")
    assert going_on() == []


@pytest.fixture
def notebook(kernel, hosting):
    """The kernel of a notebook, signed in to the cloud that hosts Jupyter servers."""
    before = [kernel.value(f"__import__('os').environ['{name}']") for name in ("LK_BASE_URL", "LK_API_KEY")]
    kernel.signed_in = f"%env LK_BASE_URL={hosting.base_url}\n%env LK_API_KEY={hosting.api_key}"
    kernel.run(kernel.signed_in)
    yield kernel
    kernel.run("%env LK_BASE_URL={}\n%env LK_API_KEY={}".format(*(eval(text) for text in before)))


def test_a_cell_of_a_session_has_one_header_with_its_state_time_and_cost(notebook):
    notebook.run("%%lk_run --session shared\npass")
    cell = notebook.run("%%lk_run --session shared\nprint('in the session')")
    assert cell.text == "in the session\n"
    (text,) = cell.shown
    assert re.search(r"^✓ completed · .* s · session shared · ≈ .* credits so far · run \w{8}", text)
    headers = [content["data"][RUN_MIME] for kind, content in cell.messages if kind in RICH]
    assert [header["name"] for header in headers] == ["session shared"] * len(headers)
    assert (headers[0]["state"], headers[-1]["state"]) == ("running", "completed")
    assert "credits so far" in headers[-1]["told"][0]
    code = "import sys\nprint('a warning', file=sys.stderr)\nprint('unfinished', end='')"
    cell = notebook.run(f"%%lk_run --session shared\n{code}")
    texts = {"stdout": "", "stderr": ""}
    for content in [content for kind, content in cell.messages if kind == "stream"]:
        texts[content["name"]] += content["text"]
    assert texts == {"stdout": "unfinished", "stderr": "a warning\n"}  # as in a local cell


def test_a_cell_of_a_session_shows_its_id_first_and_its_state_last_where_updates_are_lost(notebook):
    notebook.run("%%lk_run --session shared\npass")
    notebook.client.session.metadata = {}
    cell = notebook.run("%%lk_run --session shared\nprint('in the session')\n1 / 0")
    notebook.client.session.metadata = CELL
    assert [kind for kind, _ in cell.messages if kind in {*RICH, "error"}] == ["display_data", "error", "display_data"]
    first, last = cell.shown
    run_id = re.search(r"run ([0-9a-f-]{36})", first)[1]
    assert "Stop the session and its bill: %lk_sessions stop shared" in first
    assert re.search(rf"^✗ failed · .* s · session shared · ≈ .* credits so far · run {run_id}", last)


def test_an_interrupt_interrupts_the_cell_and_leaves_the_session(notebook):
    notebook.run("%%lk_run --session shared\npass")  # the header of the first cell says how to end the bill
    cell = notebook.run(
        "%%lk_run --session shared\nkept = 5\nprint('up')\nimport time\nwhile True: time.sleep(0.05)",
        on=notebook.interrupt_when(lambda cell: "up\n" in cell.text),
    )
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert "You stopped this cell. Its session keeps the variables." in cell.error["evalue"]
    assert "until you stop it: %lk_sessions stop shared" in cell.error["evalue"]
    assert notebook.run("%%lk_run --session shared\nprint(kept)").text == "5\n"


def test_a_second_interrupt_leaves_the_waiting_for_a_cell_that_does_not_stop(notebook, tmp_path):
    go = tmp_path / "go"
    deaf = "    try: time.sleep(0.05)\n    except KeyboardInterrupt: print('deaf')"
    code = f"import os, time\nprint('up')\nwhile not os.path.exists({str(go)!r}):\n{deaf}"
    interrupts = iter(["up\n", "deaf\n"])
    wanted = next(interrupts)

    def on(cell):
        nonlocal wanted
        if wanted in cell.text:
            notebook.manager.interrupt_kernel()
            wanted = next(interrupts, None)
        return wanted is None

    cell = notebook.run(f"%%lk_run --session shared\n{code}", on=on)
    assert "Stopped waiting. The cell may still run in session shared." in cell.error["evalue"]
    assert "busy" in str(notebook.run("%lk_sessions").shown)
    go.touch()
    assert notebook.run("%%lk_run --session shared\nprint('on')").text.endswith("on\n")


def test_a_kernel_that_is_restarted_finds_its_session_again(notebook, hosting):
    def machines():
        return [run.execution_id for run in hosting.client.workloads.list() if run.run_name == "session shared"]

    notebook.run("%%lk_run --session shared\nkept = 7")
    before = machines()
    notebook.crash()
    notebook.run(notebook.signed_in)
    assert notebook.run("%%lk_run --session shared\nprint(kept)").text == "7\n"
    assert machines() == before != []


def test_a_python_that_dies_says_so_and_the_next_cell_has_a_fresh_one(notebook):
    cell = notebook.run("%%lk_run --session shared\ngone = 1\nimport os; os._exit(1)")
    assert "died and was restarted on the same machine; its variables are lost" in cell.error["evalue"]
    assert notebook.run("%%lk_run --session shared\nprint('gone' in globals())").text == "False\n"


def test_figures_and_updates_are_those_of_the_session(notebook):
    cell = notebook.run(
        "%%lk_run --session shared\nfrom IPython.display import display, HTML\n"
        "handle = display(HTML('<b>one</b>'), display_id=True)\nhandle.update(HTML('<b>two</b>'))\n'last'"
    )
    html = [content["data"].get("text/html") for kind, content in cell.messages if "display_data" in kind]
    assert "<b>one</b>" in html
    assert "<b>two</b>" in html
    assert "'last'" in cell.shown


def test_a_notebook_shows_as_text_what_its_session_has_not_signed(notebook):
    cell = notebook.run(
        "%%lk_run --session shared\nfrom IPython.display import display, HTML\n"
        "session = get_ipython().kernel.session\nsigning = vars(session).pop('serialize')\n"
        "handle = display(HTML('<img src=x onerror=alert(1)>'), display_id=True)\nhandle.update(HTML('<b>two</b>'))\n"
        "session.serialize = signing\ndisplay(HTML('<b>signed</b>'))"
    )
    shown = [content["data"] for kind, content in cell.messages if "display_data" in kind]
    html = [data.get("text/html", "") for data in shown]
    assert "2 outputs aren't signed by the session, so only the text was shown." in str(shown)
    assert [text for text in html if "onerror" in text or "two" in text] == []
    assert "<b>signed</b>" in html
    assert "<IPython.core.display.HTML object>" in [data.get("text/plain") for data in shown]


def test_state_goes_only_if_it_changed_here_and_comes_back_only_if_it_changed_there(shared, run_cell, shell):
    run_cell("rows = [1, 2]; big = bytearray(b'x' * 70000)")
    shown = run_cell(f"{shared} --carry\nrows.append(3)\ntotal = len(big)")
    assert shell.user_ns["rows"] == [1, 2, 3]
    assert shell.user_ns["total"] == 70000
    assert "Changed here: rows" in shown
    assert "Set here: total" in shown
    assert "big" not in shown.partition("completed")[2]

    run_cell(f"{shared}\nbig[0:1] = b'y'")  # changed there without --carry
    kept = shell.user_ns["rows"]
    run_cell(f"{shared} --carry\nfirst = big[:1]\nrows.append(4)")
    assert bytes(shell.user_ns["first"]) == b"y"  # big was not sent again: it has not changed here
    assert shell.user_ns["rows"] is kept
    assert kept == [1, 2, 3, 4]

    run_cell("rows.append(5)")
    run_cell(f"{shared} --carry\nseen = list(rows)")
    assert shell.user_ns["seen"] == [1, 2, 3, 4, 5]


def test_a_large_variable_stays_in_the_session_and_is_named(shared, run_cell, shell, monkeypatch):
    monkeypatch.setenv("LK_CARRY_LIMIT", "10000")
    shown = run_cell(f"{shared} --carry\nlarge = bytes(50000)\nsize = len(large)")
    assert "stays in the session: a variable of more than 10,000 bytes is returned only with --out large" in shown
    assert "large" not in shell.user_ns
    assert run_cell(f"{shared} --carry\nprint(len(large))").count("50000") == 1
    run_cell(f"{shared} --carry --out large\npass")
    assert len(shell.user_ns["large"]) == 50000


def test_variables_that_options_name_are_sent_and_set(shared, run_cell, shell):
    run_cell("given = 20")
    run_cell(f"{shared} --in given --out made\nmade = given + 1")
    assert shell.user_ns["made"] == 21


def test_what_an_error_left_changed_comes_back(shared, run_cell, shell):
    run_cell("lines = [1]")
    shown = run_cell(f"{shared} --carry\nlines.append(2)\n1 / 0")
    assert "ZeroDivisionError" in shown
    assert shell.user_ns["lines"] == [1, 2]


def test_the_idle_limit_ends_the_bill_also_when_the_notebook_is_gone(going_on, notebook):
    notebook.run("%%lk_run --session train --idle 0.05\nprint('up')")
    assert len(going_on()) == 1
    notebook.crash()
    until(lambda: not going_on())


@pytest.mark.nightly  # test_kept_machine.py
def test_the_next_machine_has_what_an_idle_one_saved_unless_a_member_changed_it_or_it_was_lost(
    hosting, going_on, run_cell, home
):
    until_end = "end = time.monotonic() + 2.5\n{0}while time.monotonic() < end: time.sleep(.05)\n"
    slow = f"class Slow:\n    def __reduce__(self):\n        {until_end.format(8 * ' ')}        return int, (7,)"
    cell = f"import time\n{slow}\nx = [1]\ny = x\nz = Slow()\n{until_end.format('')}print('done')"
    assert "done" in run_cell(f"%%lk_run --session train --idle 0.03\n{cell}")
    until(lambda: not going_on())
    shown = run_cell("%%lk_run --session train --idle 0.03\nprint('same', x is y, x, z)")
    assert "Session train continues on a new machine. Restored: Slow, end, time, x, y, z" in shown, shown
    assert "same True [1] 7\n" in shown

    until(lambda: not going_on())
    with lk_jupyter.connect(hosting.base_url, hosting.api_key) as member:
        for saved in [found.key for found in member.storage.ls(".lk/c/")]:  # those of earlier sessions too
            content = member.storage.get_bytes(saved)
            member.storage.put(content[:-1] + bytes([content[-1] ^ 1]), saved, overwrite=True)
    shown = run_cell("%%lk_run --session train\nprint('x' in globals())")
    assert "couldn't be restored: the variables were changed in the bucket" in shown, shown
    assert "False\n" in shown

    run_cell("%%lk_run --session train\nimport os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    until(lambda: not going_on())
    shown = run_cell("%%lk_run --session train\nprint('up')")
    assert "The earlier variables of session train are lost: its machine ended before they were saved." in shown


def test_a_machine_that_reaches_its_time_limit_while_it_starts_has_a_receipt(signed_in, run_cell):
    printed = run_cell("%%lk_run --session t --gpu A100 --timeout 1\nprint(1)")
    assert re.search(r"✗ timeout · A100 at 1.59 credits/h · .*1.\d s · 0.000\d credits · run [\w-]{36}\n", printed)
    assert re.search("time limit (of 1 s )?was reached", printed)


def test_a_connection_that_fails_at_the_time_limit_is_reported_as_the_time_limit(user):
    with lk_jupyter.connect() as connected:
        run = start_server(connected, ServerOptions(machine="cpu", timeout=1))
        until(lambda: run.status == "timeout")
        with pytest.raises(LkError, match=r"[Tt]ime limit"), stop_on_failure(run):
            raise ConnectionFailed("The server doesn't answer (HTTP 502).")


def test_a_cell_that_its_machine_interrupts_before_the_time_limit_is_out_of_time(signed_in, run_cell):
    code = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    printed = run_cell(f"%%lk_run --session t --gpu A100 --timeout 16\n{code}")
    assert "begun" in printed
    assert re.search(r"✗ timeout · .* s · session t · ≈ 0.00\d\d credits so far · run [\w-]{8,36}\n", printed)
    assert "session t: KeyboardInterrupt: the time limit of the machine (16 s) was close." in printed
    assert not re.search("✗ (failed|lost)", printed)


@pytest.mark.xdist_group("real clock")  # it waits most of a minute, which others need not
@pytest.mark.nightly
def test_variables_are_saved_before_the_time_limit(make_cloud, home, monkeypatch, run_cell):
    cloud = make_cloud("--engine", "none")  # its clock is the real one
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    run_cell("%%lk_run --session train --timeout 60\nx = bytes(100_000)\nopened = open(__import__('os').devnull)")
    with lk_jupyter.connect() as session:
        (active,) = cloud.client.workloads.list()
        session.get(active.execution_id).wait()
        (saved,) = session.storage.ls(".lk/c/")
    assert saved.size > 100_000


def test_an_edited_module_next_to_the_notebook_is_the_one_that_is_imported(shared, run_cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_here.py").write_text("value = 1\n")
    assert "value 1" in run_cell(f"{shared}\nimport mine_here\nprint('value', mine_here.value)")
    (tmp_path / "mine_here.py").write_text("value = 22\n")
    assert "value 22" in run_cell(f"{shared}\nimport mine_here\nprint('value', mine_here.value)")


def make_wheel(folder, version):
    """Write a wheel of the package lk_sample, whose only module has its version; return the requirement."""
    path = folder / f"lk_sample-{version}-py3-none-any.whl"
    about = f"lk_sample-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("lk_sample.py", f"version = '{version}'\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: lk_sample\nVersion: {version}\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return f"lk_sample @ {path.as_uri()}"


@pytest.mark.nightly  # for a run: tests/localcloud/test_runs.py
def test_a_session_installs_the_packages_of_a_cell_once_and_reports_a_missing_one(shared, run_cell, tmp_path):
    output = run_cell(f"{shared}\nimport lk_sample")
    assert (
        "The session doesn't have the packages lk_sample (image jupyter/base-notebook:latest with Python 3." in output
    )
    assert "To install them, add -r auto" in output
    with_sample = f"{shared} -r '{make_wheel(tmp_path, '1.0')}'"
    assert "version 1.0\n" in run_cell(f"{with_sample}\nimport lk_sample\nprint('version', lk_sample.version)")
    (warm,) = warm_python.connected_warm_pythons.values()
    assert len(warm._installed) == 1
    assert "again 1.0\n" in run_cell(f"{with_sample}\nprint('again', lk_sample.version)")
    assert len(warm._installed) == 1
    output = run_cell(f"{shared} -r '{make_wheel(tmp_path, '2.0')}'\nprint('still', lk_sample.version)")
    assert "still 1.0\n" in output
    assert "The session still uses the package versions that it imported earlier: lk_sample 1.0 (now 2.0)." in output
    assert importlib.util.find_spec("lk_sample") is None  # the environment of the server didn't change


@pytest.mark.nightly
def test_a_cell_whose_packages_cannot_be_installed_is_not_run(shared, run_cell, tmp_path):
    output = run_cell(f"{shared} -r 'nosuch @ {(tmp_path / 'nosuch.whl').as_uri()}'\nprint('never')")
    assert "pip couldn't install the packages of -r in session shared. The cell wasn't run." in output
    assert "never\n" not in output


def test_options_of_the_display_work_in_a_session(shared, run_cell):
    assert "loud" not in run_cell(f"{shared} --quiet\nprint('lo' + 'ud')")
    assert re.search(r"environment \d", run_cell(f"{shared} --time\n1"))
    planned = run_cell(f"{shared} --dry-run\nprint('lo' + 'ud')")
    assert "loud" not in planned
    assert re.search(r"Billed until +%lk_sessions stop shared, or at its time limit of 10 min", planned)


def test_from_python_a_session_runs_code_and_brings_variables_back(hosting, going_on):
    with lk_jupyter.connect(hosting.base_url, hosting.api_key) as session:
        warm = session.warm_python("train", gpu="A100")
        result = warm.run_code("print('up')\ny = x + 1\ny", inputs={"x": 41}, outputs=["y"])
        assert result.text == "up\n"
        assert result.outputs == {"y": 42}
        assert result.displays == [{"text/plain": "42"}]
        assert session.warm_python("train") is warm
        with pytest.raises(CellFailed, match="session train: ZeroDivisionError"):
            warm.run_code("1 / 0")
        with pytest.raises(UsageError, match=r"run_code doesn.t support .timeout.\. Nothing was sent\. .*warm_python"):
            warm.run_code("1", timeout=60)
        rows = [1]
        warm.run_code("rows.append(y)", inputs={"rows": rows}, carry=True)
        assert rows == [1, 42]
        warm.stop()
        until(lambda: not going_on())
        for refused in ({"session": "train"}, {"idle": 3}):
            with pytest.raises(UsageError, match=r"session\.run doesn.t support .* Nothing was sent"):
                session.run("1", **refused)
        with pytest.raises(UsageError, match=r"session\.warm_python doesn.t support .sweep.\. Nothing was sent"):
            session.warm_python("train", sweep=["x=1,2"])
        assert going_on() == []


def test_a_cell_whose_connection_breaks_shows_each_line_once_or_counts_the_lost_messages(shared, run_cell):
    run_cell(f"{shared}\nimport time")
    (warm,) = warm_python.connected_warm_pythons.values()

    def cut():
        until(lambda: warm.channel._started)
        warm.channel._socket.close()

    cutting = threading.Thread(target=cut)
    cutting.start()
    cell = "for number in range(20):\n    print('line', number, flush=True)\n    time.sleep(0.1)"
    shown = run_cell(f"{shared}\n{cell}")
    cutting.join(PATIENCE)
    counts = [shown.count(f"line {number}\n") for number in range(20)]
    assert max(counts) == 1
    assert min(counts) == 1 or "lost. Output may be missing." in shown


def test_a_session_gives_data_only_unless_pickles_are_asked_for(shared, run_cell, shell):
    evil = (
        "class Evil:\n    def __reduce__(self):\n        return exec, ('import builtins; builtins.entered = True',)\n"
    )
    shown = run_cell(f"{shared} --out evil,fine\n{evil}evil = Evil()\nfine = 3")
    assert shell.user_ns["fine"] == 3
    assert "evil" not in shell.user_ns
    assert "evil" in shown.partition("completed")[2]
    assert not hasattr(builtins, "entered")


def test_an_active_session_executes_no_cell_in_read_only_mode_and_can_be_stopped(going_on, run_cell):
    run_cell("%%lk_run --session train --gpu A100\nx = 1")
    run_cell("%lk_config read_only on")
    refused = run_cell("%%lk_run --session train\nx = 2\nprint('executed')")
    stopped = run_cell("%lk_sessions stop train")
    run_cell("%lk_config read_only off")
    assert "Read-only mode is on. Nothing was sent." in refused
    assert "executed" not in refused
    assert "Read-only" not in stopped
    until(lambda: not going_on())


#: State whose parts are shared by several names, as an optimizer shares the parameters of a model.
SHARING = """
class Model:
    def __init__(self):
        self.weights = [np.ones(3), np.zeros(2)]
class Optimizer:
    def __init__(self, weights):
        self.weights = weights
        self.state = {0: weights[0]}
    def step(self):
        for weight in self.weights:
            weight += 1
a = [1]; b = {"a": a}; left = {"part": [0]}; right = [left["part"], 5]
model = Model(); optimizer = Optimizer(list(model.weights))
"""


@pytest.mark.nightly  # in a run: below
def test_an_object_that_names_share_stays_one_object_in_a_session_and_here(shared, run_cell, shell):
    run_cell("import numpy as np\n" + SHARING)
    names = shell.user_ns
    run_cell(f"{shared} --sync\nprint(a, b, left, right, model, optimizer)")
    a, part, weights = names["a"], names["left"]["part"], names["model"].weights[0]
    run_cell(f'{shared} --sync\nb["a"].append(2)')
    assert names["b"]["a"] is names["a"] is a
    assert a == [1, 2]
    run_cell(f'{shared} --sync\nleft["part"].append(1)\nalias = right[0]')
    assert names["left"]["part"] is names["right"][0] is names["alias"] is part
    assert part == [0, 1]
    run_cell(f"{shared} --sync\noptimizer.step()")
    assert names["model"].weights[0] is names["optimizer"].weights[0] is names["optimizer"].state[0] is weights
    assert names["model"].weights[0].tolist() == [2, 2, 2]

    run_cell('right.append(6); left["new"] = 1; a.append(3); model.weights[0] += 1')  # changed here
    cell = (
        'left["part"].append(2); b["a"].append(4); optimizer.step()\n'
        'same = [a is b["a"], left["part"] is right[0], model.weights[0] is optimizer.state[0], *a, *right[0]]'
    )
    run_cell(f"{shared} --sync\n{cell}")
    assert names["same"] == [True, True, True, 1, 2, 3, 4, 0, 1, 2]
    assert names["b"]["a"] is names["a"]
    assert names["left"]["part"] is names["right"][0]
    assert names["model"].weights[0] is names["optimizer"].state[0]
    assert names["model"].weights[0].tolist() == [4, 4, 4]
    assert names["right"][1:] == [5, 6]


def test_an_object_that_names_share_stays_one_object_in_a_run_and_here(user, run_cell, shell):
    run_cell("import numpy as np\n" + SHARING)
    run_cell('%%lk_run --sync\nb["a"].append(2); left["part"].append(1); optimizer.step(); print(a, right, model)')
    names = shell.user_ns
    assert names["b"]["a"] is names["a"]
    assert names["left"]["part"] is names["right"][0]
    assert names["model"].weights[0] is names["optimizer"].state[0]
    assert (names["a"], names["right"], names["model"].weights[0].tolist()) == ([1, 2], [[0, 1], 5], [2, 2, 2])


@pytest.mark.nightly
def test_a_value_that_a_session_changed_without_sync_counts_there_and_its_names_are_set_here(shared, run_cell, shell):
    run_cell('outer = {"inner": [1]}; other = [outer["inner"]]')
    run_cell(f"{shared} --sync\nprint(outer, other)")
    run_cell(f'{shared}\nouter["inner"].insert(0, [0])')  # another graph there
    run_cell(f'{shared} --sync\nother[0].append(2)\nsame = outer["inner"] is other[0]')
    names = shell.user_ns
    assert names["same"]
    assert names["outer"]["inner"] is names["other"][0]
    assert names["outer"]["inner"] == [[0], 1, 2]


@pytest.mark.nightly
def test_globals_of_a_function_that_a_session_has_are_sent_and_returned(shared, run_cell, shell):
    run_cell("""
rate = 1; calls = []
def current():
    calls.append(rate)
    return rate
class Reader:
    def read(self):
        return rate
reader = Reader()
""")
    run_cell(f"{shared} --sync\nseen = [current(), reader.read()]")
    assert shell.user_ns["seen"] == [1, 1]
    run_cell("rate = 2")
    run_cell(f"{shared} --sync\nseen = [current(), reader.read()]")
    assert shell.user_ns["seen"] == [2, 2]
    assert shell.user_ns["calls"] == [1, 2]
    run_cell("rate = 3")
    run_cell(f"{shared} --sync\nseen = reader.read()")
    assert shell.user_ns["seen"] == 3
    run_cell("def current():\n    global rate\n    rate += 1\n    return rate")
    run_cell(f"{shared} --sync\ncurrent()")
    run_cell(f"{shared} --sync\ncurrent()")
    assert shell.user_ns["rate"] == 5


def test_a_variable_that_was_deleted_here_is_deleted_on_the_machine(shared, run_cell, shell):
    run_cell("first, second = 1, 2")
    run_cell(f"{shared} --sync\ntotal = first + second")
    run_cell("del first")
    run_cell(f"{shared} --sync\ntry:\n    first\n    is_there = True\nexcept NameError:\n    is_there = False")
    assert shell.user_ns["is_there"] is False
    run_cell("first = 5")
    assert "7\n" in run_cell(f"{shared} --sync\nprint(first + second)")


@pytest.mark.nightly
def test_parts_that_a_session_exchanged_without_sync_are_returned_with_their_values(shared, run_cell, shell):
    run_cell("import numpy as np\nrows = [[1], [2]]; arrays = {'x': [np.zeros(1), np.ones(1)]}")
    run_cell(f"{shared} --sync\nprint(rows, arrays)")
    run_cell(f"{shared}\nrows.reverse(); arrays['x'].reverse()")
    run_cell(f"{shared} --sync\nrows[0].append(9); arrays['x'][0] += 5")
    assert shell.user_ns["rows"] == [[2, 9], [1]]
    assert [array.tolist() for array in shell.user_ns["arrays"]["x"]] == [[6], [0]]


@pytest.mark.parametrize("options", [pytest.param("--session shared --sync", marks=pytest.mark.nightly), "--sync"])
def test_sets_of_text_that_are_sent_or_returned_are_reported_once(shared, run_cell, shell, monkeypatch, options):
    monkeypatch.setattr(state, "_reported", set())
    notice = (
        "The order of the text in these sets differs between processes: {}. For the same order everywhere, use "
        "sorted(...)."
    )
    run_cell("numbers = {1, 2}; letters = [set('hello')]")
    assert "these sets differs" not in run_cell(f"%%lk_run {options}\ncount = len(numbers)")
    assert notice.format("letters, returned") in run_cell(
        f"%%lk_run {options}\nreturned = {{'x': letters[0] | {{'y'}}}}"
    )
    assert "these sets differs" not in run_cell(f"%%lk_run {options}\nagain = letters[0] | {{'z'}}")


@pytest.mark.parametrize("kind", ["session", "run"])
def test_the_last_value_is_the_value_that_the_user_saw_last_or_is_refused(shared, run_cell, shell, kind):
    line = f"{shared} --sync" if kind == "session" else "%%lk_run --machine cpu --sync"
    run_cell("40 + 2")
    assert "42\n" in run_cell(f"{line}\nprint(_)")
    run_cell(f"{line}\n7")
    assert shell.user_ns["_"] == 7
    assert "7\n" in run_cell(f"{line}\nprint(_)")
    run_cell("50")
    assert "50\n" in run_cell(f"{line}\nprint(_)")
    run_cell(f"{line}\nclass Picture:\n    pass\nPicture()")
    place = "is on the machine of session shared" if kind == "session" else "is the last value of a run (Picture)"
    assert f"'_' {place}" in run_cell("_ + 1")
    shown = run_cell(f"{line}\nprint(_)")
    assert ("Picture object at" if kind == "session" else "Assign the value to a variable in the cell") in shown
    run_cell("60")
    assert "60\n" in run_cell(f"{line}\nprint(_)")


@pytest.mark.parametrize("options", ["--session shared --sync", "--machine cpu --sync"])
def test_no_text_that_a_cell_and_the_notebook_write_to_an_open_file_is_lost(
    shared, run_cell, tmp_path, monkeypatch, options
):
    monkeypatch.chdir(tmp_path)
    run_cell("new, added = open('new.txt', 'w'), open('added.txt', 'a+')")
    for at in range(4):
        line = f"%%lk_run {options}\n" if at % 2 else ""
        run_cell(f"{line}for file in (new, added):\n    file.write('line {at}\\n')")
    run_cell("new.close(), added.close()")
    lines = "".join(f"line {at}\n" for at in range(4))
    assert (tmp_path / "new.txt").read_text() == (tmp_path / "added.txt").read_text() == lines


def test_a_sentinel_stays_one_object_across_cells_of_a_session_and_in_the_notebook(shared, run_cell, shell):
    run_cell("MISSING = object()\nrows = {'a': MISSING}\ndef is_missing(value):\n    return value is MISSING")
    line = f"{shared} --sync"
    assert "True True\n" in run_cell(f"{line}\nprint(is_missing(MISSING), is_missing(rows['a']))\nfirst = MISSING")
    assert "True True\n" in run_cell(f"{line}\nprint(first is MISSING, is_missing(rows['a']))\nsecond = [first]")
    names = shell.user_ns
    assert names["first"] is names["second"][0] is names["rows"]["a"] is names["MISSING"]
