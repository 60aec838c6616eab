"""JupyterLab and Notebook 7 with the extensions that people install next to ours, in environments of their own."""

import json
import re
import secrets
import subprocess
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest
from magics.test_front_ends import receipts
from magics.test_installed_front_ends import (
    CELLS,
    FAILING,
    check_moments,
    check_runs,
    python_of,
    read_outputs,
    write_notebook,
)
from patience import PATIENCE
from playwright.sync_api import Page, expect
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

import lk_jupyter
from lk_jupyter.errors import UsageError
from ui import lab
from ui.notebook import OpenNotebook, picture

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500)]

EXTENSIONS = (
    *("jupyterlab", "jupyter-collaboration", "jupyter-ai", "jupyterlab-git", "jupyterlab-lsp", "jupyter-scheduler"),
    *("jupyterlab-execute-time", "jupyter-resource-usage", "nbdime", "nbstripout", "notebook>=7"),
)
#: The program of each front end, and the path of its pages.
PROGRAMS = {
    "Lab": (lab.Lab.program, "lab/tree"),
    "Notebook": (("notebook", "--JupyterNotebookApp.expose_app_in_browser=True"), "notebooks"),
}
REGISTERED = """() => {
    const { commands } = window.jupyterapp;
    const shortcuts = commands.keyBindings.map(({ command, keys, selector }) => [command, keys.join(' '), selector]);
    return { commands: commands.listCommands(), shortcuts };
}"""
TRUST_AND_READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    if (!panel?.sessionContext?.isReady || !panel.content?.model?.cells.length) return false;
    for (const cell of panel.content.model.cells) cell.trusted = true;
    return true;
}"""
#: The first id of a run in the notebook whose start isn't in a list.
NEW_ID = """ids => {
    const outputs = JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON().cells);
    const found = [...outputs.matchAll(/"execution_id":"([0-9a-f-]{36})"/g)].map(match => match[1]);
    return found.find(id => !ids.some(start => id.startsWith(start)));
}"""
#: Runs that a cell starts, whose ids the page has while the cell runs.
COUNTS = {"plain": 1, "tqdm": 1, "figure": 1, "fan": 2, "session": 1, "detached": 1, "failing": 1, "interrupted": 1}
#: What our messages and places of our scripts contain.
OURS = re.compile(r"lk[-_]jupyter|\blk:|already registered", re.IGNORECASE)


@contextmanager
def running(cloud, folder, program):
    """Run a front end with the extensions on a notebook of the cells."""
    settings, root = folder / "settings", folder / "notebooks"
    root.mkdir(parents=True)
    write_notebook(root / "notebook.ipynb", CELLS | FAILING)
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(settings / "journal")}
    python = python_of("extensions", EXTENSIONS)
    lab.be_quiet(settings, has_test_modules=False)
    served = lab.Lab(f"http://127.0.0.1:{lab.free_port()}", secrets.token_hex(16), root, program, python=python)
    history = f"--SQLiteYStore.db_path={settings / 'documents.db'}"
    with lab.serving(served, settings, {**signed_in, "JUPYTER_PREFER_ENV_PATH": "1"}, history):
        yield served


@contextmanager
def open_page(chromium, program, path):
    """Open the notebook of a front end; give the page, and what the console says of us."""
    page, messages = chromium.new_page(), []
    page.set_default_timeout(1000 * PATIENCE)
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text} {message.location}"))
    page.on("pageerror", lambda error: messages.append(f"error: {error.message} {error.stack}"))
    try:
        page.goto(f"{program.url}/{path}/notebook.ipynb?token={program.token}")
        page.wait_for_function(TRUST_AND_READY)
        yield page, messages
    finally:
        page.close()


def execute(page: Page):
    """Execute each cell; return the moments at which the page has the ids of runs, by their starts."""
    book, moments = OpenNotebook(page), {}
    for index, name in enumerate(CELLS | FAILING):
        book.run(index)
        for _ in range(COUNTS.get(name, 0)):
            run_id = page.wait_for_function(NEW_ID, arg=list(moments), polling=50).json_value()
            moments[run_id[:8]] = datetime.now(timezone.utc)
        if name == "interrupted":
            expect(book.output(index)).to_contain_text("INTERRUPT")
            book.interrupt()
        book.ended()
    return moments


def await_receipts(path):
    """Wait until the server has saved the shared notebook with the receipts of all runs."""
    for attempt in Retrying(
        stop=stop_after_delay(PATIENCE),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type((AssertionError, UsageError)),  # the server may be writing the file
    ):
        with attempt:
            assert len(lk_jupyter.receipts(path)) == 9


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_page_with_other_extensions_saves_one_receipt_for_each_run_and_logs_no_error_of_ours(
    name, cloud, tmp_path, chromium
):
    program, path = PROGRAMS[name]
    with running(cloud, tmp_path, program) as served, open_page(chromium, served, path) as (page, messages):
        registered = page.evaluate(REGISTERED)
        moments = execute(page)
        picture(page, f"extensions-{name}")
        saved = served.root / "notebook.ipynb"
        await_receipts(saved)
    outputs = read_outputs(saved)
    assert len(check_runs(outputs)) == 9
    check_moments(outputs, moments)
    assert not [message for message in messages if OURS.search(message)]
    check_shortcuts(registered)
    check_tools(served.python, saved)


def check_shortcuts(registered):
    """Check that no other command has a key of ours in the same place."""
    assert len(set(registered["commands"])) == len(registered["commands"])
    shortcuts = {(keys, selector) for command, keys, selector in registered["shortcuts"] if command.startswith("lk:")}
    assert shortcuts
    for command, keys, selector in registered["shortcuts"]:
        assert command.startswith("lk:") or keys not in {key for key, _ in shortcuts}, (command, keys, selector)


def check_tools(python, saved):
    """Check what nbstripout and nbdime do with our outputs."""

    def use(tool, *arguments):
        command = [Path(python).with_name(tool), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=saved.parent, check=False)

    book = json.loads(saved.read_text())
    stripped = saved.with_name("stripped.ipynb")
    stripped.write_text(saved.read_text())
    assert use("nbstripout", "--keep-id", stripped).returncode == 0
    cells = json.loads(stripped.read_text())["cells"]
    assert [cell["source"] for cell in cells] == [cell["source"] for cell in book["cells"]]
    assert not any(cell["outputs"] or cell["metadata"] for cell in cells)
    difference = use("nbdiff", stripped, saved)
    (run_id,) = receipts([read_outputs(saved)["plain"]])
    assert difference.returncode == 0, difference.stderr
    assert f"execution_id: {run_id}" in difference.stdout
    # One person runs a cell again, another changes a different cell.
    local, remote, merged = (saved.with_name(f"{name}.ipynb") for name in ("local", "remote", "merged"))
    local.write_text(saved.read_text().replace(run_id, run_id[::-1]))
    book["cells"][0]["source"] = "%load_ext lk_jupyter"
    remote.write_text(json.dumps(book))
    merge = use("nbmerge", saved, local, remote, "--out", merged)
    assert merge.returncode == 0, merge.stderr
    assert receipts([read_outputs(merged)["plain"]]) == [run_id[::-1]]
    assert "".join(json.loads(merged.read_text())["cells"][0]["source"]) == "%load_ext lk_jupyter"
