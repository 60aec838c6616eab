"""The hosts that ``%lk_vm code`` writes: bounded, removable, and with a pinned host key."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lk_jupyter.vms import ssh_config
from lk_jupyter.vms.shell import HostKeyChanged
from lk_jupyter.vms.ssh import PublicKey, SshEndpoint

ENDPOINT = SshEndpoint("203.0.113.10", 2200)
USER_CONFIG = "Host work\n    User me\n\nServerAliveInterval 5\n"


@pytest.fixture
def folder(home):
    path = Path("~/.ssh").expanduser()
    path.mkdir(mode=0o700, parents=True)
    return path


def block(name):
    key = PublicKey(Path("~/.ssh/id_ed25519.pub").expanduser(), "")
    return ssh_config.host_block(name, ENDPOINT, "3F0C-8a1b", key)


def test_the_users_file_gets_one_line_and_is_as_before_when_the_last_host_is_removed(folder):
    (folder / "config").write_text(USER_CONFIG)
    for name in ("lk-one", "lk-two", "lk-one"):
        ssh_config.add_host(name, block(name))
    text = (folder / "config").read_text()
    assert text == "# >>> lk_jupyter >>>\nInclude lk_jupyter_config\n# <<< lk_jupyter <<<\n\n" + USER_CONFIG
    hosts = (folder / "lk_jupyter_config").read_text()
    assert [line for line in hosts.splitlines() if line.startswith("Host ")] == ["Host lk-two", "Host lk-one"]
    assert (folder / "config").stat().st_mode & 0o777 == 0o600
    ssh_config.remove_host("lk-one")
    ssh_config.remove_host("lk-unknown")
    assert "Include" in (folder / "config").read_text()
    ssh_config.remove_host("lk-two")
    assert (folder / "config").read_text() == USER_CONFIG
    assert not (folder / "lk_jupyter_config").exists()


def test_without_a_file_of_the_user_nothing_is_left_and_a_link_stays_a_link(folder, tmp_path):
    ssh_config.add_host("lk-one", block("lk-one"))
    ssh_config.remove_host("lk-one")
    assert list(folder.iterdir()) == []
    (tmp_path / "dotfile").write_text(USER_CONFIG)
    (folder / "config").symlink_to(tmp_path / "dotfile")
    ssh_config.add_host("lk-one", block("lk-one"))
    assert (folder / "config").is_symlink()
    assert (tmp_path / "dotfile").read_text().endswith(USER_CONFIG)


def test_each_byte_of_the_users_file_is_kept_in_any_encoding_and_with_any_line_ends(folder):
    content = "# Zürich\r\nHost work\r\n    User me\r\n".encode("latin-1")
    (folder / "config").write_bytes(content)
    ssh_config.add_host("lk-one", block("lk-one"))
    assert (folder / "config").read_bytes().endswith(content)
    ssh_config.remove_host("lk-one")
    assert (folder / "config").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "host"),
    [("train", "lk-train"), ("my model\nHost *", "lk-my-model-Host"), ("-oProxyCommand=x", "lk-oProxyCommand-x")],
)
def test_a_name_of_a_vm_can_be_no_pattern_and_no_option(name, host):
    assert ssh_config.host_name(name) == host


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH")
def test_ssh_reads_the_host_and_the_users_options_still_apply(folder):
    (folder / "config").write_text(USER_CONFIG)
    ssh_config.add_host("lk-one", block("lk-one"))
    hosts = folder / "lk_jupyter_config"  # ssh reads the home of the account, not of this test: name the file
    text = (folder / "config").read_text().replace("lk_jupyter_config", str(hosts))
    (folder / "config").write_text(text)
    done = subprocess.run(["ssh", "-G", "-F", folder / "config", "lk-one"], capture_output=True, text=True, check=True)
    options = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert (options["hostname"], options["port"], options["user"]) == ("203.0.113.10", "2200", "lyceum")
    assert (options["stricthostkeychecking"], options["serveraliveinterval"]) == ("accept-new", "30")
    assert options["hostkeyalias"] == "lk-3f0c8a1b"
    assert options["userknownhostsfile"].endswith("/lk_jupyter/vms/known_hosts")


def test_the_host_key_of_a_vm_is_stored_at_first_use_and_another_key_is_refused_until_the_vm_is_deleted(home):
    for vm_id, line in [
        ("3F0C-8a1b", "ssh-ed25519 AAAAone root@vm"),
        ("3f0c8a1b", "ssh-ed25519 AAAAone"),
        ("77", "k 2"),
    ]:
        ssh_config.pin_host_key(vm_id, line)
    assert ssh_config.host_keys_path().read_text() == "lk-3f0c8a1b ssh-ed25519 AAAAone\nlk-77 k 2\n"
    with pytest.raises(HostKeyChanged, match=r"Nothing was sent\. .* Delete the VM: %lk_vm delete 3f0c8a1b"):
        ssh_config.pin_host_key("3f0c8a1b", "ssh-ed25519 AAAAtwo")
    ssh_config.forget_host_key("3f0c8a1b")
    assert ssh_config.host_keys_path().read_text() == "lk-77 k 2\n"
    ssh_config.pin_host_key("3f0c8a1b", "ssh-ed25519 AAAAtwo")
