"""Another user of the same machine, who runs programs of his own: what he reads, reaches and gets.

He is played by a process that gives up being root, so these tests run as root alone.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from cloud_process import FORKS, PROCESSES
from conftest import RunningCloud
from localcloud.conftest import Api
from patience import PATIENCE

from lk_jupyter.config import credentials, settings
from lk_jupyter.config.credentials import Credential
from lk_jupyter.errors import LocalCloudError
from lk_jupyter.localcloud import launch
from lk_jupyter.storage import _preview_process
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.preview import preview_object

NOBODY = 65534
IS_ROOT = sys.platform == "linux" and FORKS and os.geteuid() == 0

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user, and only where there is fork")

SECRET = "a-secret-of-the-owner"
CODE = "import time\nopen('note.txt', 'w').write('mine')\nprint('up', flush=True)\ntime.sleep(600)"


@pytest.fixture(scope="module")
def as_another_user():
    """What a function of this module gives when another user of the machine calls it."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_be_nobody, args=(theirs,), daemon=True)
    process.start()
    theirs.close()

    def call(work, *arguments):
        ours.send((work, arguments))
        return ours.recv()

    yield call
    ours.close()
    process.join(PATIENCE)


def _be_nobody(wire):
    "".encode("idna")  # afterwards no module of Python may be readable
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    with suppress(EOFError):
        while True:
            work, arguments = wire.recv()
            wire.send(work(*arguments))


@pytest.fixture(scope="module")
def house():
    """A home that everybody may enter, as homes are on many machines, in a place that everybody may enter."""
    before = os.umask(0o022)
    folder = Path(tempfile.mkdtemp(prefix="lk-house-"))
    folder.chmod(0o755)
    yield folder
    os.umask(before)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def owner(house):
    """A user with a local cloud that has objects, a run with a file, and a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(house))
        for name in (*(f"XDG_{kind}_HOME" for kind in ("CONFIG", "DATA", "STATE", "CACHE")), "LK_LOCAL_DATA"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        cloud = RunningCloud(settings.setting("local_data"))
        api = Api(cloud)
        assert api.post("/environment-variables/", {"name": "SECRET", "value": SECRET}).is_success
        assert api.http.post("/storage/upload", params={"key": "a.txt"}, files={"file": b"mine"}).is_success
        api.run = api.start(CODE, timeout=600)
        assert api.first_line(api.run) == "up"
        settings.save("machine", "gpu.a100")
        credentials.store_key(Credential("https://api.example.org", "lk_of-the-owner"))
        yield api
        api.post(f"/workloads/abort/{api.run}")
        api.ended(api.run)
        api.http.close()
        cloud.stop()


def tree(cloud):
    """The processes of a cloud, runs and storage included."""
    process = psutil.Process(cloud.process.pid)
    return [process, *process.children(recursive=True)]


def read_all(paths):
    """Return what can be opened or listed of these paths."""
    found = []
    for path in paths:
        with suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))
            found.append(path)
    return found


def test_another_user_reads_no_file(as_another_user, owner, house):
    paths = [str(path) for path in house.rglob("*")]
    assert [path for path in paths if path.endswith("note.txt")]
    assert [path for path in paths if path.endswith("config.json")]
    readable = as_another_user(read_all, paths)
    assert [path for path in readable if not is_bare_folder(path, house)] == []


def is_bare_folder(path, house):
    """Whether a folder is one of those that all programs share, such as ~/.local/share."""
    return Path(path).relative_to(house).as_posix() in {".local", ".local/share", ".local/state", ".config", ".cache"}


def command_lines():
    """Return what every process shows of its command line and environment."""
    shown = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                shown.append((folder / name).read_bytes().decode(errors="replace"))
    return "\n".join(shown)


def test_another_user_sees_no_secret_in_the_list_of_processes(as_another_user, owner):
    shown = as_another_user(command_lines)
    assert "weed" in shown
    keys = [owner.cloud.api_key, owner.cloud.ticket, SECRET, owner.run]
    keys += re.findall(r'"secretKey": "(.+?)"', (owner.cloud.data / "storage" / "s3.json").read_text())
    assert len(keys) == 5
    assert [key for key in keys if key in shown] == []


def ask(port, request, *, tls):
    """Return what a port answers to the bytes of a request, however it puts it."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=3) as plain:
        wire = _encrypted(plain) if tls else plain
        wire.sendall(request)
        return wire.recv(65_536)
    return b""


def _encrypted(plain):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(plain)


PATHS = [
    "/",
    "/dir/status",
    "/dir/assign",
    "/1,0100000000",
    "/dir/lookup?volumeId=1",
    "/vol/status",
    "/cluster/status",
    "/buckets/",
    "/etc/iam/identity.json?metadata=true",
    "/status",
    "/stats/disk",
    "/metrics",
    "/debug/pprof/",
    "/api/v2/external/user/status",
    "/api/v2/external/storage/list-files",
    "/cli-login?callback=http://localhost:1/",
    "/_faults",
]
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
MAY_BE_SEEN = {
    "/cli-login?callback=http://localhost:1/",
    "/status",
}  # a page without a token in it; that S3 is up, how full the disk is


def ask_ports(ports):
    """Return what was given to somebody without a key: port, path and first bytes of the answer."""
    given = []
    for port in ports:
        for tls in (False, True):
            if answer := ask(port, HTTP2, tls=tls):
                given.append((port, "HTTP/2", answer[:200]))
            for path in PATHS:
                answer = ask(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), tls=tls)
                given.append((port, path, answer[:200]))
    return given


@pytest.mark.nightly
def test_another_user_gets_nothing_from_any_port(as_another_user, owner):
    listening = [c for process in tree(owner.cloud) for c in process.net_connections("inet")]
    ports = {c.laddr.port for c in listening if c.status == psutil.CONN_LISTEN}
    assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert len(ports) > 10
    answers = as_another_user(ask_ports, sorted(ports))
    assert {path for _, path, answer in answers if answer.startswith(b"HTTP/1.1 401")} >= {
        "/api/v2/external/user/status"
    }
    given = [(port, path, answer) for port, path, answer in answers if not is_refusal(answer)]
    assert [row for row in given if row[1] not in MAY_BE_SEEN] == []


def is_refusal(answer):
    """Whether nothing was said, or a refusal: of HTTP, or a frame of HTTP/2 that ends the connection."""
    return not answer or bool(re.match(rb"HTTP/1\.[01] (400|401|403|404|405)", answer))


def connect_all(paths):
    """Return the sockets of files that let somebody in."""
    opened = []
    for path in paths:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as wire:
            wire.connect(path)
            opened.append(path)
    return opened


def test_another_user_enters_no_socket_in_the_file_system(as_another_user, owner):
    listening = [c.laddr for process in tree(owner.cloud) for c in process.net_connections("unix") if c.laddr]
    paths = sorted(path for path in set(listening) if path.startswith("/"))
    assert [path for path in paths if "seaweedfs" in path]
    assert as_another_user(connect_all, paths) == []
    assert connect_all(paths)


class Watched(io.BytesIO):
    """A file whose reader waits while another user looks at it."""

    def __init__(self, content, look):
        super().__init__(content)
        self.look, self.results = look, []

    def read(self, *arguments):
        if not self.results:
            self.results.append(self.look(_preview_process.PROCESS.child.process.pid))
        return super().read(*arguments)


def look_at(pid, folder):
    """Return all that can be read of a process, names of temporary files, and signals that reach the process."""
    texts, signals = [command_lines()], []
    for place in (f"/proc/{pid}", f"/proc/{pid}/task/{pid}", f"/proc/{pid}/fd", f"/proc/{pid}/map_files", folder):
        with suppress(OSError):
            for path in Path(place).iterdir():
                with suppress(OSError):
                    texts.append(str(path.readlink()))
                with suppress(OSError):
                    texts.append(path.read_bytes().decode(errors="replace"))
    for number in (0, signal.SIGTERM, signal.SIGSTOP):
        with suppress(PermissionError):
            os.kill(pid, number)
            signals.append(number)
    names = [str(path) for top in (tempfile.gettempdir(), "/dev/shm") for path in Path(top).glob("*")]
    return "\n".join([*texts, *names]), signals


def test_another_user_sees_no_content_key_or_name_of_a_file_while_it_is_previewed(as_another_user, owner, monkeypatch):
    name, sink = "plans-of-the-owner.npy", io.BytesIO()
    np.save(sink, np.zeros(3))
    content = sink.getvalue() + SECRET.encode()
    monkeypatch.setenv("LK_API_KEY", owner.cloud.api_key)
    _preview_process.PROCESS.close()
    folders = []

    def look(pid):
        process = psutil.Process(pid)
        assert process.net_connections("all") == []  # nothing to connect to
        folders.append(process.cwd())
        return as_another_user(look_at, pid, process.cwd())

    file = Watched(content, look)
    assert preview_object(ObjectInfo(f"private/{name}", len(content), None), file).words.startswith("Array of float64")
    ((text, signals),) = file.results
    assert "_preview_child" in text  # the process is in the list
    assert [word for word in (name, "private/", SECRET, owner.cloud.api_key) if word in text] == []
    assert signals == []
    assert as_another_user(read_all, [*folders, f"/proc/{_preview_process.PROCESS.child.process.pid}/environ"]) == []


def sign_in(port):
    """Return what the page of the sign-in answers to somebody who has read what he can."""
    form = "ticket=&email=local%40localhost"
    request = (
        f"POST /cli-login?callback={quote('http://localhost:1/')} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}"
    )
    return ask(port, request.encode(), tls=False)


def test_another_user_gets_no_token(as_another_user, owner):
    answer = as_another_user(sign_in, int(owner.cloud.base_url.rpartition(":")[2]))
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"token=" not in answer


def find_cloud(data):
    """Return the cloud that somebody finds on a folder."""
    return launch.find(Path(data))


def test_another_user_is_led_to_no_cloud_by_a_folder_that_is_not_his(as_another_user, owner, house):
    written = (owner.cloud.data / "server.json").read_text()
    bait = house / "bait"
    bait.mkdir(mode=0o755)
    (bait / "server.json").write_text(written)
    (bait / "server.json").chmod(0o644)
    assert as_another_user(find_cloud, str(bait)) is None
    assert "belongs to another user. Nothing was started." in as_another_user(start_in, str(bait))
    shutil.rmtree(bait)


def start_in(data):
    """Return what is said to somebody who starts a cloud on a folder."""
    try:
        launch.make_private(Path(data))
    except LocalCloudError as error:
        return str(error)
    return ""
