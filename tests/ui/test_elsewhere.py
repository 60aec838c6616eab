"""What runs and tables look like where our extension isn't: an export, a terminal, VS Code. Each fact is there once."""

import os
import re
import sys

import nbformat
import pexpect
import pytest
from books import Client
from cloud_process import forked_kernels
from patience import PATIENCE
from playwright.sync_api import expect

from lk_jupyter.text.secrets import COLOUR
from ui.notebook import picture

#: Kinds of output that VS Code shows, the first of them that an output has: without our extension no other.
OF_VS_CODE = ("text/html", "image/svg+xml", "image/png", "text/plain")
#: What VS Code gives to the page of its outputs; the machine may prefer the other of light and dark.
VS_CODE = """<!doctype html><html lang="en"><title>VS Code</title><meta http-equiv="Content-Security-Policy"
content="script-src 'none'"><style>:root {{ --vscode-foreground: {ink} }}
body {{ font-family: sans-serif; font-size: 13px; color: {ink}; background: {ground} }}</style>
<body class="vscode-{theme}"><main>{outputs}</main>"""
THEMES = {"light": ("#3b3b3b", "#ffffff"), "dark": ("#cccccc", "#1f1f1f")}

CELLS = {
    "load": "%load_ext lk_jupyter",
    "good": "%%lk_run --gpu A100 --timeout 60 --label baseline --save run\nprint('hello')",
    "bad": "%%lk_run --gpu A100\nimport numpy_not_there",
    "pricing": "%lk_pricing",
    "history": "%lk_history",
    "runs": "from lk_jupyter.widgets import Runs, RunView\nRuns()",
    "view": "RunView(run)",
    "fan": "%%lk_run --gpu A100,L40S\nimport numpy_not_there",
}


@pytest.fixture(scope="module")
def variables(cloud, tmp_path_factory):
    """The environment of a user who is signed in."""
    home = tmp_path_factory.mktemp("elsewhere")
    folders = dict.fromkeys(("HOME", "IPYTHONDIR", "LK_LOG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"), str(home))
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    return {**os.environ, **folders, **signed_in, "LK_JOURNAL": str(home / "journal.sqlite")}


@pytest.fixture(scope="module")
def book(variables):
    """A notebook whose cells were run in JupyterLab."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    book = nbformat.v4.new_notebook(cells=cells)
    client = Client(book, kernel_name="python3", allow_errors=True, timeout=PATIENCE)
    with forked_kernels():
        return client.execute(env=variables)


def _cell(book, name):
    return book.cells[list(CELLS).index(name)]


def _is_said_once(text, *words):
    assert [len(re.findall(word, text)) for word in words] == [1] * len(words), text


@pytest.mark.nightly  # as in Lab
@pytest.mark.timeout(900)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_export_to_html_says_each_fact_once(book, page, accessible, tmp_path, theme):
    from nbconvert import HTMLExporter  # noqa: PLC0415 (each process that collects the tests would import it)

    html, _ = HTMLExporter(theme=theme, exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(book)
    file = tmp_path / "book.html"
    file.write_text(html, "utf-8")
    page.goto(f"file://{file}")
    cells = page.locator(".jp-Cell")
    picture(page.locator("body"), f"elsewhere-export-{theme}")
    outputs = {name: cells.nth(at).locator(".jp-Cell-outputWrapper") for at, name in enumerate(CELLS)}
    _is_said_once(outputs["good"].inner_text(), "completed", "hello", r"A100 at", r"credits(?!/h)", "run [0-9a-f]{8}")
    _is_said_once(outputs["bad"].inner_text(), "failed", "Traceback", "Hint:")
    _is_said_once(outputs["view"].inner_text(), "completed", "local cloud, no GPU", "hello")
    _is_said_once(outputs["fan"].inner_text(), "ModuleNotFoundError:", "like run 1")
    page.set_viewport_size({"width": 480, "height": 900})
    is_whole = "table => table.offsetWidth <= table.closest('.jp-Cell-outputWrapper').clientWidth"
    assert outputs["fan"].locator("table").evaluate(is_whole)
    page.set_viewport_size({"width": 1280, "height": 900})
    for name in ("pricing", "history"):
        accessible(outputs[name].locator("table").first)
        rows = outputs[name].locator("tbody tr:not(:has(.lk-long))")  # other tests leave long names in the history
        assert set(rows.evaluate_all("rows => rows.map(row => row.offsetHeight)")) == {24}, name


@pytest.mark.nightly  # as in Lab
@pytest.mark.timeout(900)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_vs_code_shows_the_same_without_scripts_in_its_colours(book, page, accessible, theme):
    ink, ground = THEMES[theme]
    page.emulate_media(color_scheme="dark" if theme == "light" else "light")
    page.set_content(VS_CODE.format(ink=ink, ground=ground, theme=theme, outputs=_as_in_vs_code(book)))
    picture(page.locator("body"), f"elsewhere-vs-code-{theme}")
    good, bad = (page.locator(f"#{name}").inner_text() for name in ("good", "bad"))
    _is_said_once(good, "completed", "hello", r"A100 at", r"credits(?!/h)", "run [0-9a-f]{8}")
    _is_said_once(bad, "failed", "Hint:")
    view, fan = (page.locator(f"#{name}").inner_text() for name in ("view", "fan"))
    _is_said_once(view, "completed", "local cloud, no GPU", "hello")
    _is_said_once(fan, "ModuleNotFoundError:", "like run 1")
    assert "lk.run" not in page.content()
    expect(page.locator("#runs table")).to_be_visible()
    accessible(page)


def _as_in_vs_code(book):
    """Return the outputs of cells as VS Code picks them."""
    return "".join(
        f"<section id='{name}'>{''.join(map(_picked, cell.outputs))}</section>"
        for name, cell in zip(CELLS, book.cells, strict=True)
    )


def _picked(output):
    text = output.get("text") or COLOUR.sub("", "\n".join(output.get("traceback", [])))
    data = {"text/plain": text, **output.get("data", {})}
    kind = next(kind for kind in OF_VS_CODE if kind in data)
    return data[kind] if kind == "text/html" else f"<pre>{data[kind]}</pre>"


@pytest.fixture
def terminal(variables):
    """A function that enters a line in IPython in a terminal of 80 columns, and returns what that shows."""
    options = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
    with pexpect.spawn(sys.executable, options, env=variables, dimensions=(50, 80), encoding="utf-8") as child:
        child.timeout = PATIENCE
        number = 1
        child.expect_exact(f"In [{number}]: ")

        def enter(line):
            nonlocal number
            child.sendline(line)
            child.expect_exact("\r\n")  # what was entered
            number += 1
            child.expect_exact(f"In [{number}]: ")
            return child.before.replace("\r\n", "\n")

        yield enter
        child.sendline("exit")
        child.expect(pexpect.EOF)  # one that is closed instead has 0.2 s to end, too little for a busy machine


@pytest.mark.nightly  # tests/test_terminal.py
@pytest.mark.timeout(900)
def test_a_terminal_of_80_columns_shows_whole_tables_in_lines_that_fit(terminal, tmp_path):
    cell = tmp_path / "cell.py"
    magic = "get_ipython().run_cell_magic('lk_run', '--gpu A100 --timeout 60 --label baseline', \"print('hello')\")"
    cell.write_text(magic, "utf-8")
    terminal("%load_ext lk_jupyter")
    shown = {"run": terminal(f"%run -i {cell}")}
    for line in ("%lk_history", "%lk_pricing", "%lk_runs", "%lk_help", "%lk_machines", "Runs()"):
        shown[line] = terminal(f"from lk_jupyter.widgets import Runs; print({line})" if line == "Runs()" else line)
    for name, text in shown.items():
        long = [line for line in text.splitlines() if len(line) > 80]
        assert not long, f"{name}: {long}"
    _is_said_once(shown["run"], "completed", "hello", "No GPU on this machine", "time limit")
    assert "..." not in shown["%lk_history"]
    assert re.search(r"\n[0-9a-f]{8} .*completed .*\n.*baseline.*\n +[0-9a-f]{8}-[0-9a-f]{4}-", shown["%lk_history"])
    assert shown["%lk_pricing"].count("on-demand.b300.8x") == 1
    assert shown["%lk_pricing"].count("million tokens") == 4
