"""VMs whose server is Debian's OpenSSH, in place of the guest of the local cloud."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import PATIENCE
from vms.on_vm import active_keys, facts_of, living, start, text_of, until

from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.vms import sending
from lk_jupyter.vms.facts import facts_folder
from lk_jupyter.vms.shell import HostKeyChanged, VmShell, key_pair

pytest.importorskip("asyncssh")

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
WRAPPER = next(Path("/usr/lib").glob("*/libnss_wrapper.so"), None)
NOBODY = 65534

needs_server = pytest.mark.skipif(
    not (Path(SSHD).exists() and WRAPPER and (os.geteuid() or shutil.which("setpriv"))),
    reason="needs the Debian packages openssh-server and libnss-wrapper",
)


class OpenSsh:
    """A server of OpenSSH as an ordinary user, whose only account has the documented name of VMs.

    An ordinary user's server accepts only its own account: ``libnss-wrapper`` gives that account the name.
    """

    def __init__(self, folder, key_line):
        self.folder, self.home = folder, folder / "home"
        self.uid = os.geteuid() or NOBODY
        self.home.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.make_host_key()
        (folder / "authorized").write_text(key_line + "\n")
        (folder / "passwd").write_text(f"lyceum:x:{self.uid}:{self.uid}:VM:{self.home}:/bin/sh\n")
        (folder / "group").write_text(f"lyceum:x:{self.uid}:\n")
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {folder}/authorized\nPidFile none\nUsePAM no\nStrictModes no\nMaxStartups 100\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        )

    def make_host_key(self):
        """Make a host key, in place of an earlier one."""
        path = self.folder / "host_key"
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

    @contextmanager
    def running(self):
        """Run the server, and end it with its sessions."""
        for path in [self.folder, *self.folder.rglob("*")]:
            os.chown(path, self.uid, self.uid)
        drop = [] if os.geteuid() else ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        names = {"NSS_WRAPPER_PASSWD": self.folder / "passwd", "NSS_WRAPPER_GROUP": self.folder / "group"}
        server = subprocess.Popen(
            [*drop, SSHD, "-D", "-e", "-f", self.folder / "config"],
            env={**os.environ, **{name: str(path) for name, path in names.items()}, "LD_PRELOAD": str(WRAPPER)},
            stderr=subprocess.DEVNULL,
        )
        try:
            until(self.answers)
            yield
        finally:
            server.terminate()
            server.wait(PATIENCE)

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def server(home):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield OpenSsh(folder, key_pair(facts_folder() / "ssh_key"))


@pytest.mark.nightly
@needs_server
def test_commands_reach_openssh_and_a_changed_host_key_is_refused_before_anything_is_sent(server):
    pins = []
    with server.running():
        shell = VmShell(server.address, facts_folder() / "ssh_key", None, pins.append)
        assert shell.run("cat; pwd", b"\x00\xff" * 500_000) == b"\x00\xff" * 500_000 + f"{server.home}\n".encode()
        with pytest.raises(ConnectionFailed, match="exit code 3: no space"):
            shell.run("echo no space >&2; exit 3")
        assert b"".join(shell.stream("seq 100000")).count(b"\n") == 100_000
        shell.close()
        assert VmShell(server.address, facts_folder() / "ssh_key", pins[0], pins.append).run("echo 1") == b"1\n"
    server.make_host_key()
    with server.running():
        other = VmShell(server.address, facts_folder() / "ssh_key", pins[0], pins.append)
        with pytest.raises(HostKeyChanged, match=r"another host key than before\. Nothing was sent"):
            other.run("touch sent")
    assert len(pins) == 1
    assert not (server.home / "sent").exists()


@pytest.mark.nightly
@needs_server
def test_a_run_and_its_interrupt_work_on_a_vm_with_openssh(session, vms, server, monkeypatch):
    poll_states = sending.poll_states

    def with_openssh(*arguments):
        """The states of a VM, with the address of the server."""
        for status in poll_states(*arguments):
            yield status.model_copy(update={"ip_address": server.address}) if status.usable else status

    monkeypatch.setattr(sending, "poll_states", with_openssh)
    code = """
import os
print(os.environ["USER"], flush=True)
for i in range(2000): print("line", i)
total = 42
"""
    with server.running():
        run = start(session, code, outputs=["total"])
        assert text_of(run.follow()).splitlines()[:2001] == ["lyceum", *(f"line {i}" for i in range(2000))]
        assert run.outputs() == {"total": 42}
        interrupted = start(
            session,
            "import time\ntry:\n    print('ready', flush=True); time.sleep(600)\n"
            "except KeyboardInterrupt:\n    print('saved', flush=True); raise",
        )
        text = ""
        for event in interrupted.follow():
            text += getattr(event, "content", "")
            if text == "ready\n":
                interrupted.abort()
        assert "saved\n" in interrupted.log_path.read_text()
        assert facts_of(interrupted).is_deleted
    assert (living(vms), active_keys(vms)) == ([], [])
