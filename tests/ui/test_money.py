"""Money in Lab: one figure for a run wherever it is shown, and all that is billed by the hour in the status bar."""

import re

import pytest
from playwright.sync_api import expect

from ui import axe
from ui.notebook import picture, says_once

LOAD = "%load_ext lk_jupyter"
WAITS = "import pathlib, time\nprint('on', flush=True)\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.05)"
ALONE = "%%lk_run --gpu A100 --name alone\n"
CREDITS = re.compile(r"(\d+\.\d{2,4}) credits")


#: Takes note of each cost that two places show, in the order in which they do, until one has shown so many.
COSTS_SHOWN = """([first, second, enough]) => new Promise(done => {
    const visible = place => [...document.querySelectorAll(place)].find(one => one.checkVisibility());
    const shown = [[], []];
    const look = () => {
        [first, second].forEach((place, at) => {
            const [, cost] = visible(place)?.textContent.match(/≈ (\\d+\\.\\d{4}) credits/) ?? [];
            if (cost && cost !== shown[at].at(-1)) shown[at].push(cost);
        });
        if (shown.some(costs => costs.length >= enough)) done(shown);
        else setTimeout(look, 50);
    };
    look();
})"""


@pytest.fixture
def rented(cloud):
    """A VM and a deployment, for 4.38 credits an hour."""
    vm = {"user_public_key": "ssh-ed25519 AAAA user@host", "hardware_profile": "a100", "display_name": "box"}
    vm_id = cloud.http.post("vms/create", json=vm).json()["vm_id"]
    served = {"hf_model_id": "local/echo", "hardware_profile": "gpu.h100"}
    deployment = cloud.http.post("inference/create", json=served).json()["deployment_id"]
    yield
    cloud.http.delete(f"vms/{vm_id}")
    cloud.http.request("DELETE", "inference/stop", json={"deployment_id": deployment})


def credits_in(place):
    """Return the credits that a place shows."""
    return CREDITS.search(place.inner_text())[1]


def _is_billed(page, panel, status):
    """See what is left and what all costs an hour: in the panel, and in the status bar while that is closed."""
    expect(panel.get_by_text("4.38 credits/h")).to_be_visible()
    expect(panel.get_by_text("Lasts")).to_be_visible()
    expect(status).to_contain_text("A100, H100")
    expect(status.locator("svg")).to_have_count(2)
    balance = re.escape(panel.locator("dt:text-is('Balance') + dd").inner_text())
    says_once(page, r"4\.38 credits/h", balance)
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    expect(status).to_contain_text("A100, H100 · 4.38 credits/h")
    says_once(page, r"4\.38 credits/h", r"\d+\.\d+ credits(?!/h)")  # what is left, which may have become less
    page.get_by_role("tab", name="GPU cloud", exact=True).click()


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("rented")
def test_a_run_costs_the_same_everywhere_and_the_status_bar_sums_up_what_is_billed(
    open_notebook, page, cloud, accessible, tmp_path
):
    go_on, finish = tmp_path / "go-on", tmp_path / "finish"
    several = "%%lk_run --gpu A100,H100 --name several\n"
    book = open_notebook(LOAD, several + WAITS.format(str(go_on)), ALONE + WAITS.format(str(finish)))
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel, status = (page.locator(at) for at in ("#lk-jupyter-panel", ".lk-statusbar"))
    _is_billed(page, panel, status)
    book.run(0)
    book.ended()
    output = book.run(1)
    expect(output).to_contain_text("2 runs · at most 0.7312 credits")
    for machine in ("A100", "H100"):
        row = output.locator(".lk-board tbody tr").filter(has_text=machine)
        expect(row).to_contain_text(re.compile(r"Running.*≈ 0\.\d{4}"))
    expect(panel).to_contain_text("8.76 credits/h")
    for theme in book.themes():
        accessible(status)
        picture(page, f"money-{theme}")
    status.click()
    active = page.get_by_role("region", name="Active now")
    expect(active.get_by_role("listitem")).to_have_count(4)
    says_once(page, r"8\.76 credits/h")
    expect(active.get_by_role("button", name="Abort several")).to_have_count(2)
    accessible(active)
    assert not axe.namesakes(active)
    picture(page, "money-active")
    page.evaluate("document.activeElement.blur()")  # as where the button that had the focus is gone
    page.keyboard.press("Escape")
    expect(active).to_have_count(0)
    go_on.touch()
    book.ended()
    expect(output).to_contain_text(re.compile(r"2 runs · 0\.\d{4} credits in total"))
    together = panel.get_by_role("listitem").filter(has_text=re.compile("several.*completed"))
    expect(together).to_have_count(2)
    in_rows = sum(float(credits_in(row)) for row in together.all())
    assert abs(float(credits_in(output)) - in_rows) < 0.00015  # each is rounded

    book.run(2)
    expect(book.header(2)).to_contain_text(re.compile(r"RunningA100 · .*≈ 0"))
    in_row, in_header = page.evaluate(COSTS_SHOWN, ["#lk-jupyter-panel .lk-run-running", ".lk-run-header", 6])
    assert len({*in_row, *in_header}) <= 8, "what the panel and the header show at the same time differs"
    finish.touch()
    book.ended()
    book.says_once(2, "Completed")
    in_cell = credits_in(book.header(2))
    row = panel.get_by_role("list", name="Runs").get_by_role("listitem").filter(has_text="alone").first
    expect(row).to_contain_text("completed, A100")  # the panel hears of the end after the cell
    row.get_by_role("button").first.click()
    document = page.locator(".lk-document").get_by_role("region", name="Run")
    expect(document).to_contain_text("Completed")  # until then the notebook is in view, with three runs
    says_once(page, "Completed")
    billed = cloud.http.get("billing/history", params={"limit": 1}).json()["executions"][0]["billed"]
    assert {in_cell, credits_in(row), credits_in(document)} == {f"{float(billed):.4f}"}
