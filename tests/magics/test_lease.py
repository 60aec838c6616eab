"""``%lk_lease`` at a broker."""

from __future__ import annotations

import csv
import os
import re

import pytest
from broker.running import RunningBroker, read_state, start_run


@pytest.fixture
def broker(make_cloud, tmp_path):
    cloud = make_cloud()  # without secrets of other tests, for which the key of a lease starts nothing
    running = RunningBroker(tmp_path / "broker" / "data", cloud.base_url, cloud.api_key)
    yield running
    running.stop()


def test_a_lease_spends_from_its_key_is_listed_with_its_use_and_revoked(broker, run_cell, monkeypatch):
    parent = broker.grant(credits=5, scopes=["runs", "lease", "secrets"])
    monkeypatch.setenv("LK_BASE_URL", broker.base_url)
    monkeypatch.setenv("LK_API_KEY", parent.key)
    monkeypatch.delenv("AGENT_KEY", raising=False)
    assert "No leases" in run_cell("%lk_lease")
    options = "--minutes 60 --machines A100,L40S --name agent --project moon --to-env AGENT_KEY"
    output = run_cell(f"%lk_lease 2.50 {options}")
    lease = re.search("Lease ([0-9a-f]{16})", output)[1]
    key = os.environ.pop("AGENT_KEY")
    assert key not in output
    state = read_state(broker.client(key))
    assert (state["credits"], state["minutes"], state["machines"]) == (2.5, 60, ["gpu.a100", "gpu.l40s"])
    assert re.search(rf"{lease} +agent +moon +active", run_cell("%lk_lease"))
    start_run(broker.client(key))
    (row,) = csv.DictReader(parent.get("/broker/spending.csv").text.splitlines())
    assert (row["project"], row["name"]) == ("moon", "agent")
    assert ">moon<" in parent.get("/broker/spending").text
    assert "Revoked the lease" in run_cell(f"%lk_lease --revoke {lease[:4]} --yes")
    assert broker.client(key).get("/broker/key").status_code == 401
    assert "Nothing was revoked" in run_cell("%lk_lease --revoke zz --yes")


def test_a_cloud_that_is_no_broker_issues_no_lease(signed_in, run_cell):
    assert "isn't a broker" in run_cell("%lk_lease 2.50")
