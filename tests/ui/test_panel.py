"""The cloud as a part of Lab, walked as its user would."""

import json
import re
from importlib.metadata import version
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from ui import axe
from ui.notebook import OpenNotebook, picture, run_on, says_once
from ui.traffic import Traffic

LOAD = "%load_ext lk_jupyter"
STARTED = re.compile("RunningA100 · .*≈ 0")


def _visit_tabs(document, contents):
    """Go from tab to tab of a run by key; each has its content."""
    document.get_by_role("tab", name="Log").focus()
    for name, content in contents.items():
        document.page.keyboard.press("ArrowRight")
        expect(document.get_by_role("tabpanel", name=name)).to_contain_text(content)


@pytest.mark.timeout(900)
def test_a_run_is_seen_from_its_start_to_its_end_and_no_secret_reaches_the_browser(
    open_notebook, page, cloud, accessible, tmp_path
):
    go_on = tmp_path / "go-on"
    traffic = Traffic(page)
    book = open_notebook(
        LOAD,
        f"""%%lk_run --gpu A100 --name training --allow-secrets
import pathlib, time
from IPython.display import HTML, display
display(HTML("<b>shown</b><img src='nowhere' onerror='hits.push(1)'><script>hits.push(2)</script>"))
print("first line", {cloud.api_key[::-1]!r}[::-1])
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.05)
print("\\x1b[31mlast line\\x1b[0m")""",
    )
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    expect(panel.get_by_text("Balance", exact=True)).to_be_visible()
    page.evaluate("window.hits = []")
    book.run_all()
    run = panel.get_by_role("list", name="Runs").get_by_role("listitem").filter(has_text="training").first
    expect(run).to_contain_text("running, A100")
    expect(book.header(1)).to_contain_text(STARTED)
    _pictures(book, page, "header-live")
    run.get_by_role("button").first.click()
    document = page.locator(".lk-document")
    log = document.get_by_role("log", name="Log")
    expect(log).to_contain_text("first line")
    expect(document.get_by_role("region", name="Run")).to_contain_text(re.compile("RunningA100 · .*≈ 0"))
    go_on.touch()
    expect(log).to_contain_text("last line")
    expect(document.get_by_role("status").first).to_have_text("Completed")
    says_once(page, "Completed")
    expect(document.get_by_role("button", name="Rerun")).to_be_visible()
    document.get_by_role("searchbox").fill("LAST line")
    expect(document.get_by_role("status").nth(1)).to_have_text("Matches in 1 of 2 lines, now at line 2")
    expect(log.locator("mark")).to_have_text("last line")
    _pictures(book, page, "run-document", lambda: (accessible(document), accessible(panel)))
    assert [*axe.namesakes(document), *axe.namesakes(panel)] == []
    _visit_tabs(document, {"Curves": "No curves yet.", "Metrics": re.compile("GiB|No measurements")})
    of_the_cell = page.evaluate("hits.length")
    page.keyboard.press("ArrowRight")
    expect(document.get_by_role("tabpanel", name="Result")).to_contain_text("Exit code")
    says_once(page, "Completed", "Exit code")
    expect(document).to_contain_text("import pathlib, time")
    expect(document.get_by_role("region", name="Outputs").locator("b")).to_have_text("shown")
    expect(document.get_by_role("region", name="Outputs").locator("img")).to_have_count(1)
    accessible(document)
    assert page.evaluate("hits.length") == of_the_cell  # what a run shows is not trusted here
    expect(run).to_contain_text("completed")
    page.keyboard.press("ArrowRight")  # to the log again
    expect(document.get_by_role("heading", name="training")).to_be_visible()
    document.get_by_role("button", name="Go to").click()
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(1)).to_have_class(re.compile("jp-mod-active"))
    page.get_by_role("tab", name="training · ").locator(".lm-TabBar-tabCloseIcon").click()
    run.get_by_role("button").first.click()
    expect(document.get_by_role("status").nth(1)).to_have_text("2 lines")  # all of a run that has ended comes at once
    run.get_by_role("button", name="Go to").click()
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(1)).to_have_class(re.compile("jp-mod-active"))
    page.evaluate("delete window.hits")
    traffic.is_without_secrets(cloud.api_key, "/lk/runs/")


@pytest.mark.nightly  # by parts: test_drive.py, the run and the toolbar here, tests/serverext
@pytest.mark.timeout(900)
def test_the_sections_of_the_panel_do_what_they_say(open_notebook, page, cloud, accessible, tmp_path):
    cloud.http.post("storage/upload", params={"key": "ui-panel/table.csv"}, files={"file": b"city\nUlm\n"})
    made = cloud.http.post("auth/api-keys/", json={"key_name": "laptop"}).json()
    rented = {"user_public_key": "ssh-ed25519 AAAA user@host", "hardware_profile": "a100"}
    rented["display_name"] = "b\u202eox\u061c"  # it must turn no label of a button
    vm = cloud.http.post("vms/create", json=rented).json()["vm_id"]
    model = cloud.http.post("inference/create", json={"hf_model_id": "local/echo"}).json()["deployment_id"]
    traffic = Traffic(page)
    book = open_notebook("", "import time\ntime.sleep(300)  # elsewhere")
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    for section in ("Storage", "Keys", "Deployments", "VMs"):
        panel.get_by_role("button", name=section, exact=True).click()
    expect(panel).not_to_contain_text("Asking")
    _bucket(panel, page, cloud, tmp_path, accessible)
    keys = panel.get_by_role("list", name="Keys")
    keys.get_by_role("button", name="Revoke the key laptop").click()
    panel.get_by_role("button", name="Revoke", exact=True).last.click()
    expect(panel.get_by_role("button", name="Revoke the key laptop")).to_have_count(0)
    assert made["id"] not in {key["id"] for key in cloud.http.get("auth/api-keys/").json()}
    panel.get_by_role("button", name="Storage", exact=True).click()
    _rented(panel, cloud, vm, model)
    panel.get_by_role("button", name="Machines", exact=True).click()
    expect(panel.get_by_role("radio")).to_have_count(7)
    _pictures(book, page, "panel", lambda: accessible(panel))
    _machine(book, page, panel)
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    for field in ("GPU memory at least", "Time limit"):
        panel.get_by_label(field).fill("")
    panel.get_by_role("button", name="Filters").press("Enter")
    for section in ("Machines", "Keys", "Deployments", "VMs"):
        panel.get_by_role("button", name=section, exact=True).click()
    traffic.is_without_secrets(cloud.api_key, "/lk/storage/", "/lk/machines")


#: Runs of a journal that many cells have filled.
MANY = [
    {
        "row": n,
        "execution_id": f"many-{n}",
        "base_url": "",
        "org": None,
        "notebook": "work/train.ipynb",
        "cell_id": f"cell-{n}",
        "code_hash": "",
        "line": f"epoch = {n}",
        "machine": "gpu.a100",
        "price_per_hour": "1.59",
        "options": {},
        "labels": [],
        "run_name": None,
        "created_at": 1.7e9 - 900 * n,
        "state": "failed" if n % 3 else "completed",
        "going_on": False,
        "started_at": None,
        "ended_at": None,
        "seconds": 9.1,
        "cost": "0.0040",
        "reason": "ValueError: no" if n % 3 else "",
        "summary": {},
        "group": None,
    }
    for n in range(1000)
]


@pytest.mark.timeout(900)
@pytest.mark.nightly
def test_sections_stay_open_or_folded_when_lab_is_loaded_again_and_a_thousand_runs_are_one_stop_of_the_tab_key(
    running_lab, page, cloud, accessible
):
    page.route("**/lk/journal?*", lambda route: route.fulfill(json={"runs": _of(cloud, MANY), "before": None}))
    page.goto(f"{running_lab.url}/lab?token={running_lab.token}&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.locator(".jp-Launcher").wait_for()  # it takes the focus when it comes
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    _many(page, panel, accessible)
    runs, account = (panel.get_by_role("button", name=name, exact=True) for name in ("Runs", "Account"))
    expect(runs).to_have_attribute("aria-expanded", "true")
    expect(account).to_have_attribute("aria-expanded", "false")
    with page.expect_response(lambda answer: "/workspaces/" in answer.url and _folded(answer) == [True, False]):
        for section in (runs, account):
            section.press("Enter")
    page.goto(f"{running_lab.url}/lab?token={running_lab.token}")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    expect(panel.get_by_text("local@localhost")).to_be_visible()
    expect(runs).to_have_attribute("aria-expanded", "false")
    for _ in range(2):
        page.get_by_role("tab", name="GPU cloud", exact=True).click()  # hides the sidebar, then shows it
    expect(panel.get_by_text("local@localhost")).to_be_visible()


def _many(page, panel, accessible):
    """Walk by keys through a thousand runs, of which only those that are seen are drawn."""
    rows = panel.get_by_role("list", name="Runs").get_by_role("listitem")
    panel.get_by_role("searchbox", name="Find runs").fill("epoch")
    first = rows.filter(has_text="epoch = 0,").or_(rows.filter(has_text="epoch = 0")).first
    expect(first).to_contain_text("train.ipynb")
    panel.get_by_role("searchbox", name="Find runs").press("Tab")
    expect(first.get_by_role("button").first).to_be_focused()
    page.keyboard.press("End")
    last = rows.filter(has_text="epoch = 999").get_by_role("button")
    expect(last.first).to_be_focused()
    expect(last.first).to_be_in_viewport()
    page.keyboard.press("ArrowRight")
    expect(last.nth(1)).to_be_focused()
    expect(last.nth(1)).to_have_accessible_name("Rerun train.ipynb (many-999)")
    page.keyboard.press("ArrowUp")
    before = rows.filter(has_text="epoch = 998").get_by_role("button").first
    expect(before).to_be_focused()
    expect(before).to_contain_text("ValueError")
    assert rows.count() < 100
    accessible(panel)
    before.click(button="right")
    expect(page.get_by_role("menuitem", name="Go to the cell of the run")).to_be_visible()
    picture(page, "panel-many-runs")
    page.keyboard.press("Escape")


def _of(cloud, runs):
    """Return runs as started on this cloud."""
    return [{**run, "base_url": cloud.base_url} for run in runs]


def _folded(answer):
    """Whether the sections that were folded and opened are folded in the workspace that Lab saves."""
    kept = (answer.request.post_data_json or {}).get("data", {}).get("lk-jupyter:panel", {})
    return [not kept.get(section, section == "runs") for section in ("runs", "account")]


def _bucket(panel, page, cloud, tmp_path, accessible):
    """Go to the bucket, take a file's loading code into a cell, add a file, replace it, and delete it: all by keys."""
    accessible(panel)
    panel.get_by_role("button", name="Open the bucket").press("Enter")
    bucket = page.locator("#lk-jupyter-bucket")
    files = bucket.locator(".jp-DirListing-item")
    files.filter(has_text="ui-panel").dblclick()
    table = files.filter(has_text="table.csv")
    table.click()
    page.keyboard.press("Shift+F10")
    page.get_by_role("menuitem", name="Load into pandas").press("Enter")
    cell = page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(1)
    expect(cell).to_contain_text('read_csv("lk://ui-panel/table.csv")')
    bucket.get_by_role("button", name="Insert a cell that previews tables of this folder").press("Enter")
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(2)).to_contain_text('StorageBrowser("ui-panel")')
    hostile = tmp_path / "<img src=x onerror=alert(1)>.txt"
    stored = f"storage/download/ui-panel/{quote(hostile.name)}"
    for content, answer in (("<script>", ""), ("not this", "Cancel"), ("another", "Overwrite")):
        _upload(bucket, hostile, content, answer)
        assert cloud.http.get(stored).text == ("<script>" if answer == "Cancel" else content)
    picture(bucket, "panel-storage")
    new = files.filter(has_text=hostile.name)
    for answer in ("Cancel", "Delete"):
        new.click()
        page.keyboard.press("Delete")
        question = page.get_by_role("dialog")
        expect(question).to_contain_text(f"Delete {hostile.name} permanently?")
        question.get_by_role("button", name=answer).press("Enter")
        expect(new).to_have_count(1 if answer == "Cancel" else 0)
    assert cloud.http.get(stored).status_code == 404
    page.get_by_role("tab", name="GPU cloud", exact=True).click()


def _upload(bucket, file, content, answer):
    """Upload a file, and answer whether it may replace another."""
    file.write_text(content)
    with bucket.page.expect_file_chooser() as chooser:
        bucket.locator("[data-jp-item-name='uploader'] jp-button").press("Enter")
    if answer == "Cancel":
        chooser.value.set_files(file)
        says_once(bucket.page, "already exists")
        bucket.page.get_by_role("dialog").get_by_role("button", name=answer).press("Enter")
        expect(bucket.page.get_by_role("dialog")).to_have_count(0)
        return
    with bucket.page.expect_response(lambda heard: "/storage/upload" in heard.url):
        chooser.value.set_files(file)
        if answer:
            bucket.page.get_by_role("dialog").get_by_role("button", name=answer).press("Enter")
    expect(bucket.locator(".jp-DirListing-item", has_text=file.name)).to_have_count(1)


def _rented(panel, cloud, vm, model):
    """See what costs until it is ended, and end it; the first answer to the question changes nothing."""
    machine = panel.get_by_role("list", name="VMs").get_by_role("listitem").filter(has_text="box")
    expect(machine).to_contain_text("A100")
    state = cloud.http.get(f"vms/{vm}/status").json()["status"]
    served = panel.get_by_role("list", name="Deployments").get_by_role("listitem").filter(has_text="local/echo")
    expect(served).to_contain_text("of 1 replica")
    rate = panel.locator("dt:text-is('Burn rate') + dd")
    expect(rate).not_to_have_text("0")  # it is heard after what costs it
    expect(machine).to_contain_text(state)  # an icon with words for screen readers, or a fact
    says_once(panel.page, "of 1 replica", re.escape(rate.inner_text()))
    assert machine.bounding_box()["height"] % 24 == 0
    assert machine.evaluate("row => row.scrollWidth <= row.clientWidth")  # its cost isn't cut
    machine.hover()
    picture(panel.page, "panel-rented")
    machine.click(button="right")
    expect(panel.page.locator(".lm-Menu").get_by_role("menuitem")).to_have_text(["Log in (insert a cell)", "Delete"])
    panel.page.keyboard.press("Escape")
    machine.get_by_role("button", name="Log in").focus()
    panel.page.keyboard.press("ArrowRight")
    expect(machine.get_by_role("button", name="Delete box")).to_be_focused()
    panel.page.keyboard.press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Cancel").press("Enter")
    expect(machine).to_be_visible()
    machine.get_by_role("button", name="Delete box").press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Delete").press("Enter")
    expect(machine).to_have_count(0)
    assert cloud.http.get(f"vms/{vm}/status").json()["status"] in {"terminating", "terminated"}
    served.get_by_role("button", name="Stop local/echo").press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Stop").press("Enter")
    expect(panel).to_contain_text("No deployments.")
    assert model not in cloud.http.get("inference/list").text


def _machine(book: OpenNotebook, page, panel):
    """Choose a machine by keys and run a cell there, see it among what runs in Lab, abort it, rerun it there."""
    panel.get_by_role("button", name="Filters").press("Enter")
    panel.get_by_label("GPU memory at least").fill("lots")
    expect(panel.get_by_role("alert").first).to_contain_text("Memory 'lots' isn't valid")
    panel.get_by_label("GPU memory at least").fill("40 GB")
    panel.get_by_label("Time limit").fill("10 min")
    expect(panel.get_by_role("radio", name="cpu")).to_have_count(0)
    card = panel.get_by_role("list", name="Machines").get_by_role("listitem").filter(has_text="A100")
    expect(card).to_contain_text("80 GiB")
    expect(card).to_contain_text("at most 0.2654 credits")
    panel.get_by_role("button", name="Cheapest match").press("Enter")
    expect(panel.get_by_role("radio", name="L40S")).to_be_checked()
    panel.get_by_role("radio", name="L40S").press("ArrowDown")
    expect(panel.get_by_role("radio", name="A100")).to_be_checked()
    page.get_by_role("tab", name="File Browser").click()
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    expect(panel.get_by_role("radio", name="A100")).to_be_checked()
    for _ in range(2):
        panel.get_by_role("button", name="Machines", exact=True).click()
    expect(panel.get_by_role("radio", name="A100")).to_be_checked()
    panel.get_by_role("radio", name="A100").press("ArrowUp")
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 3; }")
    panel.get_by_role("button", name="Run the selected cell on L40S").click()
    header = page.locator(".lk-run-header:visible")
    more = header.get_by_role("button", name="More actions")
    expect(header).to_contain_text("RunningL40S")
    page.get_by_role("tab", name="Running Terminals and Kernels").click()
    expect(page.get_by_text("GPU cloud runs")).to_be_visible()
    more.click()
    page.get_by_role("menuitem", name="Abort run").click()
    page.get_by_role("button", name="Abort", exact=True).last.click()
    expect(header).to_contain_text("AbortedL40S")
    more.click()
    page.get_by_role("menuitem", name="Rerun").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("The code runs on L40S at 1.19 credits/h. The cost is at most 0.1987 credits.")
    picture(page, "run-again")
    question.get_by_role("button", name="Cancel").click()
    more.click()
    page.get_by_role("menuitem", name="Rerun").click()
    question.get_by_role("button", name="Rerun").click()
    expect(header).to_contain_text("RunningL40S")
    book.interrupt()
    expect(header).to_contain_text("AbortedL40S")


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("page_of_its_own")  # it is out of reach at the end, and signed out
def test_a_cell_runs_on_the_machine_that_the_toolbar_offers_and_the_status_bar_counts(
    open_notebook, page, cloud, accessible
):
    book = open_notebook("print('hello from', 6 * 7)", LOAD, "%%lk_run --gpu H1")
    status = page.locator(".lk-statusbar")
    expect(status).to_contain_text("credits")
    run_on(page, "H100")
    expect(book.output(0)).to_contain_text("hello from 42")
    expect(book.output(0)).to_contain_text("Completed")
    header = book.header(0)
    expect(header).to_contain_text("CompletedH100")
    header.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Open the run").click()
    document = page.locator(".lk-document")
    expect(document.get_by_role("log", name="Log")).to_contain_text("hello from 42")
    page.get_by_role("tab", name="notebook.ipynb", exact=True).click()
    source = "() => window.jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.source"
    assert page.evaluate(source).startswith("%%lk_run --gpu H100\nprint(")
    chosen = "() => window.jupyterapp.shell.currentWidget.model.getMetadata('lk_jupyter').machine"
    assert page.evaluate(chosen) == "gpu.h100"
    button = page.locator(".jp-NotebookPanel:visible .lk-run-on")
    expect(button).to_have_text("H100 · 2.79 credits/h")
    button.click()
    is_early = version("jupyterlab").startswith("4.2.")  # it says which one is chosen by the sign alone
    marked = page.get_by_role("menuitem" if is_early else "menuitemcheckbox", name="H100")
    if not is_early:
        expect(marked).to_be_checked()
    expect(marked.locator("svg")).to_be_visible()
    page.keyboard.press("Escape")
    _editor(book, page)
    _pictures(book, page, "toolbar", lambda: (accessible(header), accessible(status)))
    _troubles(page, status, accessible)


def _editor(book, page):
    """Python below the magic's line is coloured as such; options and machines are completed and explained."""
    lines = page.locator(".jp-NotebookPanel:visible .cm-line")
    colour = (
        "(line, word) => getComputedStyle([...line.querySelectorAll('span')].find(s => s.textContent === word)).color"
    )
    assert lines.nth(1).evaluate(colour, "'hello from'") != lines.nth(1).evaluate(
        "line => getComputedStyle(line).color"
    )
    lines.first.hover(position={"x": 100, "y": 8})
    expect(page.locator(".lk-help")).to_contain_text("GPU, such as A100")
    book.run(1)
    book.ended()
    lines.last.click()
    page.keyboard.press("End")
    _completed(page, "%%lk_run --gpu H100")
    page.keyboard.type(" --max-c")
    _completed(page, "%%lk_run --gpu H100 --max-cost")


def _completed(page, words):
    """Press Tab for the only word that fits; Lab waits a second for a kernel, which may be too short the first time."""
    line = page.locator(".jp-NotebookPanel:visible .cm-line").last
    for attempt in Retrying(stop=stop_after_attempt(10), retry=retry_if_exception_type(AssertionError), reraise=True):
        with attempt:
            page.keyboard.press("Tab")
            expect(line).to_have_text(words, timeout=3000)


def _troubles(page, status, accessible):
    """What stands between is HTML, the API is slow, the key is revoked: each is said, and goes when it is over."""
    page.route("**/lk/**", lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Proxy</h1>"))
    status.click()
    panel = page.locator("#lk-jupyter-panel")
    expect(panel.get_by_role("alert").first).to_contain_text("text/html")
    expect(status).to_contain_text("can't be reached")
    page.unroute("**/lk/**")
    page.route("**/lk/**", lambda route: route.abort())
    panel.get_by_role("button", name="Try again").click()
    expect(panel.get_by_role("alert").first).to_contain_text("Jupyter server doesn't answer")
    picture(page, "panel-trouble")
    page.unroute("**/lk/**")
    panel.get_by_role("button", name="Try again").click()
    expect(panel.get_by_role("button", name="Try again")).to_be_hidden()
    expect(panel.get_by_text("Balance", exact=True)).to_be_visible()
    _tell(page, 504, "slow", "The server takes very long to answer.")
    expect(panel.get_by_role("alert").first).to_contain_text("very long")
    page.unroute("**/lk/api/**")
    _tell(page, 424, "revoked", "The server no longer accepts your key. Sign in again.")
    expect(panel.get_by_label("API key for")).to_be_visible()
    expect(panel).to_contain_text("no longer accepts your key")
    accessible(panel)
    picture(page, "panel-revoked")


def _tell(page, code, state, detail):
    """Have every operation of the API answered with a trouble."""
    body = json.dumps({"state": state, "detail": detail})
    page.route("**/lk/api/**", lambda route: route.fulfill(status=code, content_type="application/json", body=body))


def _pictures(book, page, name, check=lambda: None):
    """Take a picture in light and one in dark, and check what is seen in both."""
    for theme in book.themes():
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        check()
        picture(page, f"{name}-{theme}")


OVERDUE = """from lk_jupyter.vms.facts import VmFacts, facts_folder
import time
facts = VmFacts(vm_id="f" * 32, token="t", base_url="http://other.invalid", machine="vm.a100", ttl=3600,
                per_hour="1.59", created_at=time.time() - 7200)
facts_folder().mkdir(parents=True, exist_ok=True)
path = facts_folder() / f"{facts.token}.json"
_ = path.write_text(facts.model_dump_json())"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_vm_that_should_be_deleted_is_red_in_panel_status_bar_and_load_ext_until_it_is_deleted(
    open_notebook, page, accessible
):
    book = open_notebook(OVERDUE, LOAD, "%lk_vm list", "path.unlink()\n%lk_vm list")
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel, status = page.locator("#lk-jupyter-panel"), page.locator(".lk-statusbar")
    alert = panel.get_by_role("alert").filter(
        has_text="VM ffffffff should already be deleted, but may still be billed: about 3.18"
    )
    for cell in range(3):
        book.run(cell)
    expect(alert).to_contain_text("Delete it: %lk_vm delete ffffffff")
    expect(status).to_contain_text("VMs to delete: 1")
    expect(status).to_have_class(re.compile("lk-overdue"))
    expect(book.output(1)).to_contain_text("VM ffffffff should already be deleted")
    picture(page, "overdue-vm")
    accessible(panel)
    book.run(3)
    expect(alert).to_have_count(0)
    expect(status).not_to_contain_text("VMs to delete")
