"""The check that other tests trust: it finds what hinders users, names it, and leaves the rest alone."""

import pytest

from ui import axe

GOOD = "<html lang='en'><title>A page</title><main><h1>Words</h1><button>Press</button></main></html>"
BAD = "<p style='color: #bbb; background: #fff'>Pale words</p><button id='nameless'></button>"


def test_what_hinders_users_is_named_with_its_place(page, accessible):
    page.set_content(GOOD.replace("</main>", f"{BAD}</main>"))
    with pytest.raises(AssertionError, match=r"(?s)button-name.*nameless.*color-contrast.*Pale words"):
        accessible(page)


def test_what_stands_in_a_body_without_height_as_in_lab_is_seen_too(page, accessible):
    lab = "<style>body {overflow: hidden} #lab {position: absolute; inset: 0}</style><div id='lab' role='region'>"
    page.set_content(GOOD.replace("</main>", f"</main>{lab}{BAD}</div>").replace("<h1>Words</h1>", ""))
    with pytest.raises(AssertionError, match=r"(?s)color-contrast.*Pale words"):
        accessible(page.locator("#lab"))


def test_two_buttons_of_one_name_are_named_unless_they_are_of_two_views(page):
    view = "<section aria-label='one'><button>Abort</button></section>"
    page.set_content(GOOD.replace("</main>", f"{view}{view}</main>"))
    assert not axe.namesakes(page.locator("main"))
    page.locator("section").first.evaluate("section => { section.innerHTML += section.innerHTML; }")
    assert len(axe.namesakes(page.locator("main"))) == 1


def test_a_page_that_hinders_nobody_passes(page, accessible):
    page.set_content(GOOD)
    accessible(page)


def test_a_part_is_checked_without_the_rest(page, accessible):
    page.set_content(GOOD.replace("</main>", f"{BAD}</main>"))
    accessible(page.get_by_role("button", name="Press"))
