"""Relays: chains of real runs of a local cloud, each continued from the checkpoint of the run before."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest
from patience import wait_until

import lk_jupyter
from lk_jupyter.errors import RunAborted, RunFailed, UsageError
from lk_jupyter.options.history import HistoryOptions
from lk_jupyter.protocol.frames import read_nonce, split
from lk_jupyter.runs.history.history import history
from lk_jupyter.runs.observers.relay import RelayProgress
from lk_jupyter.runs.relay import Leg, RelayFacts, list_members, read_relay, relay_folder
from lk_jupyter.runs.run import Run
from lk_jupyter.serverext.drivers import continue_runs
from lk_jupyter.text.units import credits_label

#: Counts to LAST, and saves each step.
COUNT = """
import json, os, time
import lk_jupyter
from lk_jupyter.remote.checkpoints import report_saved

path = lk_jupyter.checkpoint_folder() / "state.json"
first = json.loads(path.read_text()) if path.exists() else 0
for step in range(first, LAST):
    print("line", step, flush=True)
    time.sleep(0.1)
    path.with_suffix(".tmp").write_text(json.dumps(step + 1))
    os.replace(path.with_suffix(".tmp"), path)
    report_saved()
"""


@pytest.fixture
def session(signed_in, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # not next to the package, which code that imports it would upload
    monkeypatch.setenv("LK_MAX_TIMEOUT", "12")
    with lk_jupyter.connect() as connected:
        yield connected


def start(session, code, **options):
    return session.run(code, **{"relay": True, "timeout": 120, "max_cost": 2, "gpu": "A100", **options})


def facts_of(run):
    return read_relay(run.execution_id.removeprefix("r-"))


def lines_of(run):
    """Return the printed lines, without the messages to the notebook."""
    text = "".join(getattr(event, "content", "") for event in run.follow())
    return [line for line in text.splitlines() if not line.startswith("\x1b")]


def active_runs(session):
    return [run for run in session.client.workloads.list() if run.status in {"pending", "running"}]


@pytest.mark.nightly
def test_a_relay_has_each_line_once_in_order_with_one_bill_and_one_row(session):
    run = start(session, COUNT.replace("LAST", "150").replace("step, flush", r"step, '\x1b[32mgreen\x1b[0m', flush"))
    assert lines_of(run) == [f"line {i} \x1b[32mgreen\x1b[0m" for i in range(150)]
    facts = facts_of(run)
    bills = [session.client.execution.get(leg.execution_id).billed for leg in facts.legs]
    assert len(bills) > 1
    assert (run.status, run.cost) == ("completed", sum(bills))
    members = list_members()
    places = [members[leg.execution_id] for leg in facts.legs]
    assert places == [f"relay {run.short_id}, run {n} of {len(bills)}" for n in range(1, len(bills) + 1)]
    [notice] = RelayProgress().ended(run, run.record)
    assert notice.text == f"{len(bills)} runs, {credits_label(sum(bills))} together."
    rows = [row.execution_id for row in history(session, HistoryOptions()).runs]
    assert run.execution_id in rows
    assert not {leg.execution_id for leg in facts.legs} & set(rows)
    assert active_runs(session) == []


def test_the_runs_of_a_relay_show_their_place_of_about_how_many(home):
    legs = [Leg(token=f"{n}", limit=600, log_start=0, start_time=0, execution_id=f"run-{n}") for n in (1, 2)]
    facts = RelayFacts(
        token="1a2b3c4d", base_url="local", machine="gpu.a100", created_at=0, job={}, request={},
        seconds=7200, limit=600, legs=legs,
    )  # fmt: skip
    relay_folder().mkdir(parents=True)
    (relay_folder() / "1a2b3c4d.json").write_text(facts.model_dump_json())
    assert list_members() == {f"run-{n}": f"relay r-1a2b3c, run {n} of about 15" for n in (1, 2)}
    run = SimpleNamespace(session=SimpleNamespace(vm_run=SimpleNamespace(facts=facts)))
    assert RelayProgress().tick(run, 5.0, "") == ["run 2 of about 15"]
    assert [notice.text for notice in RelayProgress().ended(run, None)] == ["2 runs, with a bill missing."]
    assert RelayProgress().ended(SimpleNamespace(session=SimpleNamespace(vm_run=None)), None) == []


@pytest.mark.nightly
def test_files_that_stay_unchanged_continue_without_a_report_and_lose_no_line(session, monkeypatch):
    monkeypatch.setenv("LK_MAX_TIMEOUT", "30")
    code = COUNT.replace("report_saved()\n", "").replace("LAST", "10").replace("0.1", "3")
    run = start(session, code)
    lines_of(run)
    text, _ = split(run.log_path.read_text(), read_nonce(run.request_metadata))
    lines = [line for line in text.splitlines() if line.startswith("line")]
    assert list(dict.fromkeys(lines)) == [f"line {i}" for i in range(10)]
    assert 0 <= len(lines) - 10 < len(facts_of(run).legs) > 1


@pytest.mark.nightly
def test_the_jupyter_server_continues_a_relay_whose_kernel_was_killed(session):
    program = (
        "import lk_jupyter, sys\n"
        "run = lk_jupyter.connect().run(sys.argv[1], relay=True, timeout=120, max_cost=2, gpu='A100')\n"
        "print(run.execution_id, flush=True)\nrun.wait()"
    )
    code = COUNT.replace("LAST", "150")
    with subprocess.Popen([sys.executable, "-c", program, code], stdout=subprocess.PIPE, text=True) as child:
        run_id = child.stdout.readline().strip()
        wait_until(lambda: read_relay(run_id.removeprefix("r-")).is_started)
        os.kill(child.pid, signal.SIGKILL)
    asyncio.run(continue_runs())
    wait_until(lambda: read_relay(run_id.removeprefix("r-")).state.get("is_final"))
    assert stat.S_IMODE((relay_folder() / f"{run_id.removeprefix('r-')}.json").stat().st_mode) == 0o600
    run = Run.attach(session, run_id)
    assert lines_of(run) == [f"line {i}" for i in range(150)]
    assert (run.status, active_runs(session)) == ("completed", [])


@pytest.mark.nightly
def test_an_abort_ends_the_current_run_and_starts_no_other(session):
    run = start(session, COUNT.replace("LAST", "1000"))
    for event in run.follow():
        if "line 5\n" in getattr(event, "content", ""):
            run.abort_soon()
    with pytest.raises(RunAborted):
        run.result()
    assert (len(facts_of(run).legs), active_runs(session)) == (1, [])


@pytest.mark.nightly
def test_a_relay_costs_at_most_its_maximum_cost(session):
    run = start(session, COUNT.replace("LAST", "1000"), max_cost=Decimal("0.012"))
    with pytest.raises(RunAborted, match=r"--max-cost 0\.012 allows 26 s, and this time has passed"):
        run.result()
    assert 0 < run.cost <= Decimal("0.012")
    assert len(facts_of(run).legs) > 1


@pytest.mark.nightly
def test_code_that_saves_nothing_within_the_limit_of_a_run_ends_the_relay(session):
    run = start(session, "import lk_jupyter, time; lk_jupyter.checkpoint_folder(); time.sleep(60)")
    with pytest.raises(RunFailed, match="No checkpoint was saved within 12 s"):
        run.result()
    assert len(facts_of(run).legs) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_cost": None}, r"needs your consent\. Nothing was sent\..*--max-cost 0\."),
        ({"timeout": None}, r"Example: --relay --timeout 3h"),
        ({"outputs": ["x"]}, r"doesn't work with --outputs\. Nothing was sent"),
        ({"code": "x = 1"}, r"lk_jupyter\.checkpoint_folder\(\)"),
    ],
)
def test_a_relay_that_cannot_work_sends_nothing(session, options, message):
    with pytest.raises(UsageError, match=message):
        start(session, options.pop("code", COUNT), **options)
    assert not relay_folder().exists()
