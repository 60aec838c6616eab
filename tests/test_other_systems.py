"""What differs on Windows and macOS, forced here: their code runs, on the files and processes of this system."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from patience import PATIENCE

from lk_jupyter.config import files
from lk_jupyter.localcloud import launch
from lk_jupyter.localcloud.buckets import seaweedfs
from lk_jupyter.localcloud.runs import environments, processes, reader
from lk_jupyter.storage import _download, _upload_state
from lk_jupyter.storage.storage import ObjectInfo

PACKAGE = Path(launch.__file__).parents[1]

#: The only files that ask which system this is, relative to the package.
ASKING = {
    "config/files.py",
    "kernels/bridge.py",
    "localcloud/buckets/seaweedfs.py",
    "localcloud/launch.py",
    "localcloud/runs/engine.py",
    "localcloud/runs/environments.py",
    "localcloud/runs/processes.py",
    "localcloud/runs/reader.py",
    "localcloud/vms/guests.py",
    "machines/start_approval.py",
    "magics/_engine/parser.py",
    "runs/start_key.py",
    "remote/script/packages.py",
    "storage/_download.py",
    "storage/_plan.py",
    "storage/_preview_child.py",
    "storage/_upload_state.py",
    "vms/jump.py",
    "vms/tunnel.py",
}


class Other:
    """A module of the standard library as another system has it."""

    def __init__(self, module, **others):
        self.__dict__.update(others)
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


@pytest.fixture
def on(monkeypatch):
    """Let a module see another system."""

    def on(module, platform):
        name = "nt" if platform == "win32" else "posix"
        for real, others in ((os, {"name": name}), (sys, {"platform": platform})):
            if hasattr(module, real.__name__):
                monkeypatch.setattr(module, real.__name__, Other(real, **others))

    return on


def test_only_these_files_ask_which_system_this_is():
    asking = re.compile(r"\bos\.name\b|\bsys\.platform\b|\bplatform\.system\b")
    found = {
        str(path.relative_to(PACKAGE).as_posix())
        for path in PACKAGE.rglob("*.py")
        if asking.search(path.read_text(encoding="utf-8"))
    }
    assert found == ASKING


@pytest.fixture
def sleeper():
    """A process that carries the mark of a run and starts a child."""
    wait = "print('on', flush=True); import time; time.sleep(60)"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {wait!r}]); {wait}"
    env = {**os.environ, processes.RUN_ID_VARIABLE: "run-1"}
    process = subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, start_new_session=True)
    for _ in range(2):  # each is itself by then, and no copy of its parent
        process.stdout.readline()
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_a_process_of_a_run_is_known_by_its_mark_and_its_parents(sleeper, on, system):
    on(processes, system)
    (child,) = processes.psutil.Process(sleeper.pid).children()
    for pid in (sleeper.pid, child.pid):
        assert processes.is_marked(pid, "run-1")
        assert not processes.is_marked(pid, "run-2")
        assert processes.is_in_session(pid, sleeper.pid)
    assert not processes.is_in_session(os.getpid(), sleeper.pid)


def test_windows_asks_a_run_to_end_by_its_own_signal(on, monkeypatch):
    on(processes, "win32")
    sent = []
    monkeypatch.setattr(processes.signal, "CTRL_BREAK_EVENT", 1, raising=False)
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    processes.ask_to_end(17)
    assert sent == [(17, 1)]


def test_a_windows_lock_is_taken_once_and_ends_with_its_file(tmp_path, monkeypatch):
    held = {}

    def locking(descriptor, mode, count):
        at = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert (mode, count) == (2, 1)
        if held.setdefault(at, descriptor) != descriptor:
            raise OSError(13, "Permission denied")

    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.find_spec("lk_jupyter.config.files")
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    monkeypatch.undo()
    path = tmp_path / "file"
    with lock.lock_beside(path) as first, lock.lock_beside(path) as second:
        assert (first, second) == (True, False)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"kept")
    assert lock.take_lock(descriptor)
    os.write(descriptor, b"!")
    os.close(descriptor)
    assert path.read_bytes() == b"!ept"  # it writes at the start again, as before the lock


@pytest.mark.parametrize(("system", "left"), [("win32", "new"), ("linux", "old")])
def test_windows_replaces_a_file_as_soon_as_nobody_reads_it(on, tmp_path, monkeypatch, system, left):
    on(files, system)
    path, refusals, replace = tmp_path / "config.json", [1, 1], Path.replace

    def refused_twice(draft, target):
        if refusals:
            raise PermissionError(refusals.pop())
        return replace(draft, target)

    files.write_json(path, {"at": "old"})
    monkeypatch.setattr(Path, "replace", refused_twice)
    with contextlib.nullcontext() if system == "win32" else pytest.raises(PermissionError):
        files.write_json(path, {"at": "new"})
    assert files.read_json(path) == {"at": left}
    assert list(tmp_path.iterdir()) == [path]


def test_windows_closes_a_file_before_it_is_renamed_or_removed(on, home, tmp_path, monkeypatch):
    on(_download, "win32")
    on(_upload_state, "win32")
    done = []
    for module, act in ((Path, "replace"), (Path, "unlink"), (os, "close")):
        real = getattr(module, act)
        monkeypatch.setattr(
            module, act, lambda *what, act=act, real=real, **how: (done.append(act), real(*what, **how))
        )
    info = ObjectInfo(key="data.bin", size=0, modified=None)
    _download.Unfinished(tmp_path / "data.bin", info).move_to_target(tmp_path / "data.bin", info)
    assert done.index("close") < done.index("replace")
    assert (tmp_path / "data.bin").exists()
    del done[:]
    record = _upload_state.record_for("bucket", "key")
    record.close(forget=True)
    assert done.index("close") < done.index("unlink")


def test_windows_reads_each_pipe_in_a_thread_to_its_end(on):
    on(reader, "win32")
    kept, closed = [], threading.Event()
    output = types.SimpleNamespace(append=lambda pending: kept.extend(map(list, pending)))
    reading = reader.OutputReader(output, lambda runs: None)
    reading.start()
    out, into = os.pipe()
    reading.add("run-1", "stdout", out, closed.set)
    os.write(into, b"one\n")
    os.close(into)
    assert closed.wait(PATIENCE)
    reading.close()
    assert "one" in repr(kept)


def test_windows_keeps_the_python_of_an_environment_elsewhere(on, tmp_path):
    on(environments, "win32")
    assert environments.python_path(tmp_path) == str(tmp_path / "Scripts" / "python.exe")


def test_a_python_of_any_encoding_finds_the_servers_packages_in_an_accented_folder(tmp_path, monkeypatch):
    own, environment = tmp_path / "Zoë" / "site-packages", tmp_path / "environment" / "site-packages"
    for folder in (own, environment):
        folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(own)])
    environments._add_server_packages(environment.parent)
    (lines,) = environment.glob("*.pth")
    program = lines.read_bytes().decode("ascii")
    monkeypatch.setattr(sys, "path", [])
    exec(program)
    assert sys.path == [str(own)]


def test_windows_has_no_owner_of_folders_and_no_mounts(on, tmp_path):
    on(launch, "win32")
    on(seaweedfs, "win32")
    launch.make_private(tmp_path / "data")
    assert launch.is_private(tmp_path)
    assert not seaweedfs.can_mount()


def test_macos_mounts_nothing(on):
    on(seaweedfs, "darwin")
    assert not seaweedfs.can_mount()


def test_windows_takes_a_cloud_for_running_when_it_proves_itself(on, monkeypatch):
    on(launch, "win32")
    address = types.SimpleNamespace(pid=1)
    for proves in (True, False):
        monkeypatch.setattr(launch, "proves_itself", lambda _, proves=proves: proves)
        assert launch.is_alive(address) is proves
