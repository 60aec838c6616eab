import re

import pytest
from playwright.sync_api import expect

#: Somebody who has not signed in, and whose home is empty.
NOBODY = """import os
os.environ.pop("LK_API_KEY")
os.environ.update(HOME={home!r}, XDG_CONFIG_HOME={home!r}, PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring")
from lk_jupyter.widgets import Login
Login()"""


def test_a_key_that_is_typed_signs_in_and_stands_nowhere(open_notebook, running_lab, cloud, tmp_path):
    book = open_notebook(NOBODY.format(home=str(tmp_path)))
    login = book.run(0)
    field = login.get_by_label(re.compile("^API key for"))
    field.fill("lk_" + "wrong" * 8)
    field.press("Enter")
    expect(login.get_by_role("alert")).to_contain_text("doesn't accept this key")
    expect(field).to_have_value("")
    field.fill(cloud.api_key)
    login.get_by_role("button", name="Sign in").press("Enter")
    expect(login).to_contain_text("Signed in as")
    expect(login.get_by_role("alert")).to_have_count(0)
    book.keeps("Signed in as")
    book.save()
    (saved,) = running_lab.root.glob("test_a_key*/notebook.ipynb")
    assert cloud.api_key not in saved.read_text("utf-8")
    assert cloud.api_key not in book.page.content()
    login.get_by_role("button", name="Sign out").click()
    expect(field).to_be_visible()


@pytest.mark.nightly  # by parts: OptionsForm.test.tsx, tests/widgets/test_form.py
def test_options_are_filled_in_by_keyboard_and_run_a_cell(open_notebook, accessible):
    book = open_notebook(
        "%load_ext lk_jupyter\nfrom lk_jupyter.options.runs import RunOptions\n"
        "from lk_jupyter.widgets import form_for\nform = form_for(RunOptions)\nform",
        "%%lk_run $form\nprint('ran')",
    )
    form = book.run(0)
    expect(form.locator("datalist option[value=A100]")).to_have_count(1)
    form.get_by_label("--timeout").fill("soon")
    expect(form.get_by_text("a duration such as 90s")).to_be_visible()
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
    expect(book.output(1)).to_contain_text("Completed")
