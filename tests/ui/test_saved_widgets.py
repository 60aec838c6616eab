"""Widget state that is saved in a notebook: nothing of it acts before the user trusts the notebook."""

import nbformat
import pytest
from playwright.sync_api import expect

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
HOSTILE, SLIDER = "a" * 32, "b" * 32

#: Code of a hostile model: it runs when the model is created, writes a file and starts a machine.
CODE = """
const base = location.pathname.split('/lab')[0].split('/notebooks/')[0].split('/tree')[0];
const token = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? '';
const headers = { 'X-XSRFToken': token, 'Content-Type': 'application/json' };
const file = JSON.stringify({ type: 'file', format: 'text', content: 'by the notebook' });
fetch(`${base}/api/contents/WRITTEN.txt`, { method: 'PUT', headers, body: file });
const run = JSON.stringify({ code: '1', execution_type: 'gpu.a100' });
fetch(`${base}/lk/api/execution/streaming/start`, { method: 'POST', headers, body: run });
export default { render({ el }) { el.textContent = 'drawn by the notebook'; } };
"""


def model(name, module, version, state):
    own = {"_model_name": name, "_model_module": module, "_model_module_version": version}
    return {"model_name": name, "model_module": module, "model_module_version": version, "state": {**own, **state}}


def any_model(view=None):
    named = {"_view_name": "AnyView", "_view_module": "anywidget", "_view_module_version": "*"}
    return model("AnyModel", "anywidget", "*", {**named, "_esm": CODE, "_anywidget_id": "x", **(view or {})})


def showing(model_id):
    data = {VIEW: {"model_id": model_id, "version_major": 2, "version_minor": 0}, "text/plain": "a widget"}
    return nbformat.v4.new_output("display_data", data)


def received(*cells, **models):
    kernel = {"name": "python3", "display_name": "Python 3"}
    state = {"version_major": 2, "version_minor": 0, "state": models}
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel, "widgets": {STATE: state}})


@pytest.fixture
def requests(page):
    """The requests of the page that start, spend or write something which the notebook names."""
    sent = []

    def listen(request):
        if request.method != "GET" and ("WRITTEN" in request.url or "/lk/api/" in request.url):
            sent.append(f"{request.method} {request.url}")

    page.on("request", listen)
    yield sent
    page.remove_listener("request", listen)


@pytest.fixture
def receive(running_lab):
    """A function that puts a notebook into the folder of Lab and starts its kernel; it returns the path."""

    def receive(book, name="notebook.ipynb"):
        path = running_lab.root / "received" / name
        path.parent.mkdir(exist_ok=True)
        nbformat.write(book, path)
        running_lab.start_kernel(f"received/{name}")
        return f"received/{name}"

    yield receive
    (running_lab.root / "WRITTEN.txt").unlink(missing_ok=True)


@pytest.mark.timeout(900)
def test_a_received_notebook_runs_no_code_of_its_widgets_before_it_is_trusted(
    running_lab, open_notebook, page, receive, requests, accessible
):
    book = open_notebook("pass")
    cell = nbformat.v4.new_code_cell("1", outputs=[showing(HOSTILE)])
    path = receive(received(cell, **{HOSTILE: any_model()}))
    book.open(path)
    notice = page.get_by_role("region", name="Blocked widgets")
    expect(notice).to_be_visible()
    accessible(notice)
    book.picture("saved-widgets-blocked")
    notice.get_by_role("button", name="Trust").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Cancel").click()
    expect(notice).to_be_visible()
    assert not requests
    assert not (running_lab.root / "WRITTEN.txt").exists()
    notice.get_by_role("button", name="Trust").click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(book.output(0)).to_contain_text("drawn by the notebook")
    expect(notice).to_have_count(0)
    assert [sent.partition(" ")[0] for sent in requests] == ["PUT", "POST"]
