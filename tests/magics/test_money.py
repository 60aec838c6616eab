"""What a run costs: told before, counted during, kept after, and limited."""

from decimal import Decimal

import pytest
from magics.kernels import RICH

pytestmark = pytest.mark.xdist_group("kernel")


def texts(cell):
    """Return all rich texts in the order in which they came, those that were replaced too."""
    return [content["data"]["text/plain"] for kind, content in cell.messages if kind in RICH]


def test_before_a_run_its_price_and_the_most_that_it_may_cost_are_told(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --timeout 600\nprint(1)")
    assert texts(cell)[0] == "◌ submitting · gpu.a100 at 1.59/h · at most 0.2650 credits (time limit 600 s)"


def test_the_receipt_is_kept_in_the_metadata_of_the_output(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --timeout 600 --max-cost 0.1 --save run\nprint(1)")
    (metadata,) = cell.metadata
    kept = metadata["lk_jupyter"]
    assert kept["state"] == "completed"
    assert kept["machine"] == "gpu.a100"
    assert kept["price_per_hour"] == "1.59"
    assert kept["execution_id"] == kernel.value("run.execution_id").strip("'")
    assert Decimal(kept["cost"]) == Decimal(kernel.value("str(run.record.billed)").strip("'"))
    assert kept["cost_is"] == "billed"
    assert kept["time_limit_seconds"] == 225
    assert kept["max_cost"] == "0.1"
    assert kept["waited_seconds"] >= 0


def test_the_receipt_of_an_attached_run_is_kept_too(kernel):
    kernel.run("%%lk_run --save run\nprint(1)")
    cell = kernel.run("%lk_attach {run.short_id}")
    assert [kept["lk_jupyter"]["state"] for kept in cell.metadata] == ["completed"]


def test_a_run_is_stopped_before_it_costs_more_than_its_maximum(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --max-cost 0.002 --save run\nimport time\nprint('on'); time.sleep(50)")
    assert cell.error["ename"] == "RunAborted"
    assert "was stopped: its maximum cost of 0.0020 credits was reached" in cell.error["evalue"]
    assert "⚠ Its maximum cost was reached. More: --max-cost 0.004" in cell.shown[-1]
    assert any("of 0.0020 credits at most" in text for text in texts(cell))
    billed = Decimal(kernel.value("str(run.record.billed)").strip("'"))
    assert Decimal("0.0008") < billed <= Decimal("0.002")


def test_the_maximum_holds_when_nobody_watches(kernel):
    kernel.run(
        "import lk_jupyter\nsession = lk_jupyter.connect()\n"
        "run = session.run('import time; time.sleep(50)', gpu='A100', max_cost='0.0015')\nrecord = run.wait()"
    )
    assert Decimal(kernel.value("str(record.billed)").strip("'")) <= Decimal("0.0015")
    assert "maximum cost of 0.0015 credits" in kernel.run("run.result()").error["evalue"]
    kernel.run("session.close()")


def test_the_setting_max_cost_holds_for_runs_that_name_none(kernel):
    kernel.run("%env LK_MAX_COST=0.1")
    assert "the maximum cost, reached in" in kernel.run("%%lk_run --plan --gpu A100 --timeout 600\n1").shown[0]
    assert "time limit 600 s" in kernel.run("%%lk_run --plan --gpu A100 --timeout 600 --max-cost 5\n1").shown[0]
    kernel.run("%env LK_MAX_COST=")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--max-cost 0", "--max-cost"),
        ("--max-cost -1", "--max-cost"),
        ("--max-cost nan", "--max-cost"),
        ("--max-cost much", "--max-cost"),
        ("--gpu A100 --max-cost 0.0001", "less than two seconds"),
        ("--machine cpu --max-cost 1", "no published price"),
    ],
)
def test_a_maximum_that_cannot_be_kept_is_refused_and_nothing_is_sent(kernel, cloud, line, words):
    before = cloud.client.billing.history().total
    cell = kernel.run(f"%%lk_run {line}\nprint(1)")
    assert cell.error["ename"] == "UsageError"
    assert words in cell.error["evalue"]
    assert cloud.client.billing.history().total == before


@pytest.fixture
def poor(kernel, cloud, make_cloud):
    """A cloud of its own with few credits, and the kernel signed in to it."""
    with_few = make_cloud("--credits", "0.5")
    kernel.run(f"%env LK_BASE_URL={with_few.base_url}\n%env LK_API_KEY={with_few.api_key}")
    yield with_few
    kernel.run(f"%env LK_BASE_URL={cloud.base_url}\n%env LK_API_KEY={cloud.api_key}")


def test_a_low_balance_is_warned_of_with_the_time_that_it_lasts(kernel, poor, tmp_path):
    go = tmp_path / "go"
    code = f"import pathlib, time\nprint('on')\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.05)"

    def release(cell):
        if any("credits are left" in text for text in texts(cell)):
            go.touch()
        return go.exists()

    cell = kernel.run(f"%%lk_run --gpu A100\n{code}", on=release)
    assert cell.error is None
    receipt = cell.shown[-1].splitlines()
    assert receipt[0].startswith("✓ completed")
    assert "at the present rate of 1.59 an hour they last for 18 min" in receipt[1]


def test_the_meter_counts_time_and_cost_up_and_the_time_limit_down(kernel):
    cell = kernel.run("%%lk_run --gpu B200 --timeout 50\nimport time\nprint('on'); time.sleep(2.5)")
    metered = next(text for text in texts(cell) if "≈" in text)
    state, machine, seconds, cost, left, run = metered.split(" · ")
    assert (state, machine) == ("● running", "gpu.b200 at 6.49/h")
    assert cost.startswith("≈ 0.00")
    assert int(seconds.removesuffix(" s")) + int(left.removesuffix(" s left")) in {49, 50, 51}
    assert run.startswith("run ")


def test_a_run_beyond_a_budget_is_refused_in_one_line_that_says_how_to_raise_it(kernel, cloud):
    kernel.run("%env LK_NOTEBOOK_BUDGET=0.01")
    assert "of 0.01 spent by its runs" in kernel.run("%%lk_run --plan\nprint(1)").shown[0]
    before = cloud.client.billing.history().total
    cell = kernel.run("%%lk_run --gpu A100\nprint(1)")
    kernel.run("%env LK_NOTEBOOK_BUDGET=")
    assert cell.shown == ["✗ refused · gpu.a100 at 1.59/h"]
    assert cell.error["ename"] == "UsageError"
    assert "The budget of this notebook is 0.0100 credits" in cell.error["evalue"]
    assert "%env LK_NOTEBOOK_BUDGET=" in cell.error["evalue"]
    assert "lk_jupyter/" not in "\n".join(cell.error["traceback"])
    assert cloud.client.billing.history().total == before


def test_an_attached_run_keeps_the_limits_that_it_was_started_with(kernel):
    kernel.run(
        "import lk_jupyter\nsession = lk_jupyter.connect()\n"
        "run = session.run('import time; time.sleep(50)', gpu='B200', max_cost='0.011')"
    )
    cell = kernel.run("%lk_attach {run.execution_id}")
    kernel.run("session.close()")
    assert "maximum cost" in cell.shown[-1]
    assert any("of 0.0110 credits at most" in text and " s left" in text for text in texts(cell))
    assert cell.error["ename"] in {"RunAborted", "RunFailed"}
    assert Decimal(cell.metadata[-1]["lk_jupyter"]["cost"]) <= Decimal("0.011")
