"""Brokers in front of a local cloud, and of a cloud that answers as a test orders."""

from __future__ import annotations

import pytest
from broker.running import OddCloud, RunningBroker
from conftest import RunningCloud

from lk_jupyter.broker.ledger import GrantLedger


@pytest.fixture(scope="session")
def upstream(tmp_path_factory):
    running = RunningCloud(tmp_path_factory.mktemp("cloud"), "--clock-speed", "20", has_lab=False)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def broker(upstream, tmp_path_factory):
    running = RunningBroker(tmp_path_factory.mktemp("broker") / "data", upstream.base_url, upstream.api_key)
    yield running
    running.stop()


@pytest.fixture
def ledger(tmp_path):
    """A ledger whose operator has the key root-key."""
    ledger = GrantLedger(tmp_path / "ledger.sqlite")
    ledger.add_root("root-key")
    yield ledger
    ledger.close()


@pytest.fixture
def odd_cloud():
    cloud = OddCloud()
    yield cloud
    cloud.server.shutdown()
    cloud.server.server_close()


@pytest.fixture
def odd_broker(odd_cloud, tmp_path):
    key = "lk_organization_key_0123456789"
    running = RunningBroker(tmp_path / "data", odd_cloud.base_url, key, is_forked=True)
    yield running
    running.stop()
