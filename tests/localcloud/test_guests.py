"""The SSH servers of VMs: who may log in, what runs there, and the troubles that a real VM has."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import subprocess

import pytest
from localcloud.test_vms import body, create, end, status, used
from patience import PATIENCE

asyncssh = pytest.importorskip("asyncssh")

FAST = ("--clock-speed", "50")

needs_ssh = pytest.mark.skipif(shutil.which("scp") is None, reason="needs OpenSSH")


@pytest.fixture
def key(tmp_path):
    """A private key and its public line."""
    private_key = asyncssh.generate_private_key("ssh-ed25519")
    path = tmp_path / "key"
    path.write_bytes(private_key.export_private_key())
    path.chmod(0o600)
    return path, private_key.export_public_key().decode().strip()


@pytest.fixture
def guest(make_api, until, key):
    """A cloud, a VM with an address, and the start of an ssh command line."""
    api = make_api(*FAST)
    vm = create(api, user_public_key=key[1])
    return api, vm, until(lambda: status(api, vm)["ip_address"])


def options(key, address, tmp_path, port="-p"):
    host_options = ["-o", f"UserKnownHostsFile={tmp_path / 'known'}", "-o", "StrictHostKeyChecking=accept-new"]
    return ["-F", "none", "-i", str(key[0]), port, address.partition(":")[2], *host_options, "-o", "BatchMode=yes"]


def ssh(key, address, tmp_path, command, user="lyceum", **how):
    words = ["ssh", *options(key, address, tmp_path), f"{user}@127.0.0.1", command]
    return subprocess.run(words, capture_output=True, check=False, **how)


@needs_ssh
@pytest.mark.skipif(os.name == "nt", reason="OpenSSH for Windows shares no connections")
@pytest.mark.parametrize("terminal", ["-T", "-tt"])
def test_a_command_over_a_shared_connection_has_its_exit_code(guest, key, tmp_path, terminal):
    api, vm, address = guest
    shared = ["-o", "ControlMaster=auto", "-o", "ControlPath=shared", "-o", "ControlPersist=60"]
    command = "trap '' HUP; echo $USER; exec </dev/null >/dev/null 2>/dev/null; sleep 0.2; exit 3"
    words = ["ssh", *options(key, address, tmp_path), *shared, terminal, "lyceum@127.0.0.1", command]
    files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    result = subprocess.run(words, cwd=tmp_path, check=False, **files)
    assert (result.returncode, result.stdout.split()) == (3, [b"lyceum"])
    end(api, vm)


@needs_ssh
def test_an_error_after_the_end_of_the_standard_output_is_received(guest, key, tmp_path):
    api, vm, address = guest
    result = ssh(key, address, tmp_path, "exec >&-; sleep 0.5; echo late >&2", stdin=subprocess.DEVNULL)
    assert (result.returncode, b"late" in result.stderr) == (0, True)
    end(api, vm)


@needs_ssh
def test_ssh_and_scp_of_the_system_reach_real_processes_in_the_folder_of_the_vm(guest, key, tmp_path):
    api, vm, address = guest
    home = api.cloud.data / "vms" / vm / "home"
    done = ssh(key, address, tmp_path, "pwd; echo to stderr >&2; cat; exit 3", input=b"from stdin")
    assert (done.returncode, done.stdout) == (3, f"{home}\nfrom stdin".encode())
    assert b"to stderr" in done.stderr
    (tmp_path / "data.bin").write_bytes(os.urandom(100_000))
    target = "lyceum@127.0.0.1:kept.bin"
    subprocess.run(["scp", *options(key, address, tmp_path, "-P"), tmp_path / "data.bin", target], check=True)
    assert (home / "kept.bin").read_bytes() == (tmp_path / "data.bin").read_bytes()
    if shutil.which("rsync"):
        remote = f"ssh {' '.join(options(key, address, tmp_path))}"
        subprocess.run(["rsync", "-e", remote, tmp_path / "data.bin", "lyceum@127.0.0.1:synced.bin"], check=True)
        assert (home / "synced.bin").exists()
    other = ssh(key, address, tmp_path, "true", user="root")
    assert (other.returncode, b"Permission denied" in other.stderr) == (255, True)
    end(api, vm)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("scp") is None or shutil.which("rsync") is None, reason="needs OpenSSH and rsync")
def test_folders_are_copied_with_scp_sftp_and_rsync_in_both_directions(guest, key, tmp_path):
    api, vm, address = guest
    home, local = api.cloud.data / "vms" / vm / "home", tmp_path / "data"
    (local / "deep" / "er").mkdir(parents=True)
    for number in range(20):
        (local / "deep" / f"ü {number}.bin").write_bytes(os.urandom(number * 1000))

    def contents(folder):
        return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}

    remote = "lyceum@127.0.0.1:"
    scp, ssh = [*options(key, address, tmp_path, "-P")], shlex.join(["ssh", *options(key, address, tmp_path)])
    for kind in ("-s", "-O"):  # over SFTP, and by the protocol of older versions
        subprocess.run(["scp", "-q", kind, "-r", *scp, local, f"{remote}scp{kind}"], check=True)
        subprocess.run(["scp", "-q", kind, "-r", *scp, f"{remote}scp{kind}", tmp_path / f"back{kind}"], check=True)
        assert contents(home / f"scp{kind}") == contents(tmp_path / f"back{kind}") == contents(local)
    subprocess.run(["rsync", "-a", "-e", ssh, f"{local}/", f"{remote}synced"], check=True)
    (local / "deep" / "ü 3.bin").unlink()
    (local / "new.txt").write_text("new")
    subprocess.run(["rsync", "-az", "--delete", "-e", ssh, f"{local}/", f"{remote}synced"], check=True)
    subprocess.run(["rsync", "-a", "-e", ssh, f"{remote}synced/", tmp_path / "fetched"], check=True)
    assert contents(home / "synced") == contents(tmp_path / "fetched") == contents(local)
    batch = f"put -r {local} sftp\nget -r sftp {tmp_path / 'got'}\n"
    subprocess.run(["sftp", "-q", "-b", "-", *scp, remote[:-1]], input=batch.encode(), check=True, stdout=-3)
    assert contents(home / "sftp") == contents(tmp_path / "got") == contents(local)


def connect(address, key, **how):
    host, _, port = address.partition(":")
    return asyncssh.connect(host, int(port), config=None, agent_path=None, **{
        "username": "lyceum", "client_keys": [str(key[0])], "known_hosts": None, **how
    })  # fmt: skip


def refuses(address, key, **how):
    """Whether a VM refuses a login."""

    async def log_in():
        async with connect(address, key, **how):
            return False

    try:
        return asyncssh_run(log_in())
    except asyncssh.PermissionDenied:
        return True


def asyncssh_run(work):
    return asyncio.run(work)


def test_only_the_documented_user_with_the_key_of_the_request_may_log_in(guest, key, tmp_path):
    api, vm, address = guest
    other = tmp_path / "other"
    other.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    assert not refuses(address, key)
    assert refuses(address, key, username="ubuntu")
    assert refuses(address, (other, ""))
    assert refuses(address, key, client_keys=[], password="lyceum")
    end(api, vm)


def is_open(address):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(address.partition(":")[2]))) == 0


def test_a_deleted_vm_ends_its_processes_its_port_and_its_folder(guest, key, until):
    api, vm, address = guest

    async def delete_during_a_connection():
        async with connect(address, key) as connection:
            pid = int((await connection.run("nohup sleep 600 >/dev/null 2>&1 & echo $!")).stdout)
            os.kill(pid, 0)
            await asyncio.to_thread(end, api, vm)
            await asyncio.wait_for(connection.wait_closed(), PATIENCE)
            return pid

    pid = asyncssh_run(delete_during_a_connection())
    until(lambda: not is_open(address) and not (api.cloud.data / "vms" / vm).exists())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.nightly
def test_a_vm_keeps_port_host_key_and_files_when_the_cloud_restarts(guest, key, until):
    api, vm, address = guest
    home = api.cloud.data / "vms" / vm / "home"
    (home / "kept").write_text("text")
    before = (home.parent / "host_key").read_bytes()
    api.cloud.restart()
    api.connect()
    assert until(lambda: status(api, vm)["ip_address"]) == address
    assert until(lambda: is_open(address))
    assert ((home / "kept").read_text(), (home.parent / "host_key").read_bytes()) == ("text", before)
    end(api, vm)


def test_a_guest_that_shuts_down_is_billed_until_its_vm_is_deleted(guest, key, until):
    api, vm, address = guest

    async def power_off():
        async with connect(address, key) as connection:
            await connection.run("sudo poweroff")
            await asyncio.wait_for(connection.wait_closed(), PATIENCE)

    asyncssh_run(power_off())
    until(lambda: not is_open(address))
    before = used(api)
    assert until(lambda: used(api) > before)
    assert status(api, vm)["status"] == "running"
    end(api, vm)


def test_a_vm_runs_without_an_address_for_a_while_and_a_spot_vm_is_reclaimed(make_api, until, key):
    api = make_api(*FAST, "--vm-address-seconds", "1e9", "--vm-reclaim-seconds", "20")
    vm = create(api, user_public_key=key[1])
    spot = create(api, user_public_key=key[1], instance_type="spot")
    until(lambda: status(api, spot)["status"] == "terminated")
    assert (status(api, vm)["status"], status(api, vm)["ip_address"]) == ("running", None)
    end(api, vm)


@pytest.mark.nightly
def test_a_network_that_blocks_ssh_refuses_connections_to_an_address_that_the_api_shows(make_api, until, key):
    api = make_api(*FAST, "--vm-ssh-blocked")
    vm = create(api, user_public_key=key[1])
    address = until(lambda: status(api, vm)["ip_address"])
    assert not is_open(address)
    end(api, vm)


@pytest.mark.nightly
def test_a_key_that_is_none_lets_nobody_in(make_api, until, key):
    api = make_api(*FAST)
    vm = api.post("/vms/create", body(user_public_key="ssh-ed25519 AAAAC3Nza user@host")).json()["vm_id"]
    assert refuses(until(lambda: status(api, vm)["ip_address"]), key)
    end(api, vm)
