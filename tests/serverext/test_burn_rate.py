"""What is billed by the hour, as a page asks for it."""

from decimal import Decimal

import pytest
from patience import PATIENCE
from serverext.conftest import running
from tenacity import Retrying, stop_after_delay, wait_fixed

from lk_jupyter import session
from lk_jupyter.api.inference import CreateDeploymentRequest
from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.journal.charges import charge_book

VM = CreateVMRequest(user_public_key="ssh-ed25519 AAAA u@h", hardware_profile="a100", new_volume={"size_gb": 100})


def test_a_page_gets_the_rate_that_the_balance_shows(make_cloud, home, tmp_path):
    cloud = make_cloud("--clock-speed", "1000")
    variables = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    none = {"warnings": [], "overdue": []}
    with running(tmp_path, **variables) as jupyter, session.connect(cloud.base_url, cloud.api_key) as connected:
        assert jupyter.get("burn-rate").json() == {
            "things": [],
            "per_hour": "0",
            "complete": True,
            "label": "0 credits/h",
            "stoppable": 0,
            **none,
        }
        vm = connected.client.vms.create(VM)
        connected.client.inference.create(
            CreateDeploymentRequest(hf_model_id="local/echo", hardware_profile="gpu.h100")
        )
        for attempt in Retrying(stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1)):
            with attempt:
                assert len(jupyter.get("burn-rate").json()["things"]) == 3
        told, balance = jupyter.get("burn-rate").json(), connected.balance()
        connected.client.vms.delete(vm.vm_id)
    assert [(thing["kind"], thing["hardware"], thing["per_hour"]) for thing in told["things"]] == [
        ("VM", "A100", "1.59"),
        ("volume", "100 GB", "0.0100"),
        ("deployment", "H100", "2.79"),
    ]
    assert told["label"] == balance.rate.label == "4.39 credits/h"
    assert balance.depleted_at is not None


@pytest.mark.nightly
def test_a_page_is_warned_of_a_budget_that_a_vm_has_exceeded(make_cloud, home, tmp_path, monkeypatch):
    cloud = make_cloud()
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "journal.sqlite"))
    variables = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_DAY_BUDGET": "2"}
    with (
        running(tmp_path, LK_JOURNAL=str(tmp_path / "journal.sqlite"), **variables) as jupyter,
        session.connect(cloud.base_url, cloud.api_key) as connected,
    ):
        connected.client.vms.create(VM)
        assert jupyter.get("burn-rate").json()["warnings"] == []
        [charge] = charge_book().charges(cloud.base_url)
        charge_book().update(charge.token, rate=Decimal(1_000_000), begins=charge.begins - 1)
        [words] = jupyter.get("burn-rate").json()["warnings"]
    assert "The day budget of this computer, 2 credits, is exceeded" in words
    assert "%lk_vm delete" in words
