"""The question in Lab before a cell sends variables: one line with buttons."""

import pytest
from playwright.sync_api import expect

READS = "%%lk_run --gpu A100\nX.append(4)\nprint(len(X), y)"


def question(page):
    return page.get_by_role("group", name="This cell reads y, X")


@pytest.mark.timeout(900)
def test_a_newcomers_cell_reads_variables_after_one_click_and_the_notebook_keeps_no_answer(
    open_notebook, page, accessible
):
    book = open_notebook("%load_ext lk_jupyter\nX, y = [1, 2, 3], 'label'", READS, READS)
    for cell in range(3):
        book.run(cell)
    group = question(page)
    expect(group).to_contain_text("Members of your organization can read the values.")
    price = "0.1325 credits per pause, at most 0.2654 credits per machine"
    expect(group).to_contain_text(f"Keeping the machine for 5 min between cells costs {price}.")
    buttons = group.get_by_role("button")
    expect(buttons).to_have_text(["Always in this notebook", "Once", "Keep the machine", "Fresh process"])
    assert len({button.bounding_box()["y"] for button in buttons.all()}) == 1  # in one row
    assert page.evaluate("document.activeElement.tagName") != "BUTTON"  # a key for a cell gives no permission
    expect(group.get_by_role("textbox")).to_have_count(0)
    accessible(group)
    book.pictures("sync-question")
    group.get_by_role("button", name="Always in this notebook").click()
    book.ended()
    book.says_once(1, "Completed")
    expect(book.output(1)).to_contain_text("4 label")
    expect(book.output(2)).to_contain_text("5 label")  # without another question
    for cell in (1, 2):
        expect(book.output(cell)).to_contain_text("Sent: ")
        expect(book.output(cell)).not_to_contain_text("Send these variables and return changes?")
    content = page.evaluate("() => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON())")
    assert "Always in this notebook" not in content
    assert "lways" not in content


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_cell_that_reads_all_variables_has_no_button_for_always_and_a_fresh_process_gets_none(open_notebook, page):
    book = open_notebook("%load_ext lk_jupyter\nX = [1]", "%%lk_run --gpu A100\nprint('X' in globals())")
    book.run(0)
    book.run(1)
    group = page.get_by_role("group", name="This cell reads all variables: X")
    expect(group.get_by_role("button")).to_have_text(["Once", "Fresh process"])
    group.get_by_role("button", name="Fresh process").click()
    book.ended()
    expect(book.output(1)).to_contain_text("False")
