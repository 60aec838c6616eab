"""What is shown once: seen in the browser, hidden when the user has it, and in no saved notebook."""

import re

import pytest
from magics.people import add_person
from playwright.sync_api import expect


@pytest.mark.nightly  # in a kernel: tests/magics/test_mfa.py
@pytest.mark.timeout(900)  # a whole path, on machines that do much else
def test_codes_are_shown_once_and_not_saved(open_notebook, running_lab, accessible, cloud):
    email, key = add_person(cloud)
    sign_in = f"%env LK_API_KEY={key}\n%load_ext lk_jupyter"
    pages = ("%lk_help", "%lk_vm create --gpu A100 --count 2 --dry-run --key key.pub", "%lk_org", "%lk_pricing spot")
    made = "!echo ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO5Lc8oW me > key.pub"
    book = open_notebook(sign_in, "%lk_mfa enrol", "%lk_keys create laptop", made, *pages)
    book.run(0)
    book.ended()
    factor = book.run(1)
    book.ended()
    expect(factor.get_by_text("This content isn't saved in the notebook.", exact=True)).to_be_visible()
    book.picture("once-before")
    factor.get_by_role("button", name="Show once").press("Enter")
    expect(factor.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
    codes = factor.get_by_role("definition").all_inner_texts()
    assert len(codes) == 11
    for theme in book.themes():
        accessible(factor)
        book.picture(f"once-{theme}")
    book.save()
    kept = "".join(path.read_text() for path in running_lab.root.rglob("notebook*.ipynb"))
    assert f"Second factor of {email}" in kept
    assert not [code for code in codes if code in kept]
    factor.get_by_role("button", name="Hide").press("Enter")
    expect(factor.get_by_text("Already shown once.")).to_be_visible()
    assert not [code for code in codes if code in factor.inner_text()]

    second = book.run(2)
    book.ended()
    second.get_by_role("button", name="Show once").click()
    secret = second.get_by_role("definition").inner_text()
    assert secret.startswith("lk_")
    book.save()
    assert secret not in "".join(path.read_text() for path in running_lab.root.rglob("*.ipynb"))
    for cell in range(3, 4 + len(pages)):
        book.run(cell)
        book.ended()
        book.picture(f"team-{cell}")
