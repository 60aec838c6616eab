"""Outputs that real servers and programs save: each in an environment of its own, with the local cloud."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest
import zmq
from jupyter_client.session import Session
from magics.kernels import ALL_IS_SHOWN
from magics.test_front_ends import ID, PAGES, SHORT_ID, Notebook, check_cell, receipts, text

import lk_jupyter

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500), pytest.mark.xdist_group("front ends")]

ROOT = Path(__file__).parents[2]
NBMODEL = (
    *("jupyter-server-nbmodel==0.2.9", "jupyter-mcp-server==2.2.4", "jupyter-collaboration==5.0.4", "jupyterlab"),
)
STOCK = ("nbclient", "papermill", "nbconvert", "ipykernel")
#: The name and the packages of the environment of each front end.
ENVIRONMENTS = {
    "documents": ("documents", ("jupyter-server-documents==0.3.3", "jupyter-ai[rtc-jsd]", "jupyterlab")),
    "nbmodel": ("nbmodel", NBMODEL),
    "mcp": ("nbmodel", NBMODEL),
    **dict.fromkeys(("nbclient", "papermill", "nbconvert"), ("stock", STOCK)),
}

#: Seconds of the long run, less than the time limit of 600 s.
RUN_SECONDS = int(os.environ.get("LK_RUN_SECONDS", "570"))
RUN = "%%lk_run --gpu A100"
LINES = "import time\nfor i in range(10):\n    print('line', i, flush=True)\n    time.sleep(0.2)"
#: The cells of runs.
RUNS = {
    "plain": f"{RUN}\n{LINES}",
    "tqdm": f"{RUN}\nimport time\nfrom tqdm.auto import tqdm\nfor i in tqdm(range(20)):\n    time.sleep(0.1)",
    "figure": f"{RUN}\nfrom IPython.display import HTML, display\nprint('above')\ndisplay(HTML('<b>figure</b>'))",
    "fan": f"{RUN} --sweep x=1,2\nprint('member', x)",
    "session": f"{RUN} --session night\nprint('in the session')",
}
LOAD = {"load": "%load_ext lk_jupyter\nimport os\nprint('process', os.getpid())"}
CELLS = {
    **LOAD,
    **RUNS,
    "detached": f"{RUN} --detach\n{LINES}",
    "later": f"{ALL_IS_SHOWN}\nprint('later')",
    "wait": "%lk_wait",
    "stop": "%lk_sessions stop night",
}
INTERRUPTED = {"interrupted": f"{RUN}\nimport time\nprint('INTERRUPT', flush=True)\ntime.sleep(600)"}
FAILING = {"failing": f"{RUN}\nprint('before')\n1 / 0", **INTERRUPTED}


def python_of(name, packages):
    """Return the interpreter of an environment with these packages and this package."""
    folder = Path(sys.prefix, "share", f"front-end-{name}")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        try:
            venv.create(folder, with_pip=uv is None)
            pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
            installed = [*packages, "tqdm", "httpx", "--editable", f"{ROOT}[local]"]
            subprocess.run([*map(str, pip), "--quiet", *installed], check=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return str(python)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def write_notebook(path, cells):
    """Write a notebook of these cells, whose names are their ids."""
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {"cells": [{**empty, "id": name, "source": code} for name, code in cells.items()]}
    path.write_text(json.dumps({**book, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}))


def read_outputs(path):
    """Return the outputs of each cell in a file by the id of the cell, writes of the log joined."""
    saved = json.loads(path.read_text("utf-8"))["cells"]
    return {cell["id"]: joined(cell.get("outputs", [])) for cell in saved}


def execute(kind, cells, cloud, folder):
    """Execute the cells by a front end; return the saved file, and the moments at which ids of runs were shown."""
    path = folder / "notebook.ipynb"
    write_notebook(path, cells)
    (folder / "runtime").mkdir()
    python, runtime = python_of(*ENVIRONMENTS[kind]), folder / "runtime"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LK_", "JUPYTER", "PYTHON"))}
    env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "HOME": str(folder)}
    env |= {"LK_JOURNAL": str(folder / "journal.sqlite"), "LK_LOG_DIR": str(folder / "logs")}
    env |= {"JUPYTER_RUNTIME_DIR": str(runtime), "TMPDIR": str(runtime)}
    script = Path(__file__).with_name("execute_notebook.py")
    with watching(runtime) as moments:
        subprocess.run([python, str(script), kind, str(path), free_port()], env=env, cwd=folder, check=True)
    assert [name for name in read_outputs(path) if name in cells] == list(cells)
    return path, moments


@contextmanager
def watching(runtime):
    """Read the outputs of the kernel that starts next; give the moments at which each id was shown.

    The kernel is interrupted when a log contains INTERRUPT.
    """
    moments, has_ended = {}, threading.Event()
    thread = threading.Thread(target=read_kernel, args=(runtime, moments, has_ended))
    thread.start()
    try:
        yield moments
    finally:
        has_ended.set()
        thread.join()


def read_kernel(runtime, moments, has_ended):
    """Read the outputs of a kernel until the end of the front end."""
    while not (address := find_kernel(runtime)):
        if has_ended.wait(0.05):
            return
    session, process = Session(key=address["key"].encode()), None
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.subscribe(b"")
        socket.connect(f"tcp://{address['ip']}:{address['iopub_port']}")
        while not has_ended.is_set():
            if not socket.poll(200):
                continue
            _, frames = session.feed_identities(socket.recv_multipart())
            message = session.deserialize(frames)
            content = message["content"]
            words = content.get("text") or content.get("data", {}).get("text/plain", "")
            for run_id in re.findall(ID, words):
                moments.setdefault(run_id[:8], message["header"]["date"])
            if pid := re.fullmatch(r"process (\d+)\n", words):
                process = int(pid[1])
            if "INTERRUPT\n" in words and message["msg_type"] == "stream":
                os.kill(process, signal.SIGINT)


def find_kernel(runtime):
    """Return the connection file of a kernel in a folder, or None; programs write it with a name of their own."""
    for path in runtime.glob("*.json"):
        with suppress(ValueError):  # the program is writing the file
            if "iopub_port" in (address := json.loads(path.read_text())):
                return address
    return None


def joined(outputs):
    """Return outputs with their text in one piece: some servers save each write of the log as an output."""
    result = []
    for output in outputs:
        is_log = output["output_type"] == "stream"
        if is_log and result and result[-1].get("name") == output["name"]:
            result[-1]["text"] += "".join(output["text"])
        elif is_log:
            result.append({**output, "text": "".join(output["text"])})
        else:
            data = {
                kind: "".join(form) if isinstance(form, list) else form for kind, form in output.get("data", {}).items()
            }
            result.append({**output, "data": data})
    return result


def check_runs(outputs):
    """Check the outputs of cells of runs by name."""
    for name in RUNS | FAILING:
        if name in outputs:
            check_cell(name, outputs[name])
    assert [text(output) for output in outputs["later"]] == ["later\n"]
    (run_id,) = set(re.findall(ID, "".join(map(text, outputs["detached"]))) + receipts([outputs["detached"]]))
    saved = receipts(outputs.values())
    assert sorted(saved) == sorted(set(saved))
    assert run_id in saved
    session_id = re.search(SHORT_ID, text(outputs["session"][-1]))[1]
    assert [run_id[:8] for run_id in receipts([outputs["stop"]])] == [session_id]
    return saved


def check_moments(outputs, moments):
    """Check that each id was shown within 2 s after the server accepted the run."""
    metadata = [output.get("metadata", {}).get("lk_jupyter", {}) for cell in outputs.values() for output in cell]
    facts = [receipt for each in metadata for receipt in each.get("runs", [each]) if "created_at" in receipt]
    delays = {
        receipt["execution_id"]: (
            moments[receipt["execution_id"][:8]] - datetime.fromisoformat(receipt["created_at"])
        ).total_seconds()
        for receipt in facts
    }
    print("seconds until the id:", sorted(delays.values()))
    assert delays
    assert max(delays.values()) < 2


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_a_front_end_saves_the_id_one_receipt_for_each_run_and_nothing_in_another_cell(kind, cloud, tmp_path):
    path, moments = execute(kind, CELLS | FAILING, cloud, tmp_path)
    outputs = read_outputs(path)
    if kind == "papermill":  # it ends at the first error
        (tmp_path / "second").mkdir()
        second, more = execute(kind, LOAD | INTERRUPTED, cloud, tmp_path / "second")
        outputs["interrupted"] = read_outputs(second)["interrupted"]
        moments |= more
    saved = check_runs(outputs)
    check_moments(outputs, moments)
    (run_id,) = receipts([outputs["plain"]])
    start = next(output for output in outputs["plain"] if f"%lk_abort {run_id[:8]}" in text(output))
    assert "1.59 credits/h" in text(start)
    assert len(saved) == 9
    assert len(lk_jupyter.receipts(path)) == (8 if kind == "papermill" else 9)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_applies_updates_saves_the_same(page, kernel):
    kernel.client.session.metadata = PAGES[page]
    notebook = Notebook(kernel, "applied")
    on = kernel.interrupt_when(lambda cell: "INTERRUPT" in cell.text)
    cells = CELLS | FAILING
    for name, code in cells.items():
        notebook.run(code, on=on if name == "interrupted" else None)
    outputs = dict(zip(cells, notebook.cells, strict=True))
    saved = check_runs(outputs)
    check_moments(outputs, notebook.moments)
    if page != "Colab":  # whose outputs never change
        check_cell("detached", outputs["detached"])
    content = {"cells": [{"outputs": cell} for cell in notebook.cells]}
    assert len(lk_jupyter.receipts(content)) == len(saved) == 9


def test_a_run_of_nearly_600_s_adds_at_most_10_kb_besides_its_log(make_cloud, tmp_path):
    lines_sent, pause = RUN_SECONDS // 3, 3  # what is measured is a run of this length in real time
    code = f"import time\nfor i in range({lines_sent}):\n    print('line', i, flush=True)\n    time.sleep({pause})"
    cells = LOAD | {"long": f"{RUN} --timeout 600\n{code}"}
    cloud, kinds = make_cloud(), ("documents", "nbmodel", "nbclient")
    folders = [tmp_path / kind for kind in kinds]
    for kind, folder in zip(kinds, folders, strict=True):
        python_of(*ENVIRONMENTS[kind])
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        paths = [path for path, _ in pool.map(lambda kind, folder: execute(kind, cells, cloud, folder), kinds, folders)]
    sizes = {}
    for kind, path in zip(kinds, paths, strict=True):
        outputs = json.loads(path.read_text("utf-8"))["cells"][1]["outputs"]
        log = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
        assert lk_jupyter.receipts(path)[0]["seconds"] > RUN_SECONDS
        lines = log.splitlines()
        assert [line for line in lines if line.startswith("line")] == [f"line {i}" for i in range(lines_sent)]
        assert len(lines) <= lines_sent + 2  # the warning on the time limit, in minutes and in seconds
        for output in outputs:
            output.update({"text": "".join(output["text"])} if "text" in output else {})
        sizes[kind] = len(json.dumps(outputs)) - len(json.dumps(log))
    print("bytes besides the log:", sizes)
    assert max(sizes.values()) < 10_000
