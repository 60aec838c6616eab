import re

import httpx
import pytest
from conftest import RunningCloud
from magics.people import answers


@pytest.fixture(scope="module")
def money(tmp_path_factory):
    """A cloud with vouchers."""
    running = RunningCloud(tmp_path_factory.mktemp("money"), "--voucher", "SPRING50=50", "--voucher", "AUTUMN20=20")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def user(money, home, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", money.base_url)
    monkeypatch.setenv("LK_API_KEY", money.api_key)


def checkout(run_cell, amount=10):
    return re.search(r"https?://\S+", run_cell(f"%lk_billing checkout {amount}"))[0]


def test_runs_are_a_table_with_their_cost(run_cell, shell):
    run_cell("%%lk_run --gpu A100 --name counted\nprint(1)")
    shell.run_cell("runs = %lk_billing history -n 5")
    runs = shell.user_ns["runs"]
    assert list(runs.columns) == ["run", "started", "state", "machine", "credits", "kind", "execution_id"]
    assert runs.machine[0] == "gpu.a100"
    assert " in total, " in run_cell("%lk_billing")


def test_a_checkout_is_a_link_and_becomes_an_invoice(run_cell, shell):
    assert "No payments." in run_cell("%lk_billing invoices")
    address = checkout(run_cell, 10)
    assert httpx.post(f"{address}/pay", follow_redirects=True).status_code == 200
    assert re.search(r"10\.00 +10\.00 +\w+", run_cell("%lk_billing invoices"))
    shell.run_cell("all = %lk_billing activities")
    assert 10.0 in list(shell.user_ns["all"].credits)
    assert "10.00" in run_cell("%lk_billing account")


@pytest.mark.parametrize("amount", ["0", "-5", "some"])
def test_an_amount_that_is_none_is_refused(run_cell, amount):
    assert run_cell(f"%lk_billing checkout {amount}").startswith("UsageError: ")


def test_a_voucher_is_checked_without_showing_it(run_cell, monkeypatch):
    monkeypatch.setattr("getpass.getpass", answers("SPRING50", "SPRING50", "WINTER"))
    shown = run_cell("%lk_billing voucher")
    assert "Worth 50.00 credits." in shown
    assert "SPRING50" not in shown
    httpx.post(f"{checkout(run_cell)}/voucher", data={"code": "SPRING50"}).raise_for_status()
    used = run_cell("%lk_billing voucher")
    assert used == (
        "UsageError: This voucher was used before. Request another one from the issuer, or buy credits: "
        "%lk_billing checkout 50\n"
    )
    assert "No voucher has this code." in run_cell("%lk_billing voucher")


def test_prices_are_a_table_that_words_narrow(shell, run_cell):
    shell.run_cell("prices = %lk_pricing spot h100")
    prices = shell.user_ns["prices"]
    assert list(prices.columns) == ["what", "of", "credits", "per"]
    assert prices.of.str.contains("spot.h100").all()
    assert prices.credits[prices.of == "spot.h100.1x"].item() == 1.10
    assert "million tokens" in run_cell("%lk_pricing prompt_tokens")
    assert "No price contains unobtainium." in run_cell("%lk_pricing unobtainium")
