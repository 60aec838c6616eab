"""``%lk_org`` and ``%lk_keys`` between two people of one cloud."""

import os
import re
from uuid import uuid4

import pytest
from magics.people import add_person, answers

from lk_jupyter.api._client import Client
from lk_jupyter.config import settings


@pytest.fixture(scope="module")
def people(cloud):
    return add_person(cloud), add_person(cloud)


@pytest.fixture
def act(people, home, cloud, monkeypatch):
    """A function that makes the first or the second person the user of the shell."""

    def act(number):
        monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
        monkeypatch.setenv("LK_API_KEY", people[number][1])
        return people[number][0]

    act(0)
    return act


@pytest.fixture
def team(act, run_cell):
    """An organization of the first person, in use."""
    slug = f"team-{uuid4().hex[:8]}"
    assert f"Created Our team ({slug})." in run_cell(f"%lk_org create 'Our team' --slug {slug}")
    assert f"You now act as {slug}." in run_cell(f"%lk_org use {slug}")
    return slug


@pytest.fixture
def both(act, team, run_cell):
    """The team with the second person as a member, who is the user now."""
    email = act(1)
    act(0)
    run_cell(f"%lk_org invite {email}")
    act(1)
    return team


def test_a_team_is_made_used_renamed_and_deleted(run_cell, team, monkeypatch):
    assert re.search(rf"^→ +{team} +Our team +owner", run_cell("%lk_org"), re.MULTILINE)
    assert "name is now Theirs" in run_cell(f"%lk_org rename Theirs --slug {team}-b")
    assert settings.setting("org") == f"{team}-b"
    assert re.search(r"Theirs", run_cell("%lk_org show"))
    monkeypatch.setattr("builtins.input", answers("no", f"{team}-b"))
    assert "Nothing was deleted." in run_cell(f"%lk_org delete {team}-b")
    assert f"Deleted {team}-b." in run_cell(f"%lk_org delete {team}-b")
    assert settings.setting("org") is None
    assert team not in run_cell("%lk_org")


def test_only_an_organization_that_one_is_in_can_be_used(run_cell, act):
    assert "You aren't a member of 'elsewhere'. Your organizations: " in run_cell("%lk_org use elsewhere")
    assert "needs an organization, or --default" in run_cell("%lk_org use")


def test_invoices_carry_what_was_set(run_cell, team):
    assert "No invoice address." in run_cell("%lk_org billing")
    shown = run_cell("%lk_org billing --company 'Example GmbH' --country DE --email books@example.com")
    assert re.search(r"Company +Example GmbH", shown)
    assert re.search(r"Country +DE", run_cell("%lk_org billing"))
    assert "billing_country" in run_cell("%lk_org billing --country Germany")


def test_a_member_is_added_promoted_and_removed(run_cell, act, team):
    other = act(1)
    act(0)
    assert f"Added {other} to {team} as member." in run_cell(f"%lk_org invite {other}")
    assert f"{other} is already a member of {team}." in run_cell(f"%lk_org invite {other}")
    assert re.search(rf"{other} +member", run_cell("%lk_org members"))
    assert f"{other} now has the role admin in {team}." in run_cell(f"%lk_org role {other} admin")
    assert f"Removed {other}" in run_cell(f"%lk_org remove {other} --yes")
    assert f"'{other}' isn't a member of {team}." in run_cell(f"%lk_org role {other} admin")
    assert "--role must be " in run_cell(f"%lk_org invite {other} --role king")


@pytest.mark.parametrize(
    ("line", "who"),
    [
        ("%lk_org invite new@example.com --org {team}", "Owners and admins"),
        ("%lk_org role {me} owner --org {team}", "Owners"),
        ("%lk_org rename Mine --org {team}", "Owners"),
        ("%lk_org billing --company Mine --org {team}", "Owners"),
        ("%lk_org delete {team} --yes", "Owners"),
        ("%lk_keys create ci --org {team}", "Owners and admins"),
    ],
)
def test_who_has_no_right_learns_who_has_it(run_cell, act, both, line, who):
    shown = run_cell(line.format(me=act(1), team=both))
    assert shown.startswith("Forbidden: ")
    assert f"{who} of {both} can do this. Members: %lk_org members --org {both}\n" in shown
    assert len(shown.splitlines()) == 3


def test_a_member_leaves(run_cell, both):
    assert f"You left {both}." in run_cell(f"%lk_org leave --org {both} --yes")


def test_who_has_no_account_is_invited_and_can_be_uninvited(run_cell, team):
    assert f"Invited new@example.com to {team} as admin." in run_cell("%lk_org invite new@example.com --role admin")
    assert re.search(rf"new@example.com +{team} +admin +%lk_org withdraw new@example.com", run_cell("%lk_org invites"))
    assert "Withdrew the invitation of new@example.com" in run_cell("%lk_org withdraw new@example.com")
    assert "has no open invitation for 'new@example.com'" in run_cell("%lk_org withdraw new@example.com")


def test_an_invitation_is_looked_up_by_its_link_and_accepted(run_cell, act, team, cloud, monkeypatch):
    email = f"{uuid4().hex[:8]}@example.com"
    run_cell(f"%lk_org invite {email}")
    mail = max((cloud.data / "mail").iterdir(), key=lambda path: path.stat().st_mtime).read_text()
    token = re.search(r"token: (\S+)", mail)[1]
    monkeypatch.setattr("getpass.getpass", lambda _: f"https://example.com/invites/{token}")
    assert f"Our team invites {email} as member." in run_cell("%lk_org invites --link")
    cloud.add_user(email, "correct horse")
    monkeypatch.setattr("getpass.getpass", answers("correct horse"))
    monkeypatch.delenv("LK_API_KEY")
    monkeypatch.delenv("LK_BASE_URL")
    assert f"Signed in to {cloud.base_url}" in run_cell(f"%lk_login --email {email} --base-url {cloud.base_url}")
    assert "You aren't a member of" in run_cell("%lk_org")
    assert "You now act as " in run_cell("%lk_org use --default")
    assert f"%lk_org accept {team}" in run_cell("%lk_org invites")
    assert "You joined Our team as member." in run_cell("%lk_org accept")
    assert "You have no invitation." in run_cell("%lk_org accept")


def test_the_ledger_is_a_table_and_a_plot(run_cell, shell, act):
    run_cell("%%lk_run --gpu A100\nprint(1)")
    shell.run_cell("ledger = %lk_org transactions --plot -n 20")
    ledger = shell.user_ns["ledger"]
    assert list(ledger.columns) == ["time", "credits", "source", "hardware", "description", "id"]
    assert (ledger.credits[ledger.source == "executions"] <= 0).all()
    assert len(ledger.credits[ledger.source == "executions"])
    shell.run_cell("sums = %lk_org spending executions --by hardware_profile")
    assert "gpu.a100" in list(shell.user_ns["sums"].hardware_profile)


def test_a_key_is_made_switched_off_and_revoked(run_cell, act, shell, cloud):
    name = f"key-{uuid4().hex[:6]}"
    shown = run_cell(f"%lk_keys create {name} --expires 90d --to-env MADE_KEY")
    secret = os.environ.pop("MADE_KEY")
    assert f"Secret of the key {name}: stored only in the variable MADE_KEY of this kernel" in shown
    assert secret not in shown
    with Client(cloud.base_url, secret) as client:
        assert client.user.status().email == act(0)
    assert re.search(rf"{name} +you +{secret[:8]}… +active", run_cell("%lk_keys"))
    assert f"{name} is off now." in run_cell(f"%lk_keys toggle {name}")
    assert "You are signed in with this key" not in run_cell(f"%lk_keys revoke {name} --yes")
    assert f"Unknown key '{name}'." in run_cell(f"%lk_keys revoke {name} --yes")


def test_a_new_key_is_printed_in_a_terminal_and_can_be_checked(run_cell, act, monkeypatch):
    secret = re.search(r"lk_\S+", run_cell("%lk_keys create once"))[0]
    monkeypatch.setattr("getpass.getpass", lambda _: secret)
    assert f"The key is valid: once, of {act(0)}, without expiry." in run_cell("%lk_keys check")
    monkeypatch.setattr("builtins.input", answers("n", "y"))
    assert "Nothing was changed." in run_cell("%lk_keys delete once")
    assert "Deleted once." in run_cell("%lk_keys delete once")
    assert "The key isn't valid" in run_cell("%lk_keys check")


def test_a_key_of_a_team_is_made_anew_and_deleted(run_cell, team, monkeypatch):
    monkeypatch.setenv("FIRST", "")  # the tests after this one don't get the keys, even if this one fails
    monkeypatch.setenv("SECOND", "")
    run_cell(f"%lk_keys create ci --org {team} --to-env FIRST")
    assert "A key 'ci' already exists" in run_cell(f"%lk_keys create ci --org {team}")
    assert "Revoked ci" in run_cell("%lk_keys revoke ci --yes")
    assert "stored only in the variable SECOND" in run_cell("%lk_keys regenerate ci --yes --to-env SECOND")
    assert os.environ["FIRST"] != os.environ["SECOND"]
    assert re.search(rf"ci +{team} +lk_\S+… +active", run_cell("%lk_keys list"))
    assert "Deleted ci." in run_cell("%lk_keys delete ci --yes")


def test_the_key_in_use_is_named_before_it_ends(run_cell, act, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    run_cell("%lk_keys revoke first")
    assert "You are signed in with this key." in " ".join(asked[0].split())
    assert "a personal key: its secret can't be replaced" in run_cell("%lk_keys regenerate first --yes")


def test_an_end_that_is_no_time_is_refused(run_cell, act):
    assert "--expires takes days or a date, got 'soon'." in run_cell("%lk_keys create later --expires soon")
