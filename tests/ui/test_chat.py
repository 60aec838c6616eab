"""A talk in Lab: in a cell, and typed into the widget."""

import pytest
from playwright.sync_api import expect

CELL = "%%lk_chat up/large\n**one** two three"
WIDGET = 'from lk_jupyter.widgets import Chat\nchat = Chat("up/large")\nchat'


@pytest.mark.timeout(300)  # a whole path, on machines that do much else
def test_a_question_is_asked_with_keys_and_its_answer_comes_piece_by_piece(
    open_notebook, accessible, talkative, upstream
):
    signed_in = f'import os\nos.environ.update(LK_BASE_URL="{talkative.base_url}", LK_API_KEY="{talkative.api_key}")\n'
    book = open_notebook(f"{signed_in}%load_ext lk_jupyter", CELL, WIDGET, "len(chat.messages)")
    book.run(0)
    book.ended()
    said = book.run(1)
    book.ended()
    expect(said).to_contain_text("7 + 5 tokens")
    expect(said.locator("strong").first).to_have_text("ONE")

    shown, page = book.run(2), book.page
    book.ended()
    question = shown.get_by_label("Question")
    upstream.hold.clear()
    question.fill("one <b>two</b>")
    question.press("Enter")
    log = shown.get_by_role("log")
    expect(log).to_contain_text("ONE")
    expect(question).to_have_value("")
    expect(shown.get_by_role("button", name="Stop")).to_be_visible()
    question.press("Escape")
    expect(shown.get_by_role("button", name="Ask")).to_be_visible()
    upstream.hold.set()
    question.fill("again <i>")
    page.keyboard.press("Enter")
    expect(log).to_contain_text("AGAIN<I>")
    expect(log).to_contain_text("one <b>two</b>")
    expect(shown.get_by_text("Cost so far")).to_be_visible()
    for theme in book.themes():
        accessible(shown)
        book.picture_of(2, f"widget-chat-{theme}")
    expect(book.run(3)).to_contain_text("4")
