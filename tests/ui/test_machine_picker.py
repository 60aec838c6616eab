"""Choosing a machine as a user does: with the mouse, with keys, and while the network is away."""

import re

import httpx
import pytest
from playwright.sync_api import expect

GONE = re.compile("connection|answer|reach")
OPEN = "%load_ext lk_jupyter\nfrom lk_jupyter.widgets import MachinePicker\npicker = MachinePicker()\n"


def signed_in_to(cloud):
    return f'import os\nos.environ.update(LK_BASE_URL="{cloud.base_url}", LK_API_KEY="{cloud.api_key}")\n'


@pytest.mark.nightly  # by parts: test_widgets.py, MachinePicker.test.tsx, the panel's machines in test_panel.py
@pytest.mark.timeout(900)  # a whole path, on machines that do much else
def test_a_machine_is_found_chosen_made_the_default_and_run_on(open_notebook, accessible, make_cloud):
    cloud = make_cloud("--faults", "--no-capacity", "h100")
    run = "%%lk_run --machine $picker --dry-run\nprint(1)"
    book = open_notebook(
        f"{signed_in_to(cloud)}{OPEN}picker.every = 300\npicker",
        run,
        "picker.value, __import__('os').environ['LK_MACHINE']",
    )
    shown, page = book.run(0), book.page
    book.ended()
    expect(shown.get_by_role("radio")).to_have_count(7)

    shown.get_by_role("button", name="Filters").click()
    shown.get_by_label("GPU memory at least").fill("lots")
    expect(shown.get_by_role("alert").first).to_contain_text("Memory 'lots' isn't valid")
    shown.get_by_label("GPU memory at least").fill("60 GB")
    shown.get_by_label("Time limit").fill("10 min")
    expect(shown.get_by_role("row").nth(1)).to_contain_text("0.2654 credits")
    shown.get_by_label("Only available now").check()
    expect(shown.get_by_role("radio", name="H100")).to_have_count(0)

    shown.get_by_role("button", name="Cheapest match").focus()
    page.keyboard.press("Enter")
    expect(shown.get_by_role("radio", name="A100")).to_be_checked()
    shown.get_by_role("button", name="Price/h").press("Enter")
    expect(shown.get_by_role("columnheader", name="Price/h")).to_have_attribute("aria-sort", "descending")
    expect(shown.get_by_role("radio").first).to_have_accessible_name("B300")
    shown.get_by_role("radio", name="H200").press("Space")
    book.says_once(0, "Chosen")
    shown.get_by_role("button", name="Make H200 the default of this notebook").press("Enter")
    expect(shown.get_by_role("button", name="H200 is the default of this notebook")).to_be_disabled()

    for theme in book.themes():
        accessible(shown)
        book.picture(f"machine-picker-{theme}")
    page.set_viewport_size({"width": 1024, "height": 768})
    cut = "table => table.parentElement.scrollWidth - table.parentElement.clientWidth"
    assert shown.get_by_role("table").evaluate(cut) <= 0
    page.set_viewport_size({"width": 640, "height": 450})  # as at 200 %
    expect(shown.get_by_role("list", name="Machines")).to_have_css("list-style-type", "none")
    page.set_viewport_size({"width": 1280, "height": 900})

    faults = [{"path": "/vms/availability", "times": None, "lose_answer": True}]
    httpx.post(f"{cloud.base_url}/_faults", json=faults).raise_for_status()
    expect(shown.get_by_role("alert")).to_contain_text(GONE)
    expect(shown.get_by_role("radio", name="H200")).to_be_checked()
    httpx.delete(f"{cloud.base_url}/_faults").raise_for_status()
    expect(shown.get_by_role("alert")).to_have_count(0)

    expect(book.run(1)).to_contain_text("gpu.h200")
    expect(book.run(2)).to_contain_text("('gpu.h200', 'gpu.h200')")
    book.ended()
    book.keeps("Chosen: gpu.h200.")
    book.save()
    book.reopen()
    expect(book.output(0).get_by_role("row").filter(has_text="✓")).to_contain_text("gpu.h200")
    assert "not found" not in book.output(0).inner_text()
