"""Several runs at once on a real local cloud: bounded, none left behind, one failure no other's."""

import os
import re
import signal
import threading
import time
from decimal import Decimal
from types import SimpleNamespace

import pytest
from patience import PATIENCE

from lk_jupyter.api import _polling
from lk_jupyter.config import settings
from lk_jupyter.errors import PaymentRequired, RunFailed, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.metadata import GROUP_KEY
from lk_jupyter.runs.fanout.fanout import FanOut
from lk_jupyter.runs.fanout.member import NOT_STARTED, FanOutMember
from lk_jupyter.session import connect

HANGS = "import time\nprint('on', x, flush=True)\ntime.sleep(100)"


@pytest.fixture
def faulty(make_cloud, home):
    """A cloud that fails as asked, and a session on it."""
    cloud = make_cloud("--faults")
    with connect(cloud.base_url, cloud.api_key) as session:
        session.cloud = cloud
        yield session


def fail(session, **fault):
    session.cloud.http.post(f"{session.base_url}/_faults", json=fault).raise_for_status()


def started(session, code, **options):
    return session.fan_out(code, **options)


def ended(fan):
    assert fan.wait(PATIENCE)
    return fan.outcomes()


def when(fan, ready):
    """Wait until the lanes are as asked."""
    end = time.monotonic() + PATIENCE
    while not ready(fan):
        assert time.monotonic() < end
        time.sleep(0.01)


def going_on(session):
    return [run.execution_id for run in session.client.workloads.list()]


def test_each_lane_runs_with_its_own_values_and_keeps_its_log(session):
    fan = started(session, "print('lr is', lr)\nprint('accuracy:', 1 - lr)", sweep=["lr=0.5,0.25"], metric=["accuracy"])
    one, other = ended(fan)
    assert (one.state, one.scores, one.values) == ("completed", {"accuracy": 0.5}, {"lr": 0.5})
    assert other.scores == {"accuracy": 0.75}
    with open(one.log) as log:  # noqa: PTH123
        assert log.read() == "lr is 0.5\naccuracy: 0.5\n"
    assert fan.table().loc[2, "mark"].endswith("best accuracy")
    assert one.cost > 0
    assert fan.cost == one.cost + other.cost
    fan.raise_failure(strict=True)


def test_the_journal_knows_the_lanes_as_one_group(session):
    fan = started(session, "x", sweep=["x=1,2"])
    ended(fan)
    entries = journal().entries()
    assert len(entries) == 2
    assert {entry.group for entry in entries} == {fan.members[0].plan.group}
    assert {entry.metadata[GROUP_KEY] for entry in entries} == {fan.members[0].plan.group}


def test_no_more_go_on_at_once_than_asked_for_and_the_others_wait_here(session, tmp_path):
    code = f"import pathlib, time\np = pathlib.Path({str(tmp_path)!r})\n(p / str(x)).touch()\n"
    code += "while not (p / f'go{x}').exists(): time.sleep(.01)"
    fan = started(session, code, sweep=["x=1,2,3,4"], parallel=2)
    for number in (1, 2, 3, 4):
        when(fan, lambda _, number=number: (tmp_path / str(number)).exists())
        states = [lane.state for lane in fan.members]
        assert states.count("queued locally") >= 4 - number - 1
        assert sum(lane.run is not None and not lane.ended for lane in fan.members) <= 2
        (tmp_path / f"go{number}").touch()
    assert [outcome.state for outcome in ended(fan)] == ["completed"] * 4


def test_the_first_that_completes_ends_the_others(session):
    fan = started(session, "import time\ntime.sleep(x)", sweep=["x=100,0.1,200"], stop_on_first=True)
    slow, quick, other = ended(fan)
    assert fan.winner.plan.number == 2
    assert (slow.state, quick.state, other.state) == ("aborted", "completed", "aborted")
    assert fan.cost == slow.cost + quick.cost + other.cost
    fan.raise_failure(strict=True)
    assert not set(going_on(session)) & {o.execution_id for o in fan.outcomes()}


def test_nothing_is_missed_of_lanes_that_lost(session):
    code = "import time\ntime.sleep(x)\nbest = x"
    fan = started(session, code, sweep=["x=100,0.1"], outputs=["best"], stop_on_first=True)
    lost, won = ended(fan)
    assert lost.notices == ()
    assert any("Set here: best" in remark for remark in won.notices)
    assert fan.variables() == {"best": 0.1}


def test_what_waits_when_the_first_completes_is_never_started(session):
    fan = started(session, "print(x)", sweep=["x=1,2,3"], stop_on_first=True, parallel=1)
    assert [outcome.state for outcome in ended(fan)] == ["completed", "not started", "not started"]
    assert len(journal().entries()) == 1


def test_a_lane_that_fails_is_no_other_lane_s_affair(session):
    fan = started(session, "print(1 / x)", sweep=["x=0,1"])
    failed, well = ended(fan)
    assert (failed.state, well.state) == ("failed", "completed")
    assert "ZeroDivisionError" in failed.reason
    fan.raise_failure()
    with pytest.raises(RunFailed, match="1 of the 2 runs didn't complete"):
        fan.raise_failure(strict=True)


def test_when_none_completes_the_first_failure_is_told(session):
    fan = started(session, "print(1 / x)", sweep=["x=0,0.0"])
    ended(fan)
    with pytest.raises(RunFailed, match=r"none of the 2 runs completed.*run 1") as told:
        fan.raise_failure()
    assert "ZeroDivisionError" in told.value.traceback
    assert told.value.execution_id == fan.outcomes()[0].execution_id


@pytest.mark.parametrize("status", [402, 403, 429, 500])
def test_a_start_that_is_refused_is_told_in_its_lane_and_the_others_go_on(faulty, status):
    fail(
        faulty,
        method="POST",
        path="/execution/streaming/start",
        status=status,
        times=4 if status == 429 else 1,
        headers={"Retry-After": "0"},
    )
    fan = started(faulty, "print(x)", sweep=["x=1,2,3"], parallel=1)
    refused, *others = ended(fan)
    assert refused.state == "refused"
    assert f"HTTP {status}" in refused.reason
    assert [other.state for other in others] == ["completed", "completed"]
    assert len(faulty.client.billing.history()) == len([o for o in fan.outcomes() if o.execution_id])


def test_when_every_start_is_refused_the_refusal_is_raised(faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", status=402, times=None)
    fan = started(faulty, "print(x)", sweep=["x=1,2"])
    ended(fan)
    with pytest.raises(PaymentRequired):
        fan.raise_failure()


def test_a_start_whose_answer_is_lost_is_one_run(faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", lose_answer=True)
    fan = started(faulty, "print(x)", sweep=["x=1,2"])
    assert [outcome.state for outcome in ended(fan)] == ["completed", "completed"]
    assert len(faulty.client.billing.history()) == 2


def test_runs_that_may_be_active_are_listed_with_the_commands_that_stop_them(faulty, monkeypatch):
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", 0.2)
    fan = started(faulty, HANGS, sweep=["x=1,2"])
    when(fan, lambda fan: all("on" in lane.newest for lane in fan.members))
    for path in ("/stream/", "/execution/", "/workloads/abort/"):
        fail(faulty, path=path, status=401, times=None)
    for lane in fan.members:
        lane._monitor._reader.follower.drop()
    when(fan, lambda fan: all(lane.state == "lost" for lane in fan.members))
    assert fan.done.wait(PATIENCE)
    for number, lane in enumerate(fan.members, 1):
        assert f"%lk_abort {lane.run.execution_id}   (run {number})" in fan.remainder
    fan.abort()
    assert fan.remainder.count("%lk_abort") > 1
    faulty.cloud.http.delete(f"{faulty.base_url}/_faults").raise_for_status()
    when(fan, lambda fan: not fan.remainder)
    assert going_on(faulty) == []


def test_streams_that_are_cut_leave_whole_logs(faulty):
    fail(faulty, path="/stream/", cut_after=300, times=6)
    fan = started(faulty, "import time\nfor i in range(60): print('line', x, i); time.sleep(.005)", sweep=["x=1,2,3"])
    for outcome in ended(fan):
        with open(outcome.log) as log:  # noqa: PTH123
            assert log.read().splitlines() == [f"line {outcome.values['x']} {i}" for i in range(60)]


def test_abort_ends_all_of_them_and_starts_no_other(session):
    fan = started(session, HANGS, sweep=["x=1,2,3,4"], parallel=2, timeout=600)
    when(fan, lambda fan: sum("on" in lane.newest for lane in fan.members) == 2)
    fan.abort()
    assert sorted(outcome.state for outcome in ended(fan)) == ["aborted", "aborted", "not started", "not started"]
    assert not set(going_on(session)) & {o.execution_id for o in fan.outcomes()}


def test_lanes_that_were_never_started_can_be_aborted(session):
    fan = FanOut.prepare(session, "x", RunOptions(sweep=["x=1,2"]))
    fan.abort()
    assert [outcome.state for outcome in ended(fan)] == ["not started", "not started"]
    assert [outcome.state for outcome in ended(fan.start())] == ["not started", "not started"]


def test_a_member_shows_each_state_but_the_end_which_needs_its_record():
    member = SimpleNamespace(record=None, state="pending")
    for state in ("queued", "completed"):
        FanOutMember.apply_state(member, state)
    assert member.state == "queued"
    member.record, member.state = SimpleNamespace(), "failed"
    FanOutMember.apply_state(member, "running")
    assert member.state == "failed"


def test_lanes_that_have_ended_are_waited_for_no_longer_though_nobody_has_said_so_yet(session):
    fan = FanOut.prepare(session, HANGS, RunOptions(sweep=["x=1,2"]))
    for lane in fan.members:
        lane.conclude(NOT_STARTED, ())
    assert not fan.done.is_set()
    assert fan.wait_for_abort()


def test_a_run_whose_start_is_on_its_way_when_all_are_aborted_is_not_left_behind(faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", delay=1)
    fan = started(faulty, HANGS, sweep=["x=1"])
    when(fan, lambda fan: fan.members[0].state == "submitting")
    fan.abort()
    (outcome,) = ended(fan)
    assert outcome.state in {"aborted", "not started"}  # as far as the start was
    assert going_on(faulty) == []


def test_why_a_run_is_aborted_is_known_before_its_end_can_come(faulty):
    fan = started(faulty, HANGS, sweep=["x=1"])
    when(fan, lambda fan: fan.members[0].run)
    (lane,), known = fan.members, []
    abort_soon = lane.run.abort_soon

    def record_reason(grace):
        known.append(lane.run.stopped_because)
        return abort_soon(grace)

    lane.run.abort_soon = record_reason
    fan.abort("it is late")
    assert known == ["it is late"]
    assert "it is late" in ended(fan)[0].reason


def test_peak_memory_and_mean_use_of_the_gpu_come_from_its_metrics(make_cloud, home):
    cloud = make_cloud("--simulate-gpu")
    with connect(cloud.base_url, cloud.api_key) as session:
        (outcome,) = ended(started(session, "import time\ntime.sleep(x)", gpu="A100", sweep=["x=2.5"]))
    assert 0 < outcome.gpu.peak_memory <= 100
    assert 0 <= outcome.gpu.mean_use <= 100
    assert outcome.gpu.peak_gib == outcome.gpu.peak_memory * 80 / 100


def test_all_are_aborted_when_together_they_have_cost_what_they_may(make_cloud, home):
    # It bills a fifth of what is expected: a look that comes 10 s late costs no more than is allowed.
    cloud = make_cloud("--clock-speed", "0.2")
    with connect(cloud.base_url, cloud.api_key) as session:
        fan = started(session, HANGS, gpu="A100,H100", sweep=["x=1"], max_cost=Decimal("0.004"))
        outcomes = ended(fan)
    assert [outcome.state for outcome in outcomes] == ["aborted", "aborted"]
    cost_reason = r"the runs together cost (≈|at most) 0\.0"
    assert [outcome.reason for outcome in outcomes if not re.search(cost_reason, outcome.reason)] == []
    assert Decimal("0.0004") < fan.cost < Decimal("0.004")


def test_runs_that_together_might_go_beyond_a_budget_are_refused_before_any_is_sent(session):
    settings.save("day_budget", "0.1")
    ended(started(session, "x", gpu="A100", sweep=["x=1,2"]))
    with pytest.raises(UsageError, match=r"these 4 runs may cost 0\.1078 credits\. Nothing was sent"):
        started(session, "x", gpu="A100", sweep=["x=1,2,3,4"])
    assert len(journal().entries()) == 2
    assert len(ended(started(session, "x", gpu="A100", sweep=["x=1,2,3,4"], max_cost=Decimal("0.05")))) == 4


def test_variables_go_to_every_lane_and_come_back(session):
    options = {"inputs": {"data": [1, 2]}, "outputs": ["out"]}
    fan = started(session, "out = [x * value for value in data]", sweep=["x=1,10"], **options)
    ended(fan)
    assert fan.variables() == {"out": {1: [1, 2], 2: [10, 20]}}


def test_a_secret_in_a_sweep_is_not_sent_unasked(session):
    with pytest.raises(UsageError, match="seems to contain a secret"):
        started(session, "x", sweep=["x=" + "ghp_" + "a1B2" * 9 + ",2"])
    assert journal().entries() == []


def test_an_interrupt_while_the_runs_start_aborts_all(session, monkeypatch):
    start = threading.Thread.start

    def interrupt(thread):
        start(thread)
        if thread.name in {"lk-lane-0", "lk-member-0"}:
            monkeypatch.setattr(threading.Thread, "start", start)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt, match="Aborted 2 runs"):
        started(session, "import time; time.sleep(100 * n)", sweep=["n=1,2"]).wait(PATIENCE)
    assert not going_on(session)


def test_printed_numbers_rank_the_runs_and_are_curves(session):
    code = "for n in range(1, 4): print(f'epoch {n}/3 loss: {lr / n:.3f} val_acc: {lr * n:.2f}')"
    fan = started(session, code, sweep=["lr=0.1,0.3,0.2"])
    ended(fan)
    assert [(score.name, score.highest) for score in fan.scores] == [("val_acc", True)]
    assert fan.best() is fan.members[1].run
    assert fan.table()["val_acc"].to_list() == [0.3, 0.9, 0.6]
    curves = fan.curves()
    assert list(curves.columns) == ["lane", "lr", "step", "name", "value", "time"]
    assert curves[(curves.lane == 2) & (curves.name == "loss")].value.to_list() == [0.3, 0.15, 0.1]
    assert journal().get(fan.members[1].run.execution_id).summary["val_acc"] == 0.9


def test_without_a_score_no_run_is_the_best(session):
    fan = started(session, "x", sweep=["x=1,2"])
    ended(fan)
    assert fan.best() is None
    assert len(fan.curves()) == 0
