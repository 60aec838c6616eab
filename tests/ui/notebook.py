"""What a user does with an open notebook, and sees of it."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
from patience import PATIENCE
from playwright.sync_api import Error, Locator, Page, TimeoutError, expect  # noqa: A004

#: The indicator in the toolbar says idle before a kernel exists; the session knows better.
KERNEL_IS_READY = """() => {
    const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    const kernel = context?.session?.kernel;
    return context?.isReady && kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
}"""
#: What is there in their place, and the question that may wait for an answer.
FOUND = """() => {
    const widget = window.jupyterapp?.shell?.currentWidget;
    const { isReady, session, kernelDisplayStatus } = widget?.sessionContext ?? {};
    const { status, connectionStatus } = session?.kernel ?? {};
    const question = document.querySelector('.jp-Dialog')?.textContent;
    return { widget: widget?.id, isReady, kernelDisplayStatus, status, connectionStatus, question };
}"""
KERNEL_IS_CONNECTED = """() => {
    const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected';
}"""
TRUST = "() => { for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells) cell.trusted = true; }"
#: Started but not awaited: a command that runs a cell ends with the cell.
COMMAND = """([id, args]) => {
    window.unended = (window.unended ?? 0) + 1;
    window.jupyterapp.commands.execute(id, args).finally(() => { window.unended -= 1; });
}"""
KEPT = """words => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .some(cell => JSON.stringify(cell.outputs ?? []).includes(words))"""
SHUT_DOWN = "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
COMMANDS_ENDED = "() => !window.unended"
SELECT = "cell => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = cell; }"
#: Close what the main area shows, without a question; show the side bar as Lab does at first.
LEAVE = """() => {
    const { shell } = window.jupyterapp;
    for (const widget of [...shell.widgets('main')]) {
        if (widget.context) widget.context.model.dirty = false;
        widget.close();
    }
    shell.expandLeft();
    shell.activateById('filebrowser');
    shell.collapseRight();
}"""
#: Loaded once: one that was loaded again may still wait for the kernel of its notebook.
IS_LAB = "() => window.jupyterapp && performance.getEntriesByType('navigation')[0].type === 'navigate'"
ONLY_LAUNCHER = """() => {
    const all = [...window.jupyterapp.shell.widgets('main')];
    return all.length === 1 && all[0].id.startsWith('launcher');
}"""
CLOSE_LAUNCHER = """() => {
    const all = [...window.jupyterapp.shell.widgets('main')];
    all.filter(widget => widget.id.startsWith('launcher')).forEach(widget => widget.close());
}"""
#: What a test may leave to the next one around its notebook; what Lab loads at first use adds names of its own.
SURROUNDINGS = """() => {
    const { shell } = window.jupyterapp;
    const area = name => [...shell.widgets(name)].map(({ id, isVisible }) => [id, isVisible]);
    const all = selector => [...document.querySelectorAll(selector)];
    return JSON.stringify([
        ['left', 'right', ...(shell.isEmpty('down') ? [] : ['down']), 'top', 'menu'].map(area), // none in Lab 4.2
        [shell.leftCollapsed, shell.rightCollapsed, innerWidth, innerHeight],
        ['prefers-color-scheme: dark', 'prefers-reduced-motion: reduce', 'forced-colors: active'].map(
            media => matchMedia(`(${media})`).matches
        ),
        [document.body.dataset, document.body.className],
        Object.entries(localStorage).filter(([key]) => !key.includes('StateDB')), // which names the window anew
        all('.jp-Dialog, .lm-Menu, .Toastify__toast, .jp-StatusBar-HoverItem').length,
        all('.lk-section').filter(one => one.matches('.lm-mod-hidden') === (one.id === 'lk-section-runs')).length,
        all('#lk-jupyter-panel input:not([type=radio], [type=checkbox]:not(:checked))').map(one => one.value).join(''),
        Object.keys(window).filter(name => !/webpack|mathjax|axe|unended/i.test(name)).sort(),
    ]);
}"""
#: The texts that somebody sees or can scroll to, at most of one cell: no twin for screen readers alone, no code.
WRITTEN = """cell => {
    const cells = [...document.querySelectorAll('.jp-NotebookPanel .jp-Cell')].filter(one => one.checkVisibility());
    const known = new Map([[null, false]]);
    const isUnseen = node => {
        if (!known.has(node)) {
            const { clipPath, overflowX } = getComputedStyle(node);
            const isClipped = clipPath.startsWith('inset(50%') || (overflowX === 'hidden' && node.clientWidth <= 1);
            known.set(node, isClipped || isUnseen(node.parentElement));
        }
        return known.get(node);
    };
    const isSeen = node => {
        const [element, of] = [node.parentElement, node.parentElement.closest('.jp-Cell')];
        const isCode = element.closest('.cm-editor, code, script, style');
        if ((cell !== null && of && of !== cells[cell]) || isCode) return false;
        return element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !isUnseen(element);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = [];
    while (texts.nextNode()) if (isSeen(texts.currentNode)) seen.push(texts.currentNode.data);
    return seen.join('\\n');
}"""
#: Those texts once they have the words; which of them somebody sees is only looked for when the page has the state.
SAYS = f"""([state, words, cell]) => {{
    if (!RegExp(state, 'i').test(document.body.textContent)) return false;
    const text = ({WRITTEN})(cell);
    return RegExp(words, 'i').test(text) && text;
}}"""
#: Where pictures are kept, to be looked at: those that are compared, and with LK_PICTURES all others.
SCREENS = Path(__file__).parents[2] / ".out" / "screens"
WANTED = "LK_PICTURES" in os.environ
#: Whether what is alike is shown in all its forms: by day nothing is seen in dark.
NIGHT = "LK_NIGHTLY" in os.environ
#: Of the window.
SIZE = {"width": 1280, "height": 900}
#: Modes of the page in the pictures of journeys: name → theme, width in pixels, whether the system has its own colors.
MODES = {
    "light": ("light", 1280, "none"),
    "dark": ("dark", 1280, "none"),
    "narrow": ("light", 1000, "none"),
    "contrast": ("light", 1280, "active"),
}
#: Milliseconds from one look at the page to the next; the default is every frame, which takes a core.
LOOK = 50


def write(path: Path, *cells: str) -> None:
    """Write a notebook of these cells."""
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    book.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(book, path)


def picture(shown: Page | Locator, name: str, **options: bool) -> None:
    """Take a picture of a page or a part of it, where pictures are asked for."""
    if WANTED:
        shown.screenshot(path=SCREENS / f"{name}.png", **options)


def says_once(page: Page, *states: str, cell: int | None = None) -> None:
    """Wait until the page says each of these states, and fail where it says one more than once then.

    A state is a word for what a run, VM or file is, a balance, a burn rate or a progress. All that is open counts:
    notebook, panel, document, status bar, menus and questions. Of the cells only ``cell`` does if it is given, as each
    says the state of its own runs. What a run costs is no state: each list of runs says it.
    """
    for state in states:
        words = rf"(?<![\w.]){state}(?![\w])"
        seen = page.wait_for_function(
            SAYS,
            arg=[state, words, cell],
            polling=LOOK,
        ).json_value()
        said = len(re.findall(words, seen, re.IGNORECASE))
        assert said == 1, f"{state!r} is written {said} times:\n{seen}"


def run_on(page: Page, card: str) -> None:
    """Run the selected cell on a machine that the toolbar offers."""
    page.locator(".jp-NotebookPanel:visible .lk-run-on").click(timeout=1000 * PATIENCE)
    page.get_by_role("menuitemcheckbox").or_(page.get_by_role("menuitem")).filter(has_text=card).click()


def allow_untrusted(page: Page) -> None:
    """Answer the question of a click on a cell of a notebook that isn't trusted with Run."""
    question = page.get_by_role("dialog").filter(has_text="This notebook isn't trusted.")
    question.get_by_role("button", name="Run", exact=True).click()


@dataclass(frozen=True)
class OpenNotebook:
    """A notebook that is open in Lab, with its kernel running."""

    page: Page

    def command(self, name: str, **args: object) -> None:
        """Start a command of Lab."""
        self.page.evaluate(COMMAND, [name, args])

    def run_all(self) -> None:
        """Start all cells; ``ended`` waits for the last."""
        self.command("notebook:run-all-cells")

    def run(self, cell: int) -> Locator:
        """Start a cell, which ``ended`` waits for; return where its output appears."""
        self.page.evaluate(SELECT, cell)
        self.command("notebook:run-cell")
        return self.output(cell)

    def ended(self, seconds: float = PATIENCE) -> None:
        """Wait until all that was started here has ended."""
        self.page.wait_for_function(COMMANDS_ENDED, timeout=1000 * seconds, polling=LOOK)

    def interrupt(self) -> None:
        """Do what the button in the toolbar does, which the toolbar hides where it finds no place for it."""
        self.command("notebook:interrupt-kernel")

    def load(self, url: str) -> None:
        """Load the page of this notebook and wait for its kernel."""
        self.page.goto(url)
        self._loaded(KERNEL_IS_READY)

    def open(self, path: str) -> None:
        """Open a notebook in a page of Lab that is loaded, and wait for its kernel."""
        self.command("docmanager:open", path=path)
        self.ended()
        self.page.evaluate(CLOSE_LAUNCHER)
        self.page.wait_for_function(KERNEL_IS_READY, timeout=1000 * PATIENCE, polling=LOOK)

    def surroundings(self) -> str:
        """Return how Lab is around the notebook."""
        return self.page.evaluate(SURROUNDINGS)

    def leave(self) -> str | None:
        """Close the notebook without saving it; return how Lab is then, or None if the page was loaded again."""
        with suppress(Error):
            if not self.page.is_closed() and self.page.evaluate(IS_LAB):
                self.page.set_viewport_size(SIZE)
                self.page.evaluate(LEAVE)
                self.page.wait_for_function(ONLY_LAUNCHER, polling=LOOK, timeout=30_000)
                return self.surroundings()
        return None

    def reopen_with_kernel(self) -> None:
        """Close the notebook and open it again; the kernel goes on with what it does."""
        path = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
        self.page.evaluate(LEAVE)
        self.open(path)

    def reload(self) -> None:
        """Load the page again; the kernel goes on with what it does."""
        self.page.reload()
        self._loaded(KERNEL_IS_CONNECTED)

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def keeps(self, words: str) -> None:
        """Wait until these words are in the outputs that would be saved."""
        self.page.wait_for_function(KEPT, arg=words, timeout=1000 * PATIENCE, polling=LOOK)

    def reopen_without_kernel(self) -> None:
        """Shut the kernel down and load the page anew, which starts none."""
        self.page.once("dialog", lambda dialog: dialog.accept())  # whether to leave what isn't saved
        self.page.evaluate(SHUT_DOWN)
        self.page.reload()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=1000 * PATIENCE)

    def reopen(self) -> None:
        """Shut the kernel down, close the notebook and open it again, which starts another: none knows its widgets."""
        self.page.evaluate(SHUT_DOWN)
        self.reopen_with_kernel()

    def restart_kernel(self) -> None:
        """Restart the kernel, which may be busy, and say yes when asked."""
        self.command("notebook:restart-kernel")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.wait_for_function(KERNEL_IS_READY, timeout=1000 * PATIENCE, polling=LOOK)

    def output(self, cell: int) -> Locator:
        """What a cell shows below itself."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(cell).locator(".jp-Cell-outputArea")

    def header(self, cell: int) -> Locator:
        """What a cell says of its run."""
        return self.output(cell).locator(".lk-run-header")

    def says_once(self, cell: int, *states: str) -> None:
        """Wait for states below a cell, and fail where the page writes one more than once, there or elsewhere."""
        for state in states:
            expect(self.output(cell)).to_contain_text(state, ignore_case=True)
        says_once(self.page, *map(re.escape, states), cell=cell)

    def themes(self) -> Iterator[str]:
        """Show the page as it is, in light, then in dark in the night or for pictures; it ends as it began."""
        yield "light"
        if NIGHT or WANTED:
            self._show_in("dark")
            yield "dark"
            self._show_in("light")

    def picture(self, name: str) -> None:
        """Take a picture of the notebook."""
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")  # a new theme comes with one
        picture(self.page.locator(".jp-NotebookPanel:visible"), name)

    def picture_of(self, cell: int, name: str) -> None:
        """Take a picture of what a cell shows."""
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        picture(self.output(cell).locator(".jp-OutputArea-output").last, name)

    def pictures(self, name: str) -> None:
        """Take two pictures, NAME-light and NAME-dark, where pictures are asked for."""
        for theme in self.themes() if WANTED else ():
            self.picture(f"{name}-{theme}")

    def take_journey_pictures(self, name: str) -> None:
        """Take a picture of the page in each of MODES, where pictures are requested."""
        for mode, (theme, width, colors) in MODES.items() if WANTED else ():
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(forced_colors=colors)
            self._show_in(theme)
            self.page.locator("#jupyterlab-splash").wait_for(state="detached")
            self.page.screenshot(path=SCREENS / f"journey-{name}-{mode}.png")
        if WANTED:
            self.page.emulate_media(forced_colors="none")
            self.page.set_viewport_size(SIZE)
            self._show_in("light")

    def _show_in(self, theme: str) -> None:
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")  # Lab fails to take away two of them at once
        self.command("apputils:change-theme", theme=f"JupyterLab {theme.capitalize()}")
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "light").lower())

    def _loaded(self, kernel: str) -> None:
        self.page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=1000 * PATIENCE)
        try:
            self.page.wait_for_function(kernel, timeout=1000 * PATIENCE, polling=LOOK)
        except TimeoutError as late:
            raise AssertionError(f"The notebook has no kernel: {self.page.evaluate(FOUND)}") from late
