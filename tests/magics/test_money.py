"""What a run costs: told before, counted during, kept after, and limited."""

import re
from decimal import Decimal

import pytest
from magics.kernels import RICH
from patience import PATIENCE

from lk_jupyter.magics._output.live import RUN_MIME


def texts(cell):
    """Return all rich texts in the order in which they came, those that were replaced too."""
    return [content["data"]["text/plain"] for kind, content in cell.messages if kind in RICH]


def test_before_a_run_its_price_and_the_most_that_it_may_cost_are_told(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --timeout 600\nprint(1)")
    assert texts(cell)[0] == "◌ submitting · A100 at 1.59 credits/h · at most 0.2654 credits (time limit 600 s)"
    cell = kernel.run("%%lk_run --machine cpu\nprint(1)")
    assert texts(cell)[0] == "◌ submitting · cpu · price unknown, 600 s at most"


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
    cell = kernel.run(
        "%%lk_run --fresh --gpu A100 --max-cost 0.002 --save run\nimport time\nprint('on'); time.sleep(50)"
    )
    assert cell.error["ename"] == "RunAborted"
    said = r"was stopped: it had cost about 0\.00\d\d credits of --max-cost 0\.002, and the seconds until"
    assert re.search(said, cell.error["evalue"])
    cost = Decimal(cell.metadata[-1]["lk_jupyter"]["cost"])
    assert (
        f"⚠ Stopped at {cost:.4f} credits of --max-cost 0.002: the remaining credits were reserved, because"
    ) in cell.shown[-1]
    assert cell.shown[-1].endswith("Run longer: --max-cost 0.004")
    assert any("at most 0.0020 credits" in text for text in texts(cell))
    billed = Decimal(kernel.value("str(run.record.billed)").strip("'"))
    assert Decimal("0.0008") < billed <= Decimal("0.002")


def test_the_maximum_holds_when_nobody_watches(kernel):
    kernel.run(
        "import lk_jupyter\nsession = lk_jupyter.connect()\n"
        "run = session.run('import time; time.sleep(50)', gpu='A100', max_cost='0.0015')\nrecord = run.wait()"
    )
    assert Decimal(kernel.value("str(record.billed)").strip("'")) <= Decimal("0.0015")
    said = kernel.run("run.result()").error["evalue"]
    assert "was stopped: --max-cost 0.0015 allows 2 s, and this time has passed" in said
    kernel.run("session.close()")


def test_the_setting_max_cost_holds_for_runs_that_name_none(kernel):
    kernel.run("%env LK_MAX_COST=0.1")
    assert "(--max-cost, time limit" in kernel.run("%%lk_run --dry-run --gpu A100 --timeout 600\n1").shown[0]
    assert "(time limit 600 s" in kernel.run("%%lk_run --dry-run --gpu A100 --timeout 600 --max-cost 5\n1").shown[0]
    kernel.run("%env LK_MAX_COST=")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--max-cost 0", "--max-cost"),
        ("--max-cost -1", "--max-cost"),
        ("--max-cost nan", "--max-cost"),
        ("--max-cost much", "--max-cost"),
        ("--gpu A100 --max-cost 0.0001", "is too low for gpu.a100: the minimum is"),
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
    kernel.run("from lk_jupyter.account import low_balance\nusual = low_balance._PATIENCE")
    kernel.run(f"low_balance._PATIENCE = {PATIENCE}")  # a busy machine reads a balance late, and then nothing is said
    yield with_few
    kernel.run("low_balance._PATIENCE = usual")
    kernel.run(f"%env LK_BASE_URL={cloud.base_url}\n%env LK_API_KEY={cloud.api_key}")


def test_a_low_balance_is_warned_of_with_the_time_that_it_lasts(kernel, poor, tmp_path):
    go = tmp_path / "go"
    code = f"import pathlib, time\nprint('on')\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.05)"

    def release(cell):
        if any("credits left" in text for text in texts(cell)):
            go.touch()
        return go.exists()

    cell = kernel.run(f"%%lk_run --fresh --gpu A100\n{code}", on=release)
    assert cell.error is None
    assert any("credits left, about 18 min" in text and "at 1.59 credits/h" in text for text in texts(cell))
    receipt = cell.shown[-1].splitlines()
    assert receipt[0].startswith("✓ completed")
    left = poor.client.billing.credits().remaining_credits
    assert receipt[-1].strip().startswith(f"⚠ {left:.4f} credits left, enough for 18 min")
    assert receipt[-1].endswith("on A100. Buy credits: %lk_billing checkout 50")


def test_a_run_that_can_cost_more_than_is_left_is_warned_of_before_it_is_sent(kernel, poor):
    short = "⚠ 0.5000 credits left, but this run can cost 1.08 credits. The cloud may stop it early."
    cell = kernel.run("%%lk_run --gpu B200 --timeout 600\nprint(1)")
    warned = next(text for text in texts(cell) if short in text)
    assert warned.startswith("◌ submitting · B200")
    assert "Limit it: --max-cost 0.5. Buy credits: %lk_billing checkout 50" in warned
    assert not any("running" in text for text in texts(cell)[: texts(cell).index(warned)])
    cell = kernel.run("%%lk_run --gpu A100,H100 --timeout 600\nprint(1)")
    assert any("but these 2 runs can cost 0.7312 credits" in text for text in texts(cell))
    assert not any("credits left, and" in text for text in texts(kernel.run("%%lk_run --gpu A100\nprint(1)")))
    limited = kernel.run("%%lk_run --gpu B200\nprint(1)")
    assert not any("credits left, and" in text for text in texts(limited))
    (limit,) = {int(match[1]) for text in texts(limited) if (match := re.search(r"time limit (\d+) s", text))}
    assert 200 < limit < 278  # 0.5 credits at 6.48 credits/h
    tries = kernel.run("%%lk_select --dry-run --timeout 600\nprint(1)")
    assert any("tries can cost" in text and "--max-cost" not in text for text in texts(tries))  # it has no such option
    added = kernel.run("%lk_kernel add B200\n%lk_kernel remove B200")
    assert any("but this kernel can cost" in text for text in texts(added))
    kernel.run("import lk_jupyter, warnings\nsession = lk_jupyter.connect()")
    said = kernel.run(
        "with warnings.catch_warnings(record=True) as said:\n    warnings.simplefilter('always')\n"
        "    session.run('1', gpu='B200', timeout=600).wait()\n"
        "    session.fan_out('x', gpu='B200', timeout=600, sweep=['x=1,2']).wait()\n"
        "print([str(each.message) for each in said], [each.filename for each in said])\nsession.close()"
    ).text
    assert "but this run can cost 1.08 credits" in said
    assert "but these 2 runs can cost 2.17 credits" in said


def test_a_machine_that_the_credits_pay_for_less_than_an_hour_ends_before_they_are_used_up(kernel, poor):
    (plan,) = kernel.run("%lk_deploy local/echo --gpu H100 --dry-run").shown
    assert re.search(r"for 10 min \(as long as the balance pays\), until \d\d:\d\d, for 0\.4650 credits", plan)


def test_the_meter_counts_time_and_cost_up_to_the_time_limit_which_it_says_once(kernel, tmp_path):
    go = tmp_path / "go"
    code = f"import pathlib, time\nprint('on')\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.05)"

    def go_on(cell):
        if any("≈ 0.00" in text for text in texts(cell)):
            go.touch()
        return go.exists()

    cell = kernel.run(f"%%lk_run --gpu B200 --timeout 50\n{code}", on=go_on)
    metered = next(text for text in texts(cell) if "≈" in text)
    state, machine, seconds, cost, run = metered.split(" · ")
    assert (state, machine) == ("● running", "B200 at 6.49 credits/h")
    assert cost.startswith("≈ 0.00")
    assert re.fullmatch(r"\d+ s of 50 s", seconds)
    headers = [content["data"][RUN_MIME] for kind, content in cell.messages if RUN_MIME in content.get("data", {})]
    assert {header["time_limit_seconds"] for header in headers} == {50}
    assert "50 s" not in str([header.get("told") for header in headers if header["state"] == "running"])
    assert run.startswith("run ")


def test_a_run_beyond_a_budget_is_refused_in_one_line_that_says_how_to_raise_it(kernel, cloud):
    kernel.run("%env LK_NOTEBOOK_BUDGET=0.01")
    assert "of 0.01 spent by its runs" in kernel.run("%%lk_run --dry-run\nprint(1)").shown[0]
    before = cloud.client.billing.history().total
    cell = kernel.run("%%lk_run --gpu A100\nprint(1)")
    kernel.run("%env LK_NOTEBOOK_BUDGET=")
    assert cell.shown == ["✗ refused · A100 at 1.59 credits/h"]
    assert cell.error["ename"] == "UsageError"
    assert "The notebook budget of this computer is 0.0100 credits" in cell.error["evalue"]
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
    assert "of --max-cost 0.011: the remaining credits were reserved" in cell.shown[-1]
    assert any(re.search(r"\d s of \d+ s .*at most 0.0110 credits", text) for text in texts(cell))
    assert cell.error["ename"] in {"RunAborted", "RunFailed"}
    assert Decimal(cell.metadata[-1]["lk_jupyter"]["cost"]) <= Decimal("0.011")
