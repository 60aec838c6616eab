"""VMs, deployments and keys that the panel starts and creates."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from serverext.conftest import running


@pytest.fixture
def server(cloud, tmp_path):
    """A Jupyter server of a user without an SSH key."""
    with running(tmp_path, LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key) as jupyter:
        yield jupyter


def _offer(jupyter, kind, words):
    answer = jupyter.get(f"rent/{kind}").json()
    return next(offer for offer in answer["offers"] if words in {offer["label"], offer["id"]})


def _vms(cloud):
    return {vm["vm_id"] for vm in cloud.http.get("vms/list").json()["vms"]}


def _keys(cloud):
    return {key["key_name"]: key["key_prefix"] for key in cloud.http.get("auth/api-keys/").json()}


def _confirmed(offer):
    return {"offer": offer["id"], "per_hour": offer["per_hour"]}


def test_a_vm_a_deployment_and_a_key_start_at_the_confirmed_price_and_the_secret_stays_in_a_file(
    server, cloud, tmp_path
):
    offer = _offer(server, "vms", "A100")
    before = _vms(cloud)
    assert offer["per_hour"] == "1.59"
    assert offer["seconds"] == 8 * 3600
    assert "for 12.72 credits. At " in offer["end"]
    assert "this computer deletes it: its Jupyter server" in offer["end"]
    assert "An SSH key is created" in server.get("rent/vms").json()["note"]
    cheaper = server.send("POST", "rent/vms", json={**_confirmed(offer), "per_hour": "1.58"})
    assert cheaper.status_code == 400
    assert "The price is 1.59 credits/h now, not 1.58. Nothing was started." in cheaper.json()["detail"]
    assert server.send("POST", "rent/vms", json={"offer": "no/1/spot", "per_hour": "9"}).status_code == 400
    assert _vms(cloud) == before
    vm = server.send("POST", "rent/vms", json=_confirmed(offer)).json()
    assert _vms(cloud) == {*before, vm["id"]}
    assert (tmp_path / ".ssh" / "id_ed25519.pub").exists()
    assert server.send("DELETE", f"api/vms/{vm['id']}").status_code == 200

    model = _offer(server, "deployments", "local/echo")
    served = server.send("POST", "rent/deployments", json=_confirmed(model)).json()
    assert served["name"] == "local/echo"
    assert served["id"] in cloud.http.get("inference/list").text
    stop = {"deployment_id": served["id"]}
    assert server.send("DELETE", "api/inference/stop", json=stop).status_code == 200

    created = server.send("POST", "rent/keys", json={"name": "laptop"})
    path = Path(created.json()["path"])
    secret = path.read_text().strip()
    assert secret.startswith("lk_")
    assert secret not in created.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.startswith(_keys(cloud)["laptop"])
    again = server.send("POST", "rent/keys", json={"name": "laptop"})
    assert "exists. Nothing was created." in again.json()["detail"]
    assert "../evil" in server.send("POST", "rent/keys", json={"name": "../evil"}).json()["detail"]


def test_read_only_mode_and_a_budget_start_nothing(cloud, tmp_path):
    before = _vms(cloud)
    with running(tmp_path, LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key, LK_READ_ONLY="1") as server:
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA user@host\n")
        offer = _offer(server, "vms", "A100")
        answers = [
            server.send("POST", "rent/vms", json=_confirmed(offer)),
            server.send("POST", "rent/keys", json={"name": "other"}),
        ]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert all("read-only" in answer.json()["detail"].lower() for answer in answers)
    home = tmp_path / "home"
    home.mkdir()
    budget = {"LK_DAY_BUDGET": "0.2", "LK_JOURNAL": str(tmp_path / "journal.sqlite")}
    with running(home, LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key, **budget) as server:
        refused = server.send("POST", "rent/vms", json=_confirmed(_offer(server, "vms", "A100")))
        assert "The day budget of this computer is 0.2" in refused.json()["detail"]
    assert _vms(cloud) == before


def test_a_page_of_another_site_rents_and_creates_nothing(jupyter):
    for path, body in (("rent/vms", {"offer": "a100/1/on-demand", "per_hour": "9"}), ("rent/keys", {"name": "x"})):
        answer = jupyter.send("POST", path, json=body, headers={"X-XSRFToken": "", "Origin": "https://evil.example"})
        assert answer.status_code in {403, 404}
