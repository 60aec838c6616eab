"""Notebooks that somebody sent, opened untrusted: neither opening them nor a click on what we draw acts."""

import json
import re
import time
from dataclasses import dataclass, field

import changes
import pytest
from cloud_process import CHANGES
from playwright.sync_api import Page, expect

import lk_jupyter
from lk_jupyter.journal.journal import Journal, JournalEntry
from lk_jupyter.kernels import specs
from ui import hostile
from ui.notebook import LOOK, NIGHT, picture

#: The notebook that names a kernel on a machine.
KERNEL = "name of a kernel of the cloud"
#: The notebook whose output names a run that another notebook on this machine started.
FORGED_LOG = "forged log of an active run of this machine"
#: Notebooks of ``make test``; all others are opened in the night.
BY_DAY = (
    KERNEL,
    FORGED_LOG,
    "hidden source",
)
#: What Lab itself sends when a notebook is opened and closed, and how our server reads the output of a run.
ALLOWED = {
    "a session with its kernel, for each notebook": re.compile(r"/api/(sessions|kernels)\b"),
    "how the page looks": re.compile(r"/lab/api/workspaces/"),
    "a copy of the notebook as it was opened": re.compile(
        r"POST \S*/api/contents/received/\d+/notebook\.ipynb/checkpoints"
    ),
    "the output of a run, which the API reads by POST": re.compile(r"cloud: POST /api/v1/stream/[\w-]+$"),
}

#: All that we draw in a notebook and its toolbar, and buttons of an output that Lab lets call a command. What else an
#: output has in such a place isn't ours: where a link or a form leads is up to Lab.
DRAWN = (
    ".jp-NotebookPanel:not(.lm-mod-hidden) :is(.lk-run-on, [class*='lk-'] button, button[class*='lk-'],"
    " [class*='lk-'][role=button], .lk-hints button):not(.jp-RenderedHTMLCommon *),"
    " .jp-NotebookPanel:not(.lm-mod-hidden) [data-commandlinker-command]"
)
SEEN = """selector => {
    document.querySelectorAll('[data-click]').forEach(node => delete node.dataset.click);
    const all = [...document.querySelectorAll(selector)].filter(
        node => node.checkVisibility() && !node.disabled && !node.querySelector(selector)
    );
    return all.map((node, at) => {
        node.dataset.click = at;
        const cells = [...document.querySelectorAll('.jp-Cell')];
        const { className, ariaLabel, textContent } = node;
        const { commandlinkerCommand } = node.dataset;
        const run = node.closest('.lk-run-header')?.ariaLabel;
        const cell = cells.indexOf(node.closest('.jp-Cell'));
        return [cell, className, ariaLabel, textContent, commandlinkerCommand, run].join(' | ');
    });
}"""
#: Items of a menu from which on it is that of the machines, which are alike: by day the first and the last are clicked.
MANY = 8
MENU = ".lm-Menu .lm-Menu-item[data-type=command]"
QUESTION = ".jp-Dialog"
CLOSE = """path => {
    const { shell } = window.jupyterapp;
    for (const widget of [...shell.widgets('main'), ...shell.widgets('down')]) {
        if (widget.context?.path === path) continue;
        if (widget.context) widget.context.model.dirty = false;
        widget.close();
    }
    const notebook = [...shell.widgets('main')].find(widget => widget.context?.path === path);
    if (notebook) shell.activateById(notebook.id);
}"""
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
OPEN = "path => void window.jupyterapp.commands.execute('docmanager:open', { path })"
IS_DRAWN = """path => {
    const panel = window.jupyterapp.shell.currentWidget;
    const session = panel?.sessionContext;
    return panel?.context?.path === path && panel.context.isReady
        && (session.isReady && session.session?.kernel?.status === 'idle' || !!document.querySelector('.jp-Dialog'));
}"""


def acting(requests: list[str]) -> list[str]:
    """Return the requests that aren't Lab's own and don't only read."""
    return [line for line in requests if not any(pattern.search(line) for pattern in ALLOWED.values())]


@dataclass
class Watch:
    """What a page sends that may change something, and what runs in kernels."""

    page: Page
    sent: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    waiting: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("request", self._on_request)
        self.page.on("requestfinished", self._on_end)
        self.page.on("requestfailed", self._on_end)
        self.page.on("websocket", self._on_socket)

    def _on_request(self, request):
        if request.method not in changes.READING:
            self.sent.append(f"{request.method} {request.url}")
        if "/stream?" in request.url:
            self.streams.append(request.url)
        else:
            self.waiting.add(request)

    def _on_end(self, request):
        self.waiting.discard(request)

    def _on_socket(self, socket):
        socket.on("framesent", self._on_frame)

    def _on_frame(self, frame):
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        if '"msg_type":"execute_request"' in text or '"msg_type": "execute_request"' in text:
            self.sent.append(f"EXECUTE {text[-200:]}")

    def settle(self) -> None:
        """Wait until the page has drawn what the last click led to."""
        end = time.monotonic() + 5
        self.page.evaluate(FRAMES)
        while self.waiting and time.monotonic() < end:
            self.page.wait_for_timeout(LOOK)
        self.page.evaluate(FRAMES)


@dataclass
class Received:
    """A notebook that somebody sent, open in Lab."""

    page: Page
    watch: Watch
    path: str
    clicks: int = 0
    questions: list[str] = field(default_factory=list)

    def click_everything(self) -> None:
        """Click on all that is drawn, on each item of the menus that open, and answer each question with Cancel."""
        clicked = set()
        while fresh := [drawn for drawn in self._drawn() if drawn not in clicked]:
            clicked.add(fresh[0])
            self._click(fresh[0])
            count = self.page.locator(MENU).count()
            for item in range(count) if NIGHT or count < MANY else (0, count - 1):
                self._click_item(fresh[0], item)
            self._leave()

    def _drawn(self) -> list[str]:
        return self.page.evaluate(SEEN, DRAWN)

    def _click(self, name: str) -> None:
        """Click on one of what is drawn, if it still is there."""
        self._cancel()
        drawn = self._drawn()
        if name in drawn:
            self.page.locator(f"[data-click='{drawn.index(name)}']").click(force=True, no_wait_after=True)
            self.clicks += 1
            self.watch.settle()

    def _click_item(self, name: str, item: int) -> None:
        """Click on an item of the menu that a click opens."""
        items = self.page.locator(MENU)
        if items.count() <= item:
            self._leave()
            self._click(name)
        if items.count() > item:
            items.nth(item).click(force=True, no_wait_after=True)
            self.clicks += 1
            self.watch.settle()
            self._cancel()

    def _leave(self) -> None:
        """Close what a click has opened."""
        self._cancel()
        if self.page.locator(".lm-Menu").count():
            self.page.keyboard.press("Escape")
        self.page.evaluate(CLOSE, self.path)

    def _cancel(self) -> None:
        """Answer questions with Cancel, and read what has only one answer."""
        while (question := self.page.locator(QUESTION)).count():
            self.questions.append(question.last.locator(".jp-Dialog-header").inner_text())
            cancel = question.last.locator("button.jp-mod-reject")
            answer = cancel if cancel.count() else question.last.locator(".jp-Dialog-footer button")
            answer.first.click(force=True)
            self.watch.settle()


@pytest.fixture
def forgiven(forgiven):
    """How a fault begins that is not ours: ipywidgets reads the kernel of a notebook that has none."""
    return (*forgiven, "Cannot read properties of null (reading 'kernel')")


@pytest.fixture
def journal(running_lab):
    """The journal of this machine knows a run of another notebook."""
    journal = Journal(running_lab.changes.with_name("journal.sqlite"))
    known = {"notebook": str(running_lab.root / hostile.KNOWN_NOTEBOOK), "cell_id": hostile.KNOWN_CELL}
    about = {"execution_id": hostile.KNOWN_RUN, "state": "completed", "machine": "cpu", "created_at": time.time()}
    journal.add(JournalEntry(f"known {time.time()}", "http://127.0.0.1:1", code="1", request={}, **known, **about))
    journal.close()


@pytest.fixture
def kernel_of_cloud(running_lab, cloud, monkeypatch):
    """The user has added a kernel on an A100, whose name any notebook can have."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(running_lab.changes.parent))
    with lk_jupyter.connect(cloud.base_url, cloud.api_key) as session:
        specs.add(session.machines().resolve("A100"), {"idle": 20})
    yield
    specs.remove("A100")


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("journal", "kernel_of_cloud")
@pytest.mark.parametrize("names", [BY_DAY, pytest.param(None, marks=pytest.mark.nightly)], ids=["three", "all"])
def test_a_click_on_whatever_is_drawn_in_a_received_notebook_starts_spends_and_writes_nothing(
    running_lab, cloud, open_notebook, page, names
):
    open_notebook("pass")
    page.evaluate("() => window.jupyterapp.serviceManager.kernelspecs.refreshSpecs()")
    at_cloud = cloud.data / CHANGES
    watch = Watch(page)
    rows, acted = [], []
    for number, (name, content) in enumerate(hostile.table()):
        if names and name not in names:
            continue
        path = f"received/{number}/notebook.ipynb"
        (running_lab.root / path).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content)
        (running_lab.root / path).write_text(text.replace('"PATH"', json.dumps(path)).replace("PATH", path))
        before = [len(changes.read(log)) for log in (running_lab.changes, at_cloud)]
        watch.sent.clear()
        watch.streams.clear()
        received = Received(page, watch, path)
        page.evaluate(OPEN, path)
        page.wait_for_function(IS_DRAWN, arg=path, polling=LOOK)
        received._cancel()
        watch.settle()
        if name == FORGED_LOG:
            expect(page.locator(".jp-NotebookPanel:visible .lk-run-header")).to_contain_text("Sign in to the server")
            assert not watch.streams, "a received notebook starts no request"
        received.click_everything()
        seen = [
            *(f"browser: {line}" for line in watch.sent),
            *(f"Jupyter: {line}" for line in changes.read(running_lab.changes)[before[0] :]),
            *(f"cloud: {line}" for line in changes.read(at_cloud)[before[1] :]),
        ]
        own = acting(seen)
        has_acted = page.evaluate("() => !!window.ACTED || {}.polluted === true")
        files = [str(file) for file in running_lab.root.rglob("ACTED*")]
        asked = len(received.questions)
        rows.append(f"{name:42} {received.clicks:3} clicks  {asked:3} questions  {len(own)} requests")
        print(rows[-1], flush=True)
        assert name != KERNEL or any("A100" in question for question in received.questions), received.questions
        acted += [f"{name}: {line}" for line in [*own, *files, *(["code ran in the page"] if has_acted else [])]]
        page.evaluate("() => { delete window.ACTED; }")
        [file.unlink() for file in running_lab.root.rglob("ACTED*")]
        page.evaluate(CLOSE, "")
    assert not acted, "\n".join([*rows, *acted])


#: Command of ours → title of the question that it asks when a link calls it; None for one that only reads.
QUESTIONS = {
    "lk:run-on": "Run this cell?",
    "lk:run-here": "Run this cell?",
    "lk:run-cell-again": "Run this cell?",
    "lk:attach": "Run this cell?",
    "lk:use-run": "Run this cell?",
    "lk:rerun-longer": "Run this cell?",
    "lk:insert-code": "Insert this code into a new cell?",
    "lk:abort-run": f"Abort {hostile.RUN[:8]}?",
    "lk:open-quickstart": "Create quickstart.ipynb?",
    "lk:use-local-cloud": "Use the free local cloud?",
    "lk:sign-out": "Sign out of the GPU cloud?",
    "lk:switch-organization": "Organization",
    "lk:choose-machine": None,
    "lk:copy-run-id": None,
    "lk:load-file": None,
    "lk:copy-run-path": None,
    "lk:preview-file": None,
    "lk:open-run": None,
    "lk:go-to-cell": None,
    "lk:open-panel": None,
    "lk:open-bucket": None,
    "lk:stop-all": "Nothing to stop",
    "lk:refresh": None,
}
COMMANDS = "() => window.jupyterapp.commands.listCommands().filter(name => name.startsWith('lk'))"
#: Call a command as a link does whose user said yes to Lab, which asks from version 4.6 on.
CALL = """([name, args]) => {
    window.jupyterapp.commands.execute(name, args).then(() => 0, error => { window.refusal = error.message; });
}"""
SOURCES = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.source)"


@pytest.mark.timeout(900)
def test_a_link_in_a_page_to_any_command_of_ours_starts_spends_and_writes_nothing_without_a_question(
    running_lab, cloud, open_notebook, page
):
    assert QUESTIONS.keys() == hostile.LINKS.keys()
    open_notebook("print('mine')")
    path = page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
    cell = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCell.model.id")
    assert set(page.evaluate(COMMANDS)) == QUESTIONS.keys(), "a command is missing in the table"
    watch = Watch(page)
    at_cloud = len(changes.read(cloud.data / CHANGES))
    for name, args in hostile.LINKS.items():
        mine = {"notebook": path, "cellId": cell}
        page.evaluate(CALL, [name, {key: mine.get(key, value) for key, value in args.items()}])
        if title := QUESTIONS[name]:
            expect(page.locator(".jp-Dialog-header")).to_have_text(title)
            if name != "lk:switch-organization":
                expect(page.locator(".jp-Dialog button:focus")).to_have_class(re.compile("jp-mod-reject"))
            page.locator(".jp-Dialog button.jp-mod-reject").first.click()
            expect(page.locator(".jp-Dialog")).to_have_count(0)
        watch.settle()
        page.evaluate(CLOSE, path)
    assert page.evaluate(SOURCES) == ["print('mine')"]
    assert "isn't the id of a run" in page.evaluate("() => window.refusal")
    assert acting([*watch.sent, *(f"cloud: {line}" for line in changes.read(cloud.data / CHANGES)[at_cloud:])]) == []
    assert not list(running_lab.root.glob("quickstart.ipynb"))
    page.evaluate("() => { delete window.refusal; }")


@pytest.mark.timeout(900)
def test_a_received_cell_runs_after_a_question_with_its_source_and_later_without(
    running_lab, open_notebook, page, accessible
):
    source = "print(6 * 7)  # \u202e\u2066 invisible\u200b\n" + "\n".join(f"value_{at} = {at}" for at in range(60))
    content = hostile.forged(data={hostile.RUN_MIME: hostile.HEADER}, source=source, jupyter={"source_hidden": True})
    book = open_notebook("pass")
    path = "received/asked/notebook.ipynb"
    (running_lab.root / path).parent.mkdir(parents=True, exist_ok=True)
    (running_lab.root / path).write_text(json.dumps(content))
    running_lab.start_kernel(path)
    book.open(path)
    again = book.header(0).get_by_role("button", name="Rerun")
    again.click()
    question = page.locator(".jp-Dialog-content")
    expect(question).to_contain_text("This notebook isn't trusted. Read the source before you run it.")
    expect(question.locator("pre")).to_have_text(
        re.compile(r"print\(6 \* 7\)  # U\+202EU\+2066 invisibleU\+200B\nvalue_0")
    )
    expect(question.locator("pre")).to_contain_text("value_59")
    accessible(question)
    for theme in book.themes():
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        picture(page, f"received-question-{theme}")
    page.keyboard.press("Enter")  # Cancel
    expect(question).to_have_count(0)
    expect(book.header(0)).to_be_visible()
    again.click()
    question.get_by_role("button", name="Rerun").click()
    expect(book.output(0)).to_contain_text("42")
    book.command("lk:run-here")  # a command without the mark of our buttons asks, whatever the trust
    expect(question).to_contain_text("A link on this page requests this action.")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    book.ended()
