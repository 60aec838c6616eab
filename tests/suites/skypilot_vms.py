"""skypilot-lyceum's provisioner on VMs of a local cloud: from bootstrap to termination, as SkyPilot dispatches to it.

Commands and files reach the VM with SkyPilot's own runner, which starts ``ssh`` and ``rsync``, at the address that the
provisioner returns.
"""

import os
import shutil
import subprocess
import time

import pytest
import sky.provision
import skypilot_lyceum
from sky.exceptions import ResourcesUnavailableError
from sky.provision.common import ProvisionConfig
from sky.provision.provisioner import wait_for_ssh
from sky.utils.status_lib import ClusterStatus
from skypilot_lyceum import api
from skypilot_lyceum.provision import instance

CLOUD, REGION, NAME = "lyceum", "lyceum", "suite-1a2b"

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")


@pytest.fixture(scope="module")
def client():
    """The client of the provisioner, with the address and the key of the local cloud."""
    connected = api.LyceumClient(os.environ["LK_API_KEY"], os.environ["LK_BASE_URL"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance, "_client", lambda: connected)
        patch.setattr(instance, "POLL_INTERVAL_S", 0.2)
        skypilot_lyceum.enable()
        yield connected
    for vm in connected.list_vms():
        connected.terminate_vm(vm.vm_id)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """The file of a private key."""
    path = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def run_instances(key, name=NAME, **node):
    config = ProvisionConfig(
        provider_config={},
        authentication_config={"ssh_public_key": key.with_suffix(".pub").read_text()},
        docker_config={},
        node_config={"InstanceType": "a100.1x", **node},
        count=1,
        tags={},
        resume_stopped_nodes=True,
        ports_to_open_on_launch=None,
    )
    config = sky.provision.bootstrap_instances(CLOUD, REGION, name, config)
    return sky.provision.run_instances(CLOUD, REGION, name, name, config=config)


def query_instances(**options):
    return sky.provision.query_instances(CLOUD, NAME, NAME, {}, **options)


@pytest.fixture(scope="module")
def record(client, key):
    """The record of a cluster whose VM is usable."""
    record = run_instances(key)
    sky.provision.wait_instances(CLOUD, REGION, NAME, ClusterStatus.UP)
    return record


@pytest.fixture(scope="module")
def cluster_info(record):
    return sky.provision.get_cluster_info(CLOUD, REGION, NAME, {})


@pytest.fixture(scope="module")
def runner(cluster_info, key):
    """SkyPilot's runner of commands on the VM."""
    credentials = {"ssh_user": cluster_info.ssh_user, "ssh_private_key": str(key)}
    wait_for_ssh(cluster_info, credentials)
    [runner] = sky.provision.get_command_runners(CLOUD, cluster_info, **credentials)
    return runner


def test_a_second_launch_of_a_cluster_adopts_its_vm(record, key):
    assert record.created_instance_ids == [record.head_instance_id]
    again = run_instances(key)
    assert (again.head_instance_id, again.created_instance_ids) == (record.head_instance_id, [])


def test_a_usable_vm_is_up_and_has_an_address(record, cluster_info):
    assert query_instances() == {record.head_instance_id: (ClusterStatus.UP, None)}
    [[head]] = cluster_info.instances.values()
    assert (head.instance_id, cluster_info.head_instance_id) == (record.head_instance_id, record.head_instance_id)
    assert (cluster_info.ssh_user, head.external_ip) == ("lyceum", "127.0.0.1")


def test_a_command_over_ssh_has_the_output_and_the_exit_code_of_the_vm(runner):
    code, output, _ = runner.run("echo $USER; exit 3", require_outputs=True, stream_logs=False)
    assert (code, output.splitlines()[-1]) == (3, "lyceum")  # a notice of ssh may precede the output


@needs_rsync
def test_files_are_the_same_after_rsync_to_the_vm_and_back(runner, tmp_path):
    content = os.urandom(1_000_000)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weights.bin").write_bytes(content)
    runner.rsync(f"{tmp_path}/data/", "~/data", up=True, stream_logs=False)
    runner.rsync("~/data/", f"{tmp_path}/again", up=False, stream_logs=False)
    assert (tmp_path / "again" / "weights.bin").read_bytes() == content


def test_the_prices_and_the_available_vms_are_read(client):
    prices, available = client.get_vm_prices(), client.get_availability()
    assert ("on-demand", "a100", 1) in prices
    assert 1 in available["on-demand", "a100"]
    assert client.get_user_status()


def test_a_vm_without_capacity_is_left_to_another_cloud(client, key):
    with pytest.raises(ResourcesUnavailableError, match="no capacity for h200"):
        run_instances(key, "suite-without", InstanceType="h200.1x")
    assert client.find_vms_by_display_name("suite-without") == []


def test_a_terminated_cluster_has_no_vm_and_no_address(record, cluster_info, runner):
    sky.provision.terminate_instances(CLOUD, NAME, {})
    end = time.monotonic() + 60
    while query_instances() and time.monotonic() < end:
        time.sleep(0.2)
    assert query_instances() == {}
    assert query_instances(non_terminated_only=False)[record.head_instance_id][0] is None
    assert sky.provision.get_cluster_info(CLOUD, REGION, NAME, {}).instances == {}
    assert runner.run("true", stream_logs=False, connect_timeout=5) == 255
    sky.provision.terminate_instances(CLOUD, NAME, {})  # changes nothing
