"""What an output says of a run and a widget that its page or kernel does not update any more."""

import json
import re

import pytest
from playwright.sync_api import expect

from ui.notebook import NIGHT

PICKER = "from lk_jupyter.widgets import MachinePicker\nMachinePicker()"


def waiting(go_on):
    return f"""%%lk_run --gpu A100 --timeout 300
import pathlib, time
from tqdm.auto import tqdm
bar = tqdm(total=2, desc="bar")
print("begun")
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.05)
bar.update(2)
bar.close()
print("ended")"""


@pytest.mark.timeout(900)
def test_status_lines_and_widgets_stay_true_after_a_reload_and_a_restart(open_notebook, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    book = open_notebook("%load_ext lk_jupyter", PICKER, waiting(first), waiting(second))
    book.command("application:toggle-left-area")
    book.run(0)
    living = book.run(1).get_by_role("radio").first
    caption = book.output(1).get_by_text("Run the cell again for live widgets.")
    expect(living).to_be_visible()
    expect(caption).to_be_hidden()
    book.run(2)
    expect(book.output(2)).to_contain_text("begun")
    expect(book.header(2)).to_contain_text("Running")
    book.save()
    book.reload()
    expect(book.header(2)).to_contain_text("Running")  # from the store: the kernel's updates do not reach this page
    first.touch()
    expect(book.header(2)).to_contain_text(re.compile("CompletedA100.*credits"))
    expect(book.output(2)).to_contain_text(re.compile("begun\\s+ended"))
    expect(book.output(2)).to_contain_text("2/2")  # the bar continued too
    book.keeps("✓ completed · A100 at ")
    expect(book.output(2)).not_to_contain_text("%lk_attach")
    book.pictures("header-reloaded")
    expect(living).to_be_visible()
    expect(caption).to_be_hidden()

    book.run(3)
    expect(book.output(3)).to_contain_text("begun")
    expect(book.header(3)).to_contain_text("Running")
    book.restart_kernel()
    expect(book.header(3)).to_contain_text("Running")
    second.touch()
    expect(book.header(3)).to_contain_text("Completed")
    expect(book.output(3)).to_contain_text("2/2")
    expect(book.output(3)).to_contain_text(re.compile("begun\\s+ended"))
    expect(book.output(3)).not_to_contain_text("%lk_attach")
    book.pictures("header-restarted")
    book.save()
    (book.reload if NIGHT else book.reopen_with_kernel)()
    expect(caption).to_be_visible()
    expect(caption).to_contain_text(re.compile(r"Snapshot from \d\d \w+, \d\d:\d\d\."))
    book.picture("widget-snapshot")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_cell_of_a_session_has_one_header_whose_button_interrupts_the_cell(open_notebook):
    wait = "%%lk_run --session ui --gpu A100\nprint('begun', flush=True)\nimport time; time.sleep(600)"
    book = open_notebook("%load_ext lk_jupyter", wait, "%%lk_run --session ui\nprint('second')", "%lk_sessions stop ui")
    book.command("application:toggle-left-area")
    book.run(0)
    book.run(1)
    expect(book.output(1)).to_contain_text("begun")
    expect(book.header(1)).to_contain_text(re.compile("Running.*session ui"))
    book.picture("header-session-running")
    book.output(1).get_by_role("button", name="Interrupt the cell").click()
    expect(book.header(1)).to_contain_text(re.compile("Aborted.*session ui.*credits so far"))
    expect(book.output(1).locator(".lk-run-header")).to_have_count(1)
    book.run(2)
    expect(book.header(2)).to_contain_text(re.compile("Completed.*session ui.*credits so far"))
    expect(book.output(2)).to_contain_text("second")
    expect(book.output(2).locator(".lk-run-header")).to_have_count(1)
    book.picture("header-session-completed")
    book.run(3)
    expect(book.output(3)).to_contain_text("Cancelled")


A100 = {"machine": "gpu.a100", "price_per_hour": "1.59", "time_limit_seconds": 300}
#: A header for each state, as a kernel writes it, and the theme's colour of its bar.
STATES = [
    ({"state": "submitting", "told": ["at most 0.1325 credits (time limit 300 s)"]}, "--jp-ui-font-color2"),
    ({"state": "pending", "told": ["installing pandas, torch +2"]}, "--jp-ui-font-color2"),
    ({"state": "running", "seconds": 42, "cost": "0.018", "cost_is": "estimated"}, "--jp-brand-color1"),
    ({"state": "running", "seconds": 250, "cost": "0.11", "cost_is": "estimated"}, "--jp-brand-color1"),
    ({"state": "reconnecting", "seconds": 50}, "--jp-warn-color1"),
    ({"state": "completed", "seconds": 9.1, "cost": "0.004", "cost_is": "billed"}, "--jp-success-color1"),
    ({"state": "failed_user", "seconds": 0.5, "cost": "0.0002", "cost_is": "billed"}, "--jp-error-color1"),
    (
        {"state": "aborted", "seconds": 75, "cost": "0.0331", "notes": ["See https://example.org."]},
        "--jp-ui-font-color2",
    ),
]
#: Two that were started together follow them.
COLOURS = [*(colour for _, colour in STATES), "--jp-brand-color1", "--jp-ui-font-color2"]
SHOW = """import json, pathlib, time
from IPython.display import display
for at, state in enumerate(json.loads({states!r})):
    run = {{**json.loads({common!r}), "execution_id": f"00000000-0000-4000-8000-{{at:012}}", **state}}
    display({{"application/vnd.lk.run+json": run, "text/plain": state["state"]}}, raw=True)
lane = {{**json.loads({common!r}), "name": "2 · x=2", "state": "queued locally"}}
runs = [{{**run, "name": "1 · x=1", "state": "running", "told": ["epoch 3"], "notes": []}}, lane]
several = {{"head": "2 runs · at most 0.2650 credits", "runs": runs, "notes": ["Both use the same seed."]}}
display({{"application/vnd.lk.run+json": several, "text/plain": "2 runs"}}, raw=True)
display({{"application/vnd.lk.run+json": {{"execution_id": "x", "hidden_lines": 49600}}, "text/plain": ""}}, raw=True)
while not pathlib.Path({go_on!r}).exists(): time.sleep(0.05)"""

#: The colours of the bars and the heights of the lines of all headers, and the colours that the theme has for the bars.
SEEN = """names => {
    const drawn = [...document.querySelectorAll('.lk-run-header')].map(header => [
        getComputedStyle(header).borderLeftColor,
        header.querySelector('.lk-run-header-line').getBoundingClientRect().height,
    ]);
    const probe = document.body.appendChild(document.createElement('i'));
    const wanted = names.map(name => {
        probe.style.color = `var(${name})`;
        return [getComputedStyle(probe).color, 28];
    });
    probe.remove();
    return [drawn, wanted];
}"""


NOTIFY = "args => window.jupyterapp.commands.execute('apputils:notify', args)"
#: What moves of what one sees of runs and of a notice.
MOVES = """() => [...document.querySelectorAll(
    '.lk-run-header, .lk-run-header *, .lk-statusbar, progress, .Toastify__toast, .Toastify__toast *'
)].filter(node => {
    const { animationName, animationDuration, transitionDuration } = getComputedStyle(node);
    const isMoving = (animationName !== 'none' && parseFloat(animationDuration) > 0.01)
        || parseFloat(transitionDuration) > 0.01;
    return isMoving && node.checkVisibility({ opacityProperty: true });
}).map(node => node.outerHTML.slice(0, 200))"""


@pytest.mark.nightly  # drawn in test_gallery.py
@pytest.mark.timeout(900)
def test_a_header_shows_each_state_in_the_colours_of_the_theme_and_each_state_once(
    open_notebook, page, accessible, tmp_path
):
    go_on = tmp_path / "go-on"
    states = json.dumps([state for state, _ in STATES])
    book = open_notebook(SHOW.format(states=states, common=json.dumps(A100), go_on=str(go_on)))
    book.command("application:toggle-left-area")
    output = book.run(0)
    headers = output.locator(".lk-run-header")
    expect(headers).to_have_count(len(COLOURS))
    labels = ["Submitting", "Pending", "Running", "Running", "Reconnecting", "Completed", "Failed", "Aborted"]
    labels += ["Running", "Queued locally"]
    assert headers.get_by_role("status").all_inner_texts() == labels
    assert [len(re.findall(label, headers.nth(at).inner_text())) for at, label in enumerate(labels)] == [1] * len(
        labels
    )
    expect(headers.nth(2)).to_contain_text(re.compile("A100 · 1.59 credits/h.*0:42 / 5:00.*≈ 0.0180"))
    expect(headers.nth(1)).to_contain_text("installing pandas, torch +2")
    expect(headers.nth(2).locator(".lk-short")).to_have_count(0)
    expect(headers.nth(3).locator(".lk-short")).to_have_count(1)
    expect(headers.nth(7).get_by_role("link")).to_have_attribute("href", "https://example.org")
    expect(output.get_by_role("button", name="49,600 lines hidden · Open log")).to_be_visible()
    expect(output.get_by_text("Local cloud")).to_have_count(1)
    together = output.get_by_role("region", name="2 runs · at most 0.2650 credits")
    expect(together.locator(".lk-run-header")).to_have_count(2)
    expect(together).to_contain_text(
        re.compile("1 · x=1 · A100 · 1.59 credits/h · epoch 3.*2 · x=2 · A100.*Both use the same")
    )
    expect(output).not_to_contain_text("00000000")
    for theme in book.themes():
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        drawn, wanted = page.evaluate(SEEN, COLOURS)
        assert drawn == wanted, theme
        accessible(output)
        book.picture(f"headers-{theme}")
    page.emulate_media(reduced_motion="reduce")
    notice = page.evaluate(NOTIFY, {"message": "A run has ended.", "type": "success", "options": {"autoClose": 15_000}})
    expect(page.locator(".Toastify__toast")).to_be_visible()
    assert page.evaluate(MOVES) == []
    book.command("apputils:dismiss-notification", id=notice)
    page.emulate_media(reduced_motion="no-preference")
    page.set_viewport_size({"width": 640, "height": 900})  # as at 200 %
    assert headers.evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth).length") == 0
    expect(headers.nth(2)).to_contain_text("≈ 0.0180")
    page.set_viewport_size({"width": 1280, "height": 900})
    headers.nth(2).get_by_role("button", name="More actions").press("Enter")
    menu = page.locator(".lm-Menu")
    expect(menu).to_contain_text("Copy the id 00000000")
    page.keyboard.press("Escape")
    go_on.touch()
