"""Values that are the last line of a cell."""

import re

import pytest

import lk_jupyter
from lk_jupyter import session
from lk_jupyter.account.spending import read_spending
from lk_jupyter.machines.catalogue import Catalogue
from lk_jupyter.runs.metrics import metrics
from lk_jupyter.views import formatters


@pytest.fixture
def connected(signed_in):
    return session.current()


@pytest.fixture
def shown(shell):
    """What a notebook gets for a value."""
    return lambda value: shell.display_formatter.format(value)[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda at: at.client.machine_types.list(), "gpu.l40s"),
        (lambda at: list(at.client.machine_types.list()), "gpu.l40s"),
        (lambda at: at.machines(), "You may use it"),
        (lambda at: at.client.pricing.get(), "Virtual machines, credits per hour"),
        (lambda at: at.client.billing.credits(), "Left"),
        (lambda at: at.balance(), "Running now"),
        (read_spending, "Last 30 days"),
        (lambda at: at.storage.ls("pictures"), "pictures/a.csv"),
        (lambda at: list(at.storage.ls("pictures")), "pictures/a.csv"),
        (lambda at: at.storage.tree("pictures"), "└── a.csv"),
    ],
)
def test_a_value_is_shown_as_html_and_text(connected, shown, value, words):
    connected.storage.put(b"x", "pictures/a.csv")
    bundle = shown(value(connected))
    assert words in bundle["text/plain"]
    assert '<div class="lk-picture">' in bundle["text/html"]


def test_a_run_is_shown_as_it_is_now(connected, shown):
    run = connected.run("print(6 * 7)", machine="cpu")
    run.wait()
    bundle = shown(run)
    assert re.search(r"^State +✓ completed$", bundle["text/plain"], re.MULTILINE)
    assert f"Log: %lk_logs {run.short_id}" in bundle["text/html"]
    assert run.execution_id in bundle["text/plain"]
    assert "Metrics of run" in shown(run.metrics())["text/plain"]
    assert "Metrics of run" in shown(metrics.read(run))["text/html"]


def test_a_run_that_failed_says_why(connected, shown):
    run = connected.run("1 / 0", machine="cpu")
    run.wait()
    assert "ended with exit code 1 (ZeroDivisionError: division by zero)" in shown(run)["text/plain"]


def test_a_run_of_a_server_that_is_gone_is_shown_as_it_was_last_known(shown, make_cloud, home):
    cloud = make_cloud()
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        run = connected.run("print(1)", machine="cpu")
        cloud.stop()
        text = shown(run)["text/plain"]
    assert run.execution_id in text
    assert "Last known state: " in text


def test_marimo_shows_a_run_machines_and_a_listing(connected):
    formatters.register_in_marimo()
    connected.storage.put(b"x", "pictures/a.csv")
    run = connected.run("print(6 * 7)", machine="cpu")
    run.wait()
    listing = connected.storage.ls("pictures")
    for value, words in ((run, run.short_id), (connected.machines(), "gpu.l40s"), (listing, "pictures/a.csv")):
        mime, html = value._display_()._mime_()
        assert mime == "text/html"
        assert words in html


@pytest.mark.parametrize("value", [[], [1, 2], ["a"], [Catalogue(())]])
def test_other_lists_are_left_as_they_are(shown, value):
    assert "text/html" not in shown(value)


def test_a_list_of_several_kinds_is_left_as_it_is(connected, shown):
    assert "text/html" not in shown([*connected.client.machine_types.list(), 1])


def test_lists_are_shown_as_before_when_the_extension_is_gone(connected, shown, shell):
    types = list(connected.client.machine_types.list())
    lk_jupyter.unload_ipython_extension(shell)
    assert "text/html" not in shown(types)
    assert shown([1, 2])["text/plain"] == "[1, 2]"
    lk_jupyter.load_ipython_extension(shell)
    assert "<table" in shown(types)["text/html"]


def test_values_inside_of_others_are_as_short_as_before(connected, shown):
    first = connected.client.machine_types.list()[0]
    assert shown({"machine": first})["text/plain"].startswith("{'machine': MachineType(hardware_profile=")
