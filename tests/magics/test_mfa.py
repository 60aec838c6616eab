"""``%lk_mfa`` in a shell and in a kernel, where nothing of it may be kept."""

import re
import time

import pyotp
import pytest
from magics.people import add_person


@pytest.fixture
def person(cloud, home, monkeypatch):
    email, key = add_person(cloud)
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", key)
    return email


def test_a_second_factor_is_enrolled_used_and_switched_off(run_cell, person, monkeypatch):
    assert "The second factor is off. Turn it on: %lk_mfa enrol" in run_cell("%lk_mfa")
    told = run_cell("%lk_mfa enrol")
    assert f"Second factor of {person}" in told
    assert "█" in told
    app, now = pyotp.TOTP(re.search(r"Seed +(\w+)", told)[1]), int(time.time())
    typed = iter(
        [app.at(now - 30), "12345", app.at(now), re.search(r"Backup code 3 +(\w+)", told)[1], app.at(now + 30)]
    )
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert "The second factor is on: to sign in" in run_cell("%lk_mfa verify")
    assert "A code of the app has six digits" in run_cell("%lk_mfa codes")
    assert "The second factor is on, since" in run_cell("%lk_mfa status")
    assert len(re.findall(r"Backup code \d+ ", run_cell("%lk_mfa codes"))) == 10
    assert "Invalid verification code" in run_cell("%lk_mfa verify")
    assert "The second factor is off: your password alone" in run_cell("%lk_mfa disable")


def test_signing_in_by_password_asks_for_the_second_factor(run_cell, cloud, person, monkeypatch):
    told = run_cell("%lk_mfa enrol")
    app, now = pyotp.TOTP(re.search(r"Seed +(\w+)", told)[1]), int(time.time())
    typed = iter([app.at(now - 30), "correct horse", app.at(now)])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    run_cell("%lk_mfa verify")
    for variable in ("LK_API_KEY", "LK_BASE_URL"):
        monkeypatch.delenv(variable)
    assert person in run_cell(f"%lk_login --email {person} --base-url {cloud.base_url}")


def test_a_notebook_keeps_nothing_of_what_is_shown_once(kernel, cloud):
    email, key = add_person(cloud)
    kernel.run(f"%env LK_API_KEY={key}")
    cell = kernel.run("%lk_mfa enrol\n%lk_keys create shown-once")
    first, second = cell.shown
    assert (
        first == f"Second factor of {email}: can be shown once, until this kernel ends; it isn't saved in the notebook."
    )
    assert second.startswith("Secret of the key shown-once: can be shown once")
    state = kernel.run("import json, ipywidgets; print(json.dumps(ipywidgets.Widget.get_manager_state()))").text
    kernel.run("import gc; from lk_jupyter.widgets.once import Once")
    kernel.run("ones = [found for found in gc.get_objects() if isinstance(found, Once)]")
    seeds = eval(kernel.value("sorted(value for one in ones for _, value in one._secret.rows)"))
    assert len(seeds) == 12
    said = f"{cell.messages} {state}"
    assert not [value for value in seeds if value in said]
    kernel.run("answers = [one.reveal() for one in ones]")
    assert "already shown once, and the kernel no longer has it" in kernel.run("ones[0].reveal()").error["evalue"]
    kernel.run(f"%env LK_API_KEY={cloud.api_key}")
