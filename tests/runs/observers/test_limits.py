"""The time that is left of a run's limit."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from localcloud.conftest import until

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.runs.clock import Bill
from lk_jupyter.runs.observers.base import ObserverGroup, RunObserver
from lk_jupyter.runs.observers.limits import BillCheck, Countdown, MaxCost
from lk_jupyter.runs.package.checkpoint import checkpoint_notice
from lk_jupyter.text.scalars import ScalarParser


@pytest.mark.parametrize("seconds", [None, 0.2, 29, 59.7, 75])
def test_the_limit_is_no_fact_of_its_own_beside_the_time_that_the_status_line_shows(seconds):
    countdown = Countdown(60)
    assert countdown.tick("run", seconds, "") == []
    assert ObserverGroup([RunObserver(), countdown]).time_limit == 60
    assert ObserverGroup([RunObserver()]).time_limit is None


def test_a_warning_comes_when_four_fifths_of_the_time_are_over_and_not_before():
    countdown = Countdown(100)
    assert countdown.notices == ()
    countdown.tick("run", 79, "")
    assert countdown.notices == ()
    countdown.tick("run", 80, "")
    assert [str(remark) for remark in countdown.notices] == ["⚠ 20 s of 1 min 40 s remain."]


def bundle(*, carries, code="1"):
    return SimpleNamespace(
        source=SimpleNamespace(code=code), payload=SimpleNamespace(carries=carries), cost_binds=False
    )


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("carries", "limit", "action"),
    [
        (
            True,
            100,
            (
                "Shortly before the time limit, the run sends its variables to this notebook. Run the cell again to "
                "continue."
            ),
        ),
        (False, 100, "For more time, run again with: --timeout 600"),
        (False, 600, "To save the state, define lk_checkpoint(folder). To run for hours: --on vm --timeout 3h"),
    ],
)
def test_late_in_a_run_the_time_that_its_steps_need_and_one_action_are_shown(carries, limit, action):
    scalars = ScalarParser()
    countdown = Countdown(limit, bundle(carries=carries), scalars)
    observers = ObserverGroup([countdown], scalars)
    for step in range(1, 5):  # a fifth of the limit for each of 20 epochs, with batches that start again
        text = f"epoch {step}/20 lr 1e-3 2026/11/30\n 1/32 [00:01]\r 32/32 [00:09]\n"
        observers.tick("run", limit * step / 5, text)
    (notice,) = map(str, countdown.notices)
    assert "Step 4 of 20: about " in notice
    assert notice.endswith(f"so the limit ends the run before its last step. {action}")


def test_steps_that_end_before_the_limit_need_no_action():
    scalars = ScalarParser()
    countdown = Countdown(100, bundle(carries=True), scalars)
    observers = ObserverGroup([countdown], scalars)
    observers.tick("run", 10, "  8%|▊         | 8/100 [00:05<00:50, 1.8it/s]")
    observers.tick("run", 82, " 92%|█████████▏| 92/100 [01:10<00:06, 1.2it/s]")
    assert list(map(str, countdown.notices)) == ["⚠ 18 s of 1 min 40 s remain. Step 92 of 100: about 7 s more."]


def checkpoint(**payload):
    return Frame("checkpoint", payload, "1")


def test_what_a_run_saved_is_told_while_it_goes_on():
    countdown = Countdown(100)
    countdown.saw(Frame("display", {}, "0"))
    assert countdown.notices == ()
    countdown.saw(checkpoint(seconds=80.1, files=["model.pt"], count=1, bytes=12_345_678))
    assert [str(remark) for remark in countdown.notices] == ["Saved 1 file, 12.3 MB, after 1 min 20 s."]


def test_what_could_not_be_saved_is_a_warning():
    countdown = Countdown(100)
    countdown.saw(checkpoint(problem="lk_checkpoint was not defined yet"))
    assert [str(remark) for remark in countdown.notices] == ["⚠ Nothing was saved: lk_checkpoint was not defined yet."]


def test_a_secret_in_the_words_of_a_failure_is_not_shown():
    key = "lk_" + "a1B2c3D4" * 5
    assert key not in str(checkpoint_notice({"problem": f"lk_checkpoint failed (ValueError: {key})"}))


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 B"), (999, "999 B"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3.2e9, "3.2 GB")]
)
def test_sizes_are_told_in_units_that_fit(count, words):
    assert words in checkpoint_notice({"count": 1, "bytes": count, "seconds": 1}).text


def test_a_run_whose_limit_nobody_knows_is_not_counted_down():
    assert Countdown(None).tick("run", 5, "") == []
    assert Countdown(None).notices == ()


@pytest.mark.parametrize("seconds", [8.45, 8.6])
def test_a_run_is_stopped_once_just_before_it_has_cost_what_it_may(seconds):
    aborts = []
    run = SimpleNamespace(short_id="x", stopped_because=None, abort_soon=lambda *_: aborts.append(1))
    limit = MaxCost(MachineType(hardware_profile="gpu.a100", price_per_hour=3600), Decimal(10))
    limit.tick(run, None, "")
    limit.tick(run, 6.0, "")
    assert aborts == []
    limit.tick(run, seconds, "")
    until(lambda: aborts)
    limit.tick(run, 8.9, "")
    assert aborts == [1]
    assert run.stopped_because.startswith("it had cost about 8.50 credits of --max-cost 10, ")


def ended_run(cost, *, seconds, price):
    """Return a run that has ended with this bill, on a machine with this price."""
    bill = Bill(seconds, Decimal(cost), "billed")
    machine = MachineType(hardware_profile="gpu.a100", price_per_hour=Decimal(price))
    return SimpleNamespace(machine=machine, bill=lambda _: bill, stopped_by_cost=lambda _: False)


@pytest.mark.parametrize("seen", [[], [checkpoint(problem="x")], [checkpoint(count=1, seconds=1)]])
def test_a_run_that_its_cost_stopped_is_started_anew_only_where_it_cannot_be_resumed(seen):
    run = ended_run("3.99", seconds=3600.0, price="4")
    run.stopped_by_cost = lambda _: True
    limit = MaxCost(run.machine, Decimal(4))
    for frame in seen:
        limit.saw(frame)
    [notice] = limit.ended(run, RECORD)
    is_resumed = bool(seen) and "problem" not in seen[0].payload
    assert ("Run longer: --max-cost 8" in str(notice)) == (not is_resumed)


RECORD = ExecutionRecord(execution_id="3f0c", status="completed")


@pytest.mark.parametrize(("cost", "is_reported"), [("24.50", True), ("4", False), ("3.99", False)])
def test_a_bill_above_the_highest_cost_is_reported_though_the_run_completed(cost, is_reported):
    run = ended_run(cost, seconds=3600.0, price="1.59")
    notices = MaxCost(run.machine, Decimal(4)).ended(run, RECORD)
    assert [str(notice) for notice in notices if "more than --max-cost 4" in str(notice)] == [*map(str, notices)]
    assert bool(notices) == is_reported


@pytest.mark.parametrize(
    ("cost", "seconds", "price", "is_reported"),
    [
        ("1.59", 3600.0, "1.59", False),
        ("1.62", 3600.0, "1.59", False),  # rounded up to the minute
        ("1.59", 3600.0, "159", True),  # the price is in cents
        ("159", 3600.0, "1.59", True),
        ("0.0442", 1.0, "1.59", False),  # a minute is the least that is billed
        ("0", 0.4, "1.59", False),
    ],
)
def test_a_bill_that_the_published_price_does_not_explain_is_reported(cost, seconds, price, is_reported):
    notices = BillCheck().ended(ended_run(cost, seconds=seconds, price=price), RECORD)
    assert bool(notices) == is_reported
    assert all("The bill is" in str(notice) and "%lk_pricing" in str(notice) for notice in notices)
