"""VMs whose port 22 this network blocks: through an SSH server, and through a Jupyter server with the extension."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from conftest import RunningCloud
from serverext.conftest import running as running_jupyter
from vms.on_vm import facts_of, start, text_of, until

from lk_jupyter.config import settings
from lk_jupyter.config.files import config_file
from lk_jupyter.errors import ConnectionFailed, UsageError
from lk_jupyter.vms import ssh_config
from lk_jupyter.vms.facts import facts_folder
from lk_jupyter.vms.jump import jump_command
from lk_jupyter.vms.offers import VmShape
from lk_jupyter.vms.shell import VmShell, key_pair, read_host_key
from lk_jupyter.vms.ssh import PublicKey, SshEndpoint
from lk_jupyter.vms.vms import request_for

asyncssh = pytest.importorskip("asyncssh")

pytestmark = pytest.mark.usefixtures("home")

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH")

#: While its list isn't empty, the SSH connections of this process fail, as in a network that blocks them.
_blocks: list[str] = []


def _block_connections(event, _arguments):
    if _blocks and event == "socket.connect" and threading.current_thread().name == "lk-ssh":
        raise ConnectionRefusedError("blocked by the network")


sys.addaudithook(_block_connections)


@pytest.fixture
def blocked_network():
    """A network in which this process can open no SSH connection; other processes of the machine can."""
    _blocks.append("ssh")
    yield
    _blocks.clear()


@contextmanager
def jump_server(port=0):
    """Run an SSH server that accepts all users but one and opens connections for them; yield its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    connections = []

    class Login(asyncssh.SSHServer):
        def connection_made(self, conn):
            connections.append(conn)

        def begin_auth(self, username):
            return username != "me"  # without a login

        def connection_requested(self, *_):
            return True

    async def listen():
        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.listen("127.0.0.1", port, server_factory=Login, server_host_keys=[key])

    async def close():
        acceptor.close()
        for connection in connections:  # a connection that is open at the end of the loop fails another test
            connection.abort()
            await connection.wait_closed()

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    try:
        yield acceptor.get_port()
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize(
    "text",
    ["me@jump.example:2222", "jump", "me@[2001:db8::1]:22", "https://hub.example/user/a%40b.c/", "http://127.0.0.1:1/"],
)
def test_a_jump_is_an_ssh_server_or_the_address_of_a_jupyter_server(text):
    assert settings.parse_setting("ssh_jump", text) == text


@pytest.mark.parametrize(
    "text", ["-oProxyCommand=x", "me@jump;id", "me@", "jump:port", "http://hub.example/", "https://a b/", "a,b"]
)
def test_a_jump_is_no_option_no_command_and_no_address_without_encryption(text):
    with pytest.raises(UsageError, match="ssh_jump takes"):
        settings.parse_setting("ssh_jump", text)


def test_without_a_jump_the_error_of_a_blocked_port_shows_the_way_out(tmp_path):
    cloud = RunningCloud(tmp_path / "cloud", "--clock-speed", "50", "--vm-ssh-blocked")
    try:
        vm_id = cloud.client.vms.create(request(key_pair(facts_folder() / "ssh_key"))).vm_id
        address = until(lambda: cloud.client.vms.status(vm_id).ip_address)
        assert jump_command(vm_id, SshEndpoint.of(address)) == []
        shell = VmShell(address, facts_folder() / "ssh_key", None, print)
        with pytest.raises(ConnectionFailed, match=r"If your network blocks SSH: %lk_config ssh_jump USER@HOST"):
            shell.run("true")
        cloud.client.vms.delete(vm_id)
    finally:
        cloud.stop()


@needs_ssh
def test_code_runs_on_a_vm_through_an_ssh_server_whose_host_key_is_pinned(
    session, blocked_network, monkeypatch, tmp_path
):
    with jump_server() as port:
        monkeypatch.setenv("LK_SSH_JUMP", f"me@127.0.0.1:{port}")
        run = start(session, "print('through the jump')")
        assert "through the jump" in text_of(run.follow())
        run.result()
    assert "ssh-ed25519 " in ssh_config.host_keys_path().read_text()
    with jump_server(port):  # another host key at the same address
        words = jump_command("3f0c", SshEndpoint("127.0.0.1", 22))
        shell = VmShell("127.0.0.1:22", facts_folder() / "ssh_key", None, print, words)
        with pytest.raises(ConnectionFailed, match=r"the jump failed: .*Host key verification failed"):
            shell.run("true")


@needs_ssh
def test_the_error_of_a_jump_has_the_reason_of_the_jump(monkeypatch, tmp_path):
    key_pair(facts_folder() / "ssh_key")
    with jump_server() as port:
        monkeypatch.setenv("LK_SSH_JUMP", f"you@127.0.0.1:{port}")
        words = jump_command("3f0c", SshEndpoint("127.0.0.1", 22))
        shell = VmShell("127.0.0.1:22", facts_folder() / "ssh_key", None, print, words)
        with pytest.raises(ConnectionFailed, match=r"the jump failed: .*Permission denied"):
            shell.run("true")


@needs_ssh
def test_ssh_reads_the_jump_from_the_block_of_a_host(monkeypatch, tmp_path):
    monkeypatch.setenv("LK_SSH_JUMP", "me@jump.example:2222")
    block = ssh_config.host_block("lk-one", SshEndpoint("2001:db8::1", 22), "3F0C-8a1b", None)
    (tmp_path / "config").write_text(block)
    done = subprocess.run(
        ["ssh", "-G", "-F", tmp_path / "config", "lk-one"], capture_output=True, text=True, check=True
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("proxycommand ")]
    assert line.startswith("proxycommand ssh -W '[2001:db8::1]:22' -p 2222 -l me ")
    command = ssh_config.ssh_command(SshEndpoint("2001:db8::1", 22), "3F0C-8a1b", None)
    assert "-o 'ProxyCommand=ssh -W " in command


@pytest.fixture(scope="module")
def server(vms, tmp_path_factory):
    """A Jupyter server of a user who is signed in to the cloud."""
    home = tmp_path_factory.mktemp("jupyter")
    with running_jupyter(home, LK_BASE_URL=vms.base_url, LK_API_KEY=vms.api_key) as jupyter:
        yield jupyter


@pytest.fixture
def jump(server, monkeypatch):
    """The settings of a user who jumps through the server."""
    monkeypatch.setenv("LK_SSH_JUMP", server.url)
    monkeypatch.setenv("LK_SSH_JUMP_TOKEN", server.token)
    return server


@pytest.fixture
def vm(session, tmp_path):
    """A VM of the user, and the user's key."""
    line = key_pair(tmp_path / "key")
    created = session.client.vms.create(request(line))
    return until(lambda: usable(session, created.vm_id)), PublicKey(tmp_path / "key.pub", line)


def test_code_runs_on_a_vm_through_a_jupyter_server(session, jump, blocked_network):
    run = start(session, "print('x' * 300_000)")
    assert "x" * 300_000 in text_of(run.follow())
    run.result()
    assert facts_of(run).pinned


@needs_ssh
def test_ssh_logs_in_through_a_jupyter_server_and_copies_bytes_of_all_values(jump, vm, tmp_path):
    status, key = vm
    endpoint = SshEndpoint.of(status.ip_address)
    data = bytes(range(256)) * 1000
    block = ssh_config.host_block("lk-one", SshEndpoint("192.0.2.1", 22), status.vm_id, key)
    assert jump.token not in block
    (tmp_path / "config").write_text(block.replace("~", str(tmp_path)))  # ssh reads the home of the account
    command = ["ssh", "-F", tmp_path / "config", "lk-one", "cat; exit 3"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, data), done.stderr
    assert read_host_key(endpoint, jump_command(status.vm_id, endpoint))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"LK_SSH_JUMP_TOKEN": "wrong"}, "refused the token"),
        ({"LK_SSH_JUMP_TOKEN": ""}, "Set LK_SSH_JUMP_TOKEN"),
        ({"LK_SSH_JUMP": "http://127.0.0.1:1/"}, "doesn't answer"),
        ({}, "VM not found"),
    ],
)
def test_an_error_of_a_jupyter_server_has_the_reason_and_no_token(jump, monkeypatch, changes, reason):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    key_pair(facts_folder() / "ssh_key")
    words = jump_command("0" * 32, SshEndpoint("127.0.0.1", 22))
    shell = VmShell("127.0.0.1:22", facts_folder() / "ssh_key", None, print, words)
    with pytest.raises(ConnectionFailed, match=f"the jump failed: .*{reason}") as failure:
        shell.run("true")
    assert jump.token not in str(failure.value)


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
def test_a_token_in_a_file_that_others_can_read_is_refused(jump, monkeypatch):
    monkeypatch.delenv("LK_SSH_JUMP_TOKEN")
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(f'{{"ssh_jump_token": "{jump.token}"}}')
    words = jump_command("0" * 32, SshEndpoint("127.0.0.1", 22))
    for mode, reason in [(0o644, "chmod 600"), (0o600, "VM not found")]:
        config_file().chmod(mode)
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert (done.returncode, reason in done.stderr) == (1, True), done.stderr


def request(line):
    return request_for(VmShape("a100", 1, "on-demand"), line)


def usable(session, vm_id):
    status = session.client.vms.status(vm_id)
    return status if status.usable else None
