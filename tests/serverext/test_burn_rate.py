"""What is billed by the hour, as a page asks for it."""

from patience import PATIENCE
from serverext.conftest import running
from tenacity import Retrying, stop_after_delay, wait_fixed

from lk_jupyter import session
from lk_jupyter.api.inference import CreateDeploymentRequest
from lk_jupyter.api.vms import CreateVMRequest

VM = CreateVMRequest(user_public_key="ssh-ed25519 AAAA u@h", hardware_profile="a100", new_volume={"size_gb": 100})


def test_a_page_gets_the_rate_that_the_balance_shows(make_cloud, home, tmp_path):
    cloud = make_cloud("--clock-speed", "1000")
    variables = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with running(tmp_path, **variables) as jupyter, session.connect(cloud.base_url, cloud.api_key) as connected:
        assert jupyter.get("burn-rate").json() == {"things": [], "per_hour": "0", "complete": True, "label": "0/h"}
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
    assert told["label"] == balance.rate.label == "4.39/h"
    assert balance.depleted_at is not None
