"""Outputs that real servers and programs save: each in an environment of its own, with the local cloud."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from magics.kernels import ALL_IS_SHOWN
from magics.test_front_ends import ID, receipts, text

import lk_jupyter

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500), pytest.mark.xdist_group("front ends")]

ROOT = Path(__file__).parents[2]
SERVERS = {
    "documents": ("jupyter-server-documents==0.3.3", "jupyter-ai[rtc-jsd]", "jupyterlab"),
    "nbmodel": (
        "jupyter-server-nbmodel==0.2.9",
        "jupyter-mcp-server==2.2.4",
        "jupyter-collaboration==5.0.4",
        "jupyterlab",
    ),
}
PROGRAMS = ("nbclient", "papermill", "nbconvert")
STOCK = ("nbclient", "papermill", "nbconvert", "ipykernel")

RUN = "%%lk_run --gpu A100"
LINES = "import time\nfor i in range(10):\n    print('line', i, flush=True)\n    time.sleep(0.2)"
CELLS = {
    "load": "%load_ext lk_jupyter",
    "plain": f"{RUN}\n{LINES}",
    "tqdm": f"{RUN}\nimport time\nfrom tqdm.auto import tqdm\nfor i in tqdm(range(20)):\n    time.sleep(0.1)",
    "figure": f"{RUN}\nfrom IPython.display import HTML, display\nprint('above')\ndisplay(HTML('<b>figure</b>'))",
    "fan": f"{RUN} --sweep x=1,2\nprint('member', x)",
    "session": f"{RUN} --session night\nprint('in the session')",
    "detached": f"{RUN} --detach\n{LINES}",
    "later": f"{ALL_IS_SHOWN}\nprint('later')",
    "wait": "%lk_wait",
    "stop": "%lk_sessions stop night",
}
FAILING = {
    "failing": f"{RUN}\nprint('before')\n1 / 0",
    "interrupted": f"{RUN}\nimport time\nprint('INTERRUPT', flush=True)\ntime.sleep(600)",
}


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


def executed(kind, python, cells, cloud, folder):
    """Execute the cells by a front end; return the outputs of each cell in the saved file, writes of the log joined."""
    path = folder / "notebook.ipynb"
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {"cells": [{**empty, "id": name, "source": code} for name, code in cells.items()]}
    path.write_text(json.dumps({**book, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LK_", "JUPYTER", "PYTHON"))}
    env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "HOME": str(folder)}
    env |= {"LK_JOURNAL": str(folder / "journal.sqlite"), "LK_LOG_DIR": str(folder / "logs")}
    script = Path(__file__).with_name("execute_notebook.py")
    subprocess.run([python, str(script), kind, str(path), free_port()], env=env, cwd=folder, check=True)
    saved = json.loads(path.read_text("utf-8"))["cells"]
    assert [cell["id"] for cell in saved if cell["id"] in cells] == list(cells)
    return path, {cell["id"]: joined(cell["outputs"]) for cell in saved}


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


def check(name, outputs):
    """Check the outputs of the cell of one run."""
    first, last = text(outputs[0]), text(outputs[-1])
    run_id = re.search(ID, first)[0]
    assert "1.59 credits/h" in first
    assert run_id in last or run_id[:8] in last
    assert re.search(r"completed|failed|aborted", last)
    assert "credits" in last
    rich = name == "figure"
    assert len(outputs) - rich <= 4, list(map(text, outputs))
    assert sum(len(json.dumps(output)) for output in outputs if output["output_type"] != "stream") < 10_000


@pytest.mark.parametrize("kind", [*SERVERS, *PROGRAMS])
def test_a_front_end_saves_the_id_one_receipt_for_each_run_and_nothing_in_another_cell(kind, cloud, tmp_path):
    python = python_of(kind, SERVERS[kind]) if kind in SERVERS else python_of("stock", STOCK)
    cells = CELLS | FAILING if kind in SERVERS else CELLS
    path, outputs = executed(kind, python, cells, cloud, tmp_path)
    for name in ("plain", "tqdm", "figure", "fan", "session", *(FAILING if kind in SERVERS else ())):
        check(name, outputs[name])
    assert [text(output) for output in outputs["later"]] == ["later\n"]
    (detached,) = outputs["detached"]
    run_id = re.search(ID, text(detached))[0]
    assert f"%lk_abort {run_id[:8]}" in text(detached)
    saved = receipts(outputs.values())
    assert sorted(saved) == sorted(set(saved))
    assert run_id in saved
    assert len(lk_jupyter.receipts(path)) == len(saved) == (7 if cells is CELLS else 9)
