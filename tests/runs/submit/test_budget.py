"""Budgets: what counts, who is refused, and what a refusal says."""

import time
from decimal import Decimal
from threading import Thread

import pytest
from localcloud.conftest import until

from lk_jupyter.code.source import Source
from lk_jupyter.config import settings
from lk_jupyter.errors import UsageError
from lk_jupyter.journal import journal
from lk_jupyter.journal.journal import BudgetCharge
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.fanout.plan import prepare_plans
from lk_jupyter.runs.submit import budget
from lk_jupyter.session import connect
from lk_jupyter.text.units import credits_label

pytestmark = pytest.mark.usefixtures("signed_in")

#: A100 for 60 s.
WORST = Decimal("1.59") / 60


@pytest.fixture
def session(signed_in):
    with connect() as session:
        yield session


@pytest.fixture(autouse=True)
def own_journal(tmp_path, monkeypatch):
    """A journal that no other test has written to."""
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "journal.sqlite"))
    yield
    journal.close_all()


def start(session, code="1", **options):
    return session.run(code, gpu="A100", **options)


def test_what_counts_is_what_ended_runs_cost_and_what_others_may_cost_at_most():
    ended = BudgetCharge("a", "1", "completed", Decimal("0.3"), Decimal(2), 600)
    going_on = BudgetCharge("b", "2", "running", Decimal("0.1"), Decimal(2), 900)
    sending = BudgetCharge("c", None, "submitting", None, Decimal(2), 1800)
    unbilled = BudgetCharge("d", "3", "aborted", None, Decimal(2), 3600)
    usage = budget.sum_charges([ended, going_on, sending, unbilled])
    assert usage.spent == Decimal("0.3")
    assert round(usage.open, 6) == round(2 * Decimal(901 + 1801 + 3601) / 3600, 6)


@pytest.mark.parametrize("name", ["day_budget", "notebook_budget"])
def test_a_run_that_might_go_beyond_a_budget_is_refused_before_it_is_sent(session, cloud, name):
    settings.save(name, "0.05")
    cost = start(session).result().cost
    before = cloud.client.billing.history().total
    with pytest.raises(UsageError) as refusal:
        start(session, timeout=600)
    said = str(refusal.value)
    assert f"{name.split('_')[0]} budget of this computer is 0.0500 credits: {credits_label(cost)} were spent" in said
    assert "this run may cost 0.2654 credits. Nothing was sent." in said
    assert f"Raise it: %lk_config {name} 0.27" in said
    assert "--max-cost" in said
    assert cloud.client.billing.history().total == before


def test_the_raise_that_a_refusal_names_is_enough(session):
    settings.save("day_budget", "0.01")
    with pytest.raises(UsageError) as refusal:
        start(session)
    settings.save("day_budget", str(refusal.value).partition("day_budget ")[2].partition(". ")[0])
    start(session).result()


def test_a_budget_from_the_environment_is_raised_there(session, monkeypatch):
    monkeypatch.setenv("LK_DAY_BUDGET", "0.01")
    with pytest.raises(UsageError, match=r"%env LK_DAY_BUDGET=0\.03"):
        start(session)


def test_a_run_that_takes_less_fits(session):
    settings.save("day_budget", "0.01")
    assert start(session, max_cost="0.005").result().cost < Decimal("0.005")


def test_runs_that_go_on_count_with_all_that_they_may_cost(session):
    settings.save("day_budget", "0.04")
    run = start(session, "import time; time.sleep(60)", timeout=60)
    with pytest.raises(UsageError, match=r"0\.0269 credits may still be used by active runs"):
        start(session, timeout=60)
    run.abort()


def test_the_default_time_limit_is_600_s_or_as_much_as_a_budget_pays_for(session):
    source = Source("1")

    def limits(gpu="A100"):
        return [plan.bundle.timeout for plan in prepare_plans(session, source, RunOptions(gpu=gpu))]

    assert limits() == [600]
    settings.save("day_budget", str(4 * WORST))
    assert limits() == [239]
    assert limits("A100,H100") == [119, 67]  # each gets half of the budget
    settings.save("day_budget", str(WORST / 2))
    assert limits() == [60]
    with pytest.raises(UsageError, match="The day budget of this computer is"):
        start(session)
    settings.save("timeout", 500)
    assert limits() == [500]


def test_runs_with_the_default_time_limit_start_until_a_budget_is_reserved(session):
    settings.save("day_budget", str(13 * WORST))
    first, second = (start(session, "import time; time.sleep(60)") for _ in range(2))
    assert (first.bundle.timeout, second.bundle.timeout) == (600, 177)
    with pytest.raises(UsageError, match="may still be used by active runs"):
        start(session)
    first.abort()
    second.abort()


def test_a_run_that_ended_while_nobody_looked_counts_with_what_it_cost(session):
    settings.save("day_budget", "0.04")
    run = start(session)
    while session.client.execution.status(run.execution_id).status != "completed":
        time.sleep(0.05)
    assert journal.journal().get(run.execution_id).going_on
    start(session).result()
    assert journal.journal().get(run.execution_id).cost == run.record.billed


def test_a_run_of_yesterday_is_not_of_this_day(session):
    settings.save("day_budget", "0.03")
    run = start(session)
    run.wait()
    journal.journal().update(run.execution_id, created_at=time.time() - 86_400, cost=Decimal(9))
    start(session).result()


def test_a_notebook_has_a_budget_of_its_own(session, monkeypatch):
    settings.save("notebook_budget", "0.03")
    run = start(session)
    run.wait()
    journal.journal().update(run.execution_id, notebook="other.ipynb", cost=Decimal(9))
    start(session).result()


def test_what_another_server_was_paid_does_not_count(session):
    settings.save("day_budget", "0.03")
    run = start(session)
    run.wait()
    journal.journal().update(run.execution_id, base_url="http://elsewhere", cost=Decimal(9))
    start(session).result()


def test_a_machine_without_a_price_does_not_go_with_a_budget(session):
    settings.save("day_budget", "1")
    with pytest.raises(UsageError, match="cpu has no published price"):
        session.run("1", machine="cpu")


def test_a_budget_is_not_kept_blindly_when_the_journal_cannot_be_read(session, tmp_path, monkeypatch):
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "file" / "journal.sqlite"))
    (tmp_path / "file").write_text("not a folder")
    settings.save("day_budget", "1")
    with pytest.raises(UsageError, match="can't be enforced, so nothing was sent"):
        start(session)


def test_of_many_at_once_only_as_many_start_as_the_budget_allows(session):
    settings.save("day_budget", str(4 * WORST + WORST / 2))
    started, refused = [], []

    def try_one():
        try:
            started.append(start(session, "import time; time.sleep(60)", timeout=60))
        except UsageError as refusal:
            refused.append(refusal)

    threads = [Thread(target=try_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in started:
        run.abort()
    assert (len(started), len(refused)) == (4, 4)


def test_a_member_who_deletes_a_record_lowers_no_budget(session, cloud):
    run = start(session, timeout=600)
    list(cloud.client.follow(run.execution_id))
    until(lambda: cloud.client.execution.get(run.execution_id).finish_time)
    cloud.client.execution.delete(run.execution_id)
    settings.save("day_budget", "0.27")
    with pytest.raises(UsageError, match="Nothing was sent"):
        start(session)
