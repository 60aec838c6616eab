"""Messages of cells to the addresses of the setting notify."""

import json
import sys

import pytest
from journal.test_messages import inbox  # noqa: F401 (a fixture)

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # imported by apprise


@pytest.mark.nightly
def test_a_cell_that_fails_sends_state_time_cost_and_commands(run_cell, signed_in, inbox):  # noqa: F811
    run_cell("%%lk_run\nprint(1)")
    run_cell("%%lk_run\n1 / 0")
    [(_, post)], [mail] = inbox.posts, inbox.mails
    state, log, resume = json.loads(post)["message"].splitlines()
    assert json.loads(post)["title"].startswith("1 / 0 (")
    assert (state.startswith("failed · "), state.endswith("credits")) == (True, True)
    assert (log.startswith("Log: %lk_attach "), resume.startswith("Continue from a checkpoint: --resume ")) == (
        True,
        True,
    )
    assert "failed" in mail


def test_a_cell_shows_the_missing_extra_of_the_setting_notify_and_runs(run_cell, signed_in, monkeypatch):
    monkeypatch.setenv("LK_NOTIFY", "ntfy://s3cr3t")
    monkeypatch.setitem(sys.modules, "apprise", None)
    output = run_cell("%%lk_run\nprint(1)")
    assert '⚠ The setting notify needs apprise: %pip install "apprise>=1.9"' in output
    assert "s3cr3t" not in output + run_cell("%lk_config")
