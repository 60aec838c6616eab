"""A cloud for the tests of VMs, and a session on it."""

import pytest
from vms.on_vm import cloud_with_faults

import lk_jupyter


@pytest.fixture(scope="module")
def vms(tmp_path_factory):
    """A cloud whose VMs start quickly."""
    yield from cloud_with_faults(tmp_path_factory.mktemp("vms"), clock_speed=50)


@pytest.fixture
def session(vms, home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # not next to the package, which code that imports it would upload
    monkeypatch.setenv("LK_BASE_URL", vms.base_url)
    monkeypatch.setenv("LK_API_KEY", vms.api_key)
    with lk_jupyter.connect() as connected:
        yield connected
    vms.http.delete(f"{vms.base_url}/_faults")
    for vm in vms.client.vms.list(include_terminated=False):
        vms.client.vms.delete(vm.vm_id)
