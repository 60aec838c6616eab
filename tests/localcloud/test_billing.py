"""Machines, prices, the ledger: what a run costs and who may start one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from localcloud.conftest import moment

A100_PER_HOUR = Decimal("1.59")
NAP = "import time\ntime.sleep(0.2)"


def seconds(record):
    return (moment(record["end_time"]) - moment(record["start_time"])).total_seconds()


def test_a_run_is_billed_by_its_seconds(api):
    record = api.run(NAP, execution_type="gpu.a100")
    assert seconds(record) >= 0.2
    expected = A100_PER_HOUR * Decimal(repr(seconds(record))) / 3600
    assert record["billed"] == pytest.approx(float(expected), abs=1e-9)


def test_a_run_on_the_cpu_costs_nothing(api):
    assert api.run(NAP)["billed"] == 0


def test_an_aborted_run_is_billed_up_to_its_end(api):
    run = api.start("import time\nprint('up')\ntime.sleep(600)", execution_type="gpu.b300")
    api.first_line(run)
    so_far = api.record(run)["billed"]
    assert so_far > 0
    api.post(f"/workloads/abort/{run}")
    assert api.ended(run)["billed"] > so_far


def test_every_view_of_the_money_agrees(make_api):
    api = make_api()
    billed = sum(api.run(NAP, execution_type=machine)["billed"] for machine in ("gpu.l40s", "gpu.b200", "cpu"))
    balance = api.get("/billing/credits").json()
    details = api.get("/billing/credits/details").json()
    history = api.get("/billing/history").json()
    left = api.get("/orgs/local/balance").json()["balance"]
    assert billed > 0
    assert balance["used_credits"] == details["used_credits"] == history["total_credits_spent"]
    assert balance["used_credits"] == pytest.approx(billed)
    assert balance["remaining_credits"] == float(left) == pytest.approx(100 - billed)
    assert sum(row["billed"] for row in history["executions"]) == pytest.approx(billed)


def test_the_history_is_paged_newest_first(make_api):
    api = make_api()
    runs = [api.run(f"raise SystemExit({i // 3})", metadata={"n": str(i)})["execution_id"] for i in range(5)]
    page = api.get("/billing/history", limit=2, offset=1).json()
    assert [row["execution_id"] for row in page["executions"]] == [runs[3], runs[2]]
    assert page["executions"][0]["metadata"] == {"n": "3"}
    assert (page["total_executions"], page["limit"], page["offset"]) == (5, 2, 1)
    assert page["counts_by_status"] == {"completed": 3, "failed": 2}
    assert api.get("/billing/history", limit=-1).status_code == 422


def test_without_credits_nothing_starts(make_api):
    api = make_api("--credits", "0.00001")
    assert api.run(NAP, execution_type="gpu.a100")["billed"] > 0.00001
    answer = api.post("/execution/streaming/start", {"code": "1", "execution_type": "gpu.a100"})
    assert answer.status_code == 402
    assert "credits" in answer.json()["detail"]


def test_a_quota_names_the_machines_that_may_be_used(make_api):
    api = make_api("--quota", "cpu,gpu.l40s")
    assert api.get("/user/quotas/available-hardware").json() == {"available_hardware_profiles": ["cpu", "gpu.l40s"]}
    assert api.get("/user/quotas").json()["gpu.h100"] is False
    answer = api.post("/execution/streaming/start", {"code": "1", "execution_type": "gpu.h100"})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "No access to gpu.h100: this account may use cpu, gpu.l40s"


def test_an_unknown_machine_is_refused_with_near_names(api):
    answer = api.post("/execution/streaming/start", {"code": "1", "execution_type": "gpu.a10"})
    assert answer.status_code == 422
    [row] = answer.json()["detail"]
    assert row["loc"] == ["body", "execution_type"]
    assert "gpu.a100" in row["msg"]


def test_the_catalogue_and_the_price_book_tell_the_same_prices(api):
    machines = {
        row["hardware_profile"]: row["price_per_hour"] for row in api.get("/machine-types").json()["machine_types"]
    }
    assert machines["cpu"] is None
    assert machines["gpu.a100"] == 1.59
    rented = [row for row in api.get("/pricing").json()["prices"] if row["meter_slug"] == "vm_running"]
    single = [row for row in rented if row["applies_to"]["hardware_profile"].endswith(".1x")]
    on_demand = [row for row in single if row["applies_to"]["hardware_profile"].startswith("on-demand.")]
    assert len(on_demand) == len(machines) - 1  # cpu has no price
    for row in on_demand:
        card = row["applies_to"]["hardware_profile"].split(".")[1]
        assert float(row["unit_price_per_hour"]) == machines[f"gpu.{card}"]
        assert Decimal(row["unit_price"]) * 3600 == pytest.approx(Decimal(row["unit_price_per_hour"]))


def test_a_gpu_machine_without_a_gpu_says_so(api):
    answer = api.post("/execution/streaming/start", {"code": "1", "execution_type": "gpu.a100"}).json()
    assert answer["pythia_decision"] == (
        "No GPU on this machine: a run on gpu.a100 uses the CPU here, and is billed at the price of gpu.a100."
    )
    assert api.post("/execution/streaming/start", {"code": "1"}).json()["pythia_decision"] is None
