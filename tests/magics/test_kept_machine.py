"""A notebook keeps its machine between cells: ``--keep``, the answer of the question, and values on the machine."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import pytest
from localcloud.conftest import until

from lk_jupyter.config.consents import consents_file
from lk_jupyter.config.files import read_json
from lk_jupyter.errors import NoSuchObject
from lk_jupyter.magics import sessions
from lk_jupyter.magics._engine.kept_machine import machine_name
from lk_jupyter.remote.script import session
from lk_jupyter.runs.notebooks import saved_variables, warm_python
from lk_jupyter.runs.package import prepare
from lk_jupyter.runs.variables.remote_value import RemoteValue

pytestmark = pytest.mark.xdist_group("hosted")

LINE, PRICED = "%%lk_run --keep 5m --machine cpu", "%%lk_run --keep 5m --gpu A100"


@pytest.fixture
def user(hosting, home, monkeypatch):
    """The user of a notebook, signed in to the cloud that hosts Jupyter servers; the machine ends with the test."""
    monkeypatch.setenv("LK_BASE_URL", hosting.base_url)
    monkeypatch.setenv("LK_API_KEY", hosting.api_key)
    yield hosting
    for warm in [*warm_python.connected_warm_pythons.values()]:
        warm.stop()


def active(user):
    return [run for run in user.client.workloads.list() if str(run.run_name).startswith("session kernel-")]


def test_cells_of_a_notebook_share_a_machine_whose_price_and_release_are_in_the_receipt(user, run_cell, shell):
    run_cell("rows = [1, 2]")
    output = run_cell(f"{PRICED}\nrows.append(3)\ntotal = sum(rows)\nprint('total', total)")
    assert "total 6\n" in output
    assert re.search(r"completed .* A100 at [\d.]+ credits/h · released at \d\d:\d\d unless used · .* so far", output)
    assert (shell.user_ns["rows"], shell.user_ns["total"]) == ([1, 2, 3], 6)
    run_cell("rows.append(4)")
    assert "[1, 2, 3, 4]\n" in run_cell(f"{PRICED}\nprint(rows)")
    assert len(active(user)) == 1
    assert "■ released" in run_cell("%lk_sessions stop")
    assert active(user) == []
    history_text = run_cell("%lk_runs")
    assert "■ released" in history_text
    assert "cancelled" not in history_text


def test_the_plan_of_a_kept_machine_shows_its_cell_and_what_ends_its_bill_and_sends_nothing(user, run_cell):
    plan = run_cell(f"{PRICED} --dry-run\nprint(1)")
    assert re.search(r"Machine +gpu\.a100, 80 GiB, 1\.59 credits/h", plan)
    assert re.search(r"Cost +at most [\d.]+ credits \(time limit \d+ s\), for all cells on this machine together", plan)
    release = r"%lk_sessions stop, or after 5 min without work, or at its time limit of 10 min"
    assert re.search(rf"Billed until +{release}\n", plan)
    assert re.search(r"Code +\S*cell.py, 9 B", plan)
    assert "8888" not in plan
    assert active(user) == []


@pytest.mark.nightly
def test_a_large_value_stays_on_the_machine_until_a_local_cell_reads_it(user, run_cell, shell, monkeypatch):
    monkeypatch.setattr(prepare, "HANDLE_BYTES", 10_000)
    run_cell("part = [1]")
    output = run_cell(f"{LINE}\nbig = {{'data': bytes(50_000), 'part': part}}\nalias = big\nn = len(big['data'])")
    assert (
        "These variables stay on the machine until a cell of this notebook reads them: big (dict, 50.0 kB), alias"
        in output
    ), output
    assert type(shell.user_ns["big"]) is RemoteValue
    assert shell.user_ns["n"] == 50_000
    run_cell(f"{LINE}\nbig['part'].append(2)")  # the machine changes a value of the notebook inside its own value
    assert shell.user_ns["part"] == [1, 2]
    run_cell("def count(): return len(big['data'])")
    assert "50000" in run_cell("print(count())")
    assert shell.user_ns["big"]["part"] is shell.user_ns["part"]
    assert shell.user_ns["alias"] is shell.user_ns["big"]
    run_cell(f"{LINE}\nalias['part'].append(3)")
    assert shell.user_ns["part"] == [1, 2, 3]


@pytest.mark.nightly
def test_a_value_that_cannot_be_returned_is_no_older_value_here(user, run_cell, shell):
    run_cell("it = [0]")
    run_cell(f"{LINE}\nit = iter(open(__import__('os').devnull))")
    output = run_cell("print(it + 1)")
    assert "Error" in output
    assert type(shell.user_ns["it"]) is RemoteValue


def test_the_machine_moves_with_its_values_before_its_limit_and_the_objects_stay_the_same(
    user, run_cell, shell, monkeypatch
):
    monkeypatch.setattr(prepare, "HANDLE_BYTES", 10_000)
    run_cell("part = [1]")
    run_cell(f"{LINE}\nbig = {{'data': bytes(50_000), 'part': part}}\nfile = open(__import__('os').devnull)")
    (first,) = active(user)
    monkeypatch.setattr(sessions, "_must_move", lambda *_: True)
    output = run_cell(f"{LINE}\nbig['part'].append(2)\nprint('same', big['part'] is part, len(big['data']))")
    assert "continues on a new machine. Restored: big, part." in output, output
    assert "same True 50000\n" in output
    assert "Not restored: file " in output
    (second,) = active(user)
    assert first.execution_id != second.execution_id
    assert shell.user_ns["part"] == [1, 2]


@pytest.mark.nightly
def test_a_value_of_a_released_machine_is_read_from_the_saved_variables(user, run_cell, shell, monkeypatch):
    monkeypatch.setattr(prepare, "HANDLE_BYTES", 10_000)
    run_cell(f"{LINE}\nbig = bytes(50_000)")
    (warm,) = warm_python.connected_warm_pythons.values()
    warm.release()
    assert active(user) == []
    assert "50000" in run_cell("print(len(big))")
    assert active(user) == []


def test_a_value_that_is_lost_with_the_python_of_the_machine_is_reported_and_small_values_are_here(
    user, run_cell, shell, monkeypatch
):
    monkeypatch.setattr(prepare, "HANDLE_BYTES", 10_000)
    monkeypatch.setattr(warm_python, "place_to_save", lambda *_: None)
    run_cell(f"{LINE}\nbig, small = bytes(50_000), 7")
    run_cell(f"{LINE}\nimport os\nos._exit(1)")
    output = run_cell("print(len(big))")
    assert "Lost with the Python of session kernel-" in output, output
    assert "The value is lost: the Python of the session has ended." in output
    assert "8\n" in run_cell(f"{LINE}\nprint(small + 1)")


def save_moment(warm):
    """Wait until the last cell of a session is in its saved moment."""
    place = read_json(saved_variables.saved_file())[warm.name]
    storage, last = warm.run.session.storage, time.time()

    def has_moment():
        with suppress(NoSuchObject):
            saved = session.read_saved(bytes(storage.get_bytes(place["object"])), place["key"])
            return saved is not None and saved[2] is not None and saved[2] > last
        return False

    warm.execute("pass").answer()
    until(has_moment)


def test_a_machine_that_is_killed_returns_its_last_saved_moment_and_the_values_here_are_sent_again(
    user, run_cell, shell, monkeypatch
):
    monkeypatch.setattr(prepare, "HANDLE_BYTES", 10_000)
    run_cell(f"{LINE}\nbig, small = bytearray(50_000), [7]")
    (warm,) = warm_python.connected_warm_pythons.values()
    save_moment(warm)
    shell.user_ns["small"].append(8)
    user.client.workloads.abort(warm.run.execution_id)
    until(lambda: not active(user) and not warm.channel.is_connected)
    output = run_cell(f"{LINE}\nprint('again', len(big), small)")
    assert re.search(r"Restored, as they were at \d\d:\d\d:\d\d: .*big.*small", output), output
    assert "again 50000 [7, 8]\n" in output, output


@pytest.mark.nightly
def test_a_python_that_ends_returns_its_last_saved_moment(user, run_cell, shell, monkeypatch):
    monkeypatch.setattr(prepare, "HANDLE_BYTES", 10_000)
    run_cell(f"{LINE}\nbig = bytes(50_000)")
    (warm,) = warm_python.connected_warm_pythons.values()
    save_moment(warm)
    run_cell(f"{LINE}\nimport os\nos._exit(1)")
    assert "50000" in run_cell("print(len(big))")
    assert len(active(user)) == 1


@pytest.mark.nightly
def test_the_machine_is_released_after_the_idle_time(user, run_cell):
    run_cell("%%lk_run --keep 2s --machine cpu\nx = 1")
    until(lambda: not active(user))


@pytest.mark.nightly
def test_a_restarted_kernel_keeps_the_machine_and_none_of_its_variables(user, run_cell, monkeypatch):
    run_cell(f"{LINE}\nstate = 1")
    for warm in [*warm_python.connected_warm_pythons.values()]:
        warm.close()
    monkeypatch.setattr(saved_variables, "OWNER", "another process")
    monkeypatch.setattr(warm_python, "OWNER", "another process")
    run_cell("del state")
    output = run_cell(f"{LINE}\nprint('state' in list(get_ipython().user_ns))")
    assert "False\n" in output, output
    assert len(active(user)) == 1


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (
            "--keep 5m --session x",
            "Remove --keep, because --session already keeps its machine (see --idle). Nothing was sent.",
        ),
        ("--keep 5m --fresh", "--keep and --fresh can't be used together. Nothing was sent."),
        ("--keep 5m --detach", "--detach doesn't work with --keep. Nothing was sent."),
        ("--keep 5m --gpu A100,H100", "--keep doesn't work with several runs. Nothing was sent."),
        ("--keep 5m --gpu A100 --max-cost 0.000001", "--max-cost under 0.0001 credits is too low for gpu.a100"),
        ("--keep 5m", "The cell uses undefined names: 'undefined_name'. Nothing was sent."),
    ],
)
def test_what_a_kept_machine_cannot_honor_is_refused_before_anything_is_sent(user, run_cell, line, refused):
    output = run_cell(f"%%lk_run {line}\nprint({'undefined_name' if line == '--keep 5m' else 1})")
    assert refused in output, output
    assert active(user) == []


def test_a_budget_refuses_a_machine_before_anything_is_sent(user, run_cell, monkeypatch):
    monkeypatch.setenv("LK_DAY_BUDGET", "0.0001")
    output = run_cell("%%lk_run --keep 5m --gpu A100\nprint(1)")
    assert "budget" in output, output
    assert active(user) == []


@pytest.mark.nightly
def test_a_setting_keeps_the_machine_and_an_option_that_it_cannot_honor_starts_a_run(user, run_cell, monkeypatch):
    monkeypatch.setenv("LK_KEEP", "5m")
    assert "released at" in run_cell("%%lk_run --machine cpu\nprint(1)")
    assert "released at" not in run_cell("%%lk_run --machine cpu --keep 0\nprint(1)")
    assert "released at" not in run_cell("%%lk_run --machine cpu --name own\nprint(1)")
    assert machine_name().startswith("kernel-")
    assert not consents_file().exists()
