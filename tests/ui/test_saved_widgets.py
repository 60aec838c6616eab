"""Widget state that is saved in a notebook: nothing of it acts before the user trusts the notebook."""

import json
import re

import nbformat
import pytest
from playwright.sync_api import expect

from ui.notebook import LOOK

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
HOSTILE, SLIDER, OURS = "a" * 32, "b" * 32, "c" * 32
CONTROLS = "@jupyter-widgets/controls"

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


def view(name, module, version):
    return {"_view_name": name, "_view_module": module, "_view_module_version": version}


def any_model():
    return model(
        "AnyModel", "anywidget", "*", {**view("AnyView", "anywidget", "*"), "_esm": CODE, "_anywidget_id": "x"}
    )


def showing(model_id):
    data = {VIEW: {"model_id": model_id, "version_major": 2, "version_minor": 0}, "text/plain": "a widget"}
    return nbformat.v4.new_output("display_data", data)


def received(*cells, **models):
    kernel = {"name": "python3", "display_name": "Python 3"}
    state = {"version_major": 2, "version_minor": 0, "state": models}
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel, "widgets": {STATE: state}})


HOSTILE_BOOK = received(nbformat.v4.new_code_cell("1", outputs=[showing(HOSTILE)]), **{HOSTILE: any_model()})

#: Whether ipywidgets has restored all that it restores for the notebook.
RESTORED = """async () => {
    const { rendermime } = window.jupyterapp.shell.currentWidget.content;
    const renderer = rendermime.createRenderer('application/vnd.jupyter.widget-view+json');
    const manager = await renderer._manager.promise;
    renderer.dispose();
    return manager.restoredStatus;
}"""


def workspace_with(path):
    """Return a workspace in which a notebook is open, as Lab saves it."""
    name = f"notebook:{path}"
    dock = {"type": "tab-area", "currentIndex": 0, "widgets": [name]}
    data = {
        "layout-restorer:data": {"main": {"dock": dock, "current": name}},
        name: {"data": {"path": path, "factory": "Notebook"}},
    }
    return {"data": data, "metadata": {"id": "received"}}


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
    running_lab, open_notebook, receive, requests, accessible
):
    book = open_notebook("pass")
    page = book.page
    book.open(receive(HOSTILE_BOOK))
    notice = page.get_by_role("region", name="Blocked widgets")
    expect(notice).to_be_visible()
    accessible(notice)
    book.pictures("saved-widgets-blocked")
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


@pytest.mark.nightly  # opened in Lab: above
@pytest.mark.timeout(900)
def test_a_received_notebook_that_lab_starts_with_runs_no_code_of_its_widgets(
    running_lab, page_of_its_own, page, receive, requests
):
    path = receive(HOSTILE_BOOK, "first.ipynb")
    page.goto(f"{running_lab.url}/lab/tree/{path}?token={running_lab.token}&reset")
    notice = page.get_by_role("region", name="Blocked widgets")
    expect(notice).to_be_visible()
    running_lab.http.put("/lab/api/workspaces/received", json=workspace_with(path)).raise_for_status()
    page.goto(f"{running_lab.url}/lab/workspaces/received")
    expect(notice).to_be_visible()
    assert not requests
    running_lab.end_kernels()


@pytest.mark.nightly  # after a reload: test_headers.py
@pytest.mark.timeout(900)
def test_a_signed_notebook_restores_the_widgets_that_its_outputs_show_and_no_others(
    running_lab, open_notebook, page, receive, requests
):
    """Jupyter signs a notebook without outputs when it is saved, whoever wrote its state."""
    text = nbformat.v4.new_output("stream", text="x")
    hidden = received(nbformat.v4.new_code_cell("1", outputs=[text]), **{HOSTILE: any_model()})
    unread = received(nbformat.v4.new_markdown_cell("# Read me"), **{HOSTILE: any_model()})
    slider = model("IntSliderModel", CONTROLS, "2.0.0", {**view("IntSliderView", CONTROLS, "2.0.0"), "value": 42})
    ours = model("Model", "_lk-jupyter", "^1.0.0", {**view("once", "_lk-jupyter", "^1.0.0"), "title": "A key"})
    own = received(
        nbformat.v4.new_code_cell("1", outputs=[showing(SLIDER)]),
        nbformat.v4.new_code_cell("2", outputs=[showing(OURS)]),
        **{SLIDER: slider, OURS: ours},
    )
    book = open_notebook("pass")
    for name, received_book in {"hidden": hidden, "unread": unread, "own": own}.items():
        path = receive(received_book, f"{name}.ipynb")
        running_lab.http.post(f"/api/contents/{path}/trust").raise_for_status()
        book.open(path)
        page.wait_for_function(RESTORED, polling=LOOK)
        expect(page.get_by_role("region", name="Blocked widgets")).to_have_count(0)
    expect(book.output(0).locator(".widget-slider")).to_contain_text("42")
    expect(book.output(1)).to_contain_text("Rerun the cell to use this widget.")  # nothing of it is drawn or sent
    expect(book.output(1).get_by_role("button")).to_have_count(0)
    assert not requests


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_notebook_of_the_bucket_that_calls_itself_trusted_runs_nothing(open_notebook, page, cloud, requests):
    script = "<img src=data:, onerror=\"fetch('/api/contents/WRITTEN.txt', {method: 'PUT'})\">"
    outputs = [showing(HOSTILE), nbformat.v4.new_output("display_data", {"text/html": script + "shown"})]
    cell = nbformat.v4.new_code_cell("1", outputs=outputs, metadata={"trusted": True})
    text = json.dumps(received(cell, **{HOSTILE: any_model()}))  # nbformat would drop the word
    key = {"key": "sent/by-a-member.ipynb"}
    cloud.http.post("storage/upload", params=key, files={"file": text.encode()}).raise_for_status()
    book = open_notebook("pass")
    book.open("bucket:sent/by-a-member.ipynb")
    expect(book.output(0)).to_contain_text("shown")
    expect(page.get_by_role("region", name="Blocked widgets")).to_be_visible()
    assert not requests
    cloud.http.delete("storage/delete-folder/sent/").raise_for_status()


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_extension_loads_where_ipywidgets_is_not_installed(running_lab, page_of_its_own, page):
    page.route("**/lab?**", without_widgets)
    page.goto(f"{running_lab.url}/lab?token={running_lab.token}&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    expect(page.locator(".jp-LauncherCard[data-category='GPU cloud']").first).to_be_visible()


def without_widgets(route):
    """Load Lab without the extensions of ipywidgets and anywidget."""
    answer = route.fetch()
    start, config, end = re.split(
        r"(?s)(?<=id=\"jupyter-config-data\" type=\"application/json\">)(.*?)(?=</script>)", answer.text()
    )
    page_config = json.loads(config)
    extensions = page_config["federated_extensions"]
    page_config["federated_extensions"] = [each for each in extensions if each["name"] == "lk-jupyter"]
    assert len(extensions) > 1
    route.fulfill(response=answer, body=start + json.dumps(page_config) + end)
