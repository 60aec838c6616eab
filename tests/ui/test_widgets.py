from playwright.sync_api import expect


def test_a_widget_lives_with_its_kernel_and_leaves_its_last_state_without_it(open_notebook, accessible):
    book = open_notebook("from lk_jupyter.widgets import Login\nLogin()")
    book.run_all()
    expect(book.output(0).get_by_role("button", name="Sign out")).to_be_visible()
    accessible(book.output(0))
    book.save()
    book.reopen_without_kernel()
    expect(book.output(0)).to_contain_text("Signed in as")
    expect(book.output(0).get_by_role("button")).to_have_count(0)
    assert "not found" not in book.output(0).inner_text()


def test_options_are_filled_in_by_keyboard_and_run_a_cell(open_notebook, accessible):
    book = open_notebook(
        "%load_ext lk_jupyter\nfrom lk_jupyter.options import RunOptions\n"
        "from lk_jupyter.widgets import form_for\nform = form_for(RunOptions)\nform",
        "%%lk_run $form\nprint('ran')",
    )
    form = book.run(0)
    expect(form.locator("datalist option[value=A100]")).to_have_count(1)
    form.get_by_label("--timeout").fill("soon")
    expect(form.get_by_text("valid integer")).to_be_visible()
    accessible(form)
    form.get_by_label("--timeout").fill("50")
    form.get_by_label("--gpu").focus()
    book.page.keyboard.type("A100")
    expect(form.get_by_text("--gpu A100 --timeout 50")).to_be_visible()
    for theme in book.themes():
        book.picture(f"form-{theme}")
    book.run(1)
    book.ended()
    expect(book.output(1)).to_contain_text("ran")
    expect(book.output(1)).to_contain_text("completed")
