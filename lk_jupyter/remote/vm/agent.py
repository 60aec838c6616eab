"""Run code on a VM: start the code, write its log, save its results, and delete the VM.

The package is uploaded alone. ``guard``, the first command, leaves a process behind that deletes the VM at its end,
even if no code arrives. ``start`` leaves a supervisor behind. Both outlive each SSH connection. The other commands read
the files of the supervisor, in the folder above the package:

- ``log``: the output of the code, valid UTF-8 that only grows, so that a byte offset always means the same text.
- ``times``: lines with a moment, in Unix seconds, and the size of the log at that moment.
- ``state.json``: the state of the run, replaced in one step.
- ``objects``: results of the code, and requests to the code, by their key.
- ``contact``: the time of this file is the last contact of a notebook.
- ``pid``, ``guard-pid``: the ids of the processes of the supervisor and of the guard.
- ``checkpoints``: the checkpoint folder of the code, whose files are stored in the bucket while the code runs.

Secrets arrive on stdin. They are in no command line, no file and no environment variable.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

from .checkpoint_store import CheckpointStore, LogWriter
from .cloud import VmCloud
from .files import (
    ABORT,
    CHECKPOINTS,
    FOLDER,
    GUARD_PID,
    LOG,
    LOOK,
    OBJECTS,
    PID,
    STATE,
    TERM,
    TIMES,
    WORK,
    has_supervisor,
    last_contact,
    read_state,
    reserve_space,
    touch,
    write_state,
    write_text,
)
from .objects import object_key, object_path, put_object, serve_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: The reason of an end before the time limit of the code: the start or the installation took long.
OVER = "The VM has reached its time limit"

#: The reason of an end without space for the log.
FULL = "The disk of the VM is full, so its log can't be written"

_PR_SET_DUMPABLE = 4


def start() -> None:
    """Read a request from stdin, and leave the supervisor of its code behind; a second start changes nothing."""
    request = json.load(sys.stdin)
    os.umask(0o077)
    for folder in (OBJECTS, WORK, CHECKPOINTS):
        os.makedirs(folder, exist_ok=True)
    try:
        os.close(os.open(STATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    write_state({"status": "running"})
    open(LOG, "ab").close()
    reserve_space()
    if _fork_process(PID):
        Supervisor(request).run()


def guard() -> None:
    """Read the end of the VM and the API key from stdin, and leave a process behind that deletes the VM at its end."""
    request = json.load(sys.stdin)
    os.umask(0o077)
    if _fork_process(GUARD_PID):
        _delete_at_end(request)


def _delete_at_end(request: Mapping[str, Any]) -> None:
    """Delete the VM at its end, or some seconds later if the supervisor is still saving results."""
    end = time.monotonic() + request["ttl"]
    while time.monotonic() < end or (_may_save() and time.monotonic() < end + request["save_seconds"]):
        time.sleep(LOOK)
    VmCloud(request["api"]).delete(request["vm_id"])


def _may_save() -> bool:
    """Return whether code was started whose supervisor may still save results."""
    return os.path.exists(STATE) and has_supervisor()


def _fork_process(path: str) -> bool:
    """Leave a process behind that outlives the SSH connection, with its id in a file; return whether this is it."""
    if os.fork():
        return False
    os.setsid()
    write_text(path, str(os.getpid()))
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(os.path.join(FOLDER, "errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, target in ((0, null), (1, errors), (2, errors)):
        os.dup2(target, stream)
    _hide_memory()
    return True


def _hide_memory() -> None:
    """Forbid other processes of this user to read the memory of this process, which contains the API key."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        pass


class Supervisor:
    """Run the code of a request to its end, wait for the notebook, and delete the VM if no notebook does."""

    def __init__(self, request: dict[str, Any]) -> None:
        import threading

        self._request = request
        self._started = time.monotonic()
        self._reason = ""
        self._state: dict[str, Any] = {"status": "running"}
        self._is_unwritten = False
        self._lock = threading.Lock()
        self._writer = LogWriter()
        self._cloud = VmCloud(request["api"]) if request.get("api") else None
        self._checkpoints: CheckpointStore | None = None
        if self._cloud and request.get("checkpoints"):
            self._checkpoints = CheckpointStore(self._cloud, request["checkpoints"], self._writer, self._update_state)
        self._worker = threading.Thread(target=self._run_code, daemon=True)

    def run(self) -> None:
        """Do all steps; after an error of a step, and at the end of the VM's time, the VM is deleted as well."""
        self._worker.start()
        try:
            self._wait_for_end()
            if self._cloud:
                self._cloud.save(self._request["save"])
        finally:
            if self._cloud:
                self._cloud.delete(self._request["vm_id"])

    def _run_code(self) -> None:
        try:
            self._install_and_execute()
        except Exception as error:  # the notebook shows it
            self._record_end(
                "system_failure", None, "the supervisor failed: {}: {}".format(type(error).__name__, error)
            )

    def _install_and_execute(self) -> None:
        link = self._request["link"]
        address = serve_objects(self._checkpoints.add_complete if self._checkpoints else None)
        if self._checkpoints and self._request.get("restore"):
            try:
                self._checkpoints.restore(self._request["restore"])
            except ValueError as error:  # another VM wouldn't help
                self._record_end("failed", None, str(error))
                return
        for name, text in self._request["files"].items():
            path = os.path.join(WORK, *name.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text.replace(link, address))
        python = self._install_requirements()
        if python:
            self._update_state({"started": time.time()})
            self._execute_command([python, "-u", self._request["script"]], address)

    def _install_requirements(self) -> str:
        """Return the Python of the code, with its requirements; empty if they can't be installed."""
        requirements = self._request.get("requirements")
        python = sys.executable or "python3"
        if not requirements or _are_installed(requirements):
            return python
        path, folder = os.path.join(FOLDER, "requirements.txt"), os.path.join(FOLDER, "env")
        with open(path, "w", encoding="utf-8") as file:
            file.write(requirements)
        inside = os.path.join(folder, "bin", "python")
        steps = ([python, "-m", "venv", "--system-site-packages", folder], [inside, "-m", "pip", "install", "-r", path])
        text = ""
        for command in steps:
            code, more = _run_command(command)
            text += more
            if code:
                self._update_state({"install_log": text[-20000:], "install_return_code": code})
                self._record_end("failed", code, "the requirements could not be installed")
                return ""
        self._update_state({"install_log": text[-20000:], "install_return_code": 0})
        return inside

    def _execute_command(self, command: list[str], address: str) -> None:
        import subprocess
        import threading

        seconds = min(self._request["timeout"], self._request["ttl"] - self._compute_age() - 2 * TERM)
        end = time.monotonic() + seconds
        variables = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8", LK_CHECKPOINTS=CHECKPOINTS)
        if self._request.get("volume"):
            variables["LK_VOLUME"] = self._request["volume"]
        if self._request.get("attempt"):
            variables["LK_ATTEMPT"] = "{}-".format(self._request["attempt"])
        if self._checkpoints:
            variables["LK_CHECKPOINT_ADDRESS"] = address + "checkpoint"
        child = subprocess.Popen(
            command,
            cwd=WORK,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one pipe keeps the order of both streams, and no line is torn
            start_new_session=True,
        )
        writer = threading.Thread(target=self._writer.run, args=(child.stdout,), daemon=True)
        writer.start()
        if self._checkpoints:
            self._checkpoints.start()
        kill_at = 0.0
        while child.poll() is None:
            now = time.monotonic()
            if not self._reason and os.path.exists(ABORT):
                self._reason, kill_at = "aborted", now + _read_grace()
                _signal_group(child.pid, signal.SIGINT)
            elif not self._reason and (now > end or self._writer.is_full):
                self._reason, kill_at = "failed" if self._writer.is_full else "timeout", now + TERM
                _signal_group(child.pid, signal.SIGTERM)
            elif self._reason and now > kill_at:
                _signal_group(child.pid, signal.SIGKILL)
            time.sleep(LOOK)
        _signal_group(child.pid, signal.SIGKILL)
        writer.join(TERM)
        if self._checkpoints:
            self._checkpoints.stop()
        limit = OVER if seconds < self._request["timeout"] else "Time limit of {} s".format(seconds)
        details = FULL if self._writer.is_full else limit if self._reason == "timeout" else None
        self._record_end(self._reason or ("failed" if child.returncode else "completed"), child.returncode, details)

    def _record_end(self, status: str, return_code: int | None, details: str | None) -> None:
        changes = {"status": status, "return_code": return_code, "details": details, "ended": time.time()}
        self._update_state(dict(changes, is_final=True, log_size=os.path.getsize(LOG)))

    def _update_state(self, changes: Mapping[str, Any]) -> None:
        """Change the state of the run, and write the state; a final state doesn't change."""
        with self._lock:
            if not self._state.get("is_final"):
                self._state.update(changes)
                self._write_state()

    def _write_state(self) -> None:
        try:
            write_state(self._state)
        except OSError:  # a full disk: tried again until the end
            self._is_unwritten = True
        else:
            self._is_unwritten = False

    def _wait_for_end(self) -> None:
        """Wait until the code has ended and no notebook is in contact any more, or until the time of the VM is over."""
        while self._compute_age() < self._request["ttl"] and (
            self._worker.is_alive() or time.time() - last_contact() < self._request["linger"]
        ):
            if self._is_unwritten:
                with self._lock:
                    self._write_state()
            time.sleep(LOOK)
        if self._worker.is_alive():
            self._record_end("timeout", None, OVER)

    def _compute_age(self) -> float:
        return time.monotonic() - self._started


def _are_installed(requirements: str) -> bool:
    """Return whether the Python of the VM has all requirements; only lines with an exact version are compared."""
    from importlib.metadata import PackageNotFoundError, version

    for line in requirements.splitlines():
        name, _, exact = line.strip().partition("==")
        if not name:
            continue
        try:
            if version(name) != exact:
                return False
        except (PackageNotFoundError, ValueError):
            return False
    return True


def _run_command(command: list[str]) -> tuple[int, str]:
    import subprocess

    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _read_grace() -> float:
    try:
        with open(ABORT, encoding="ascii") as file:
            return float(file.read() or TERM)
    except (OSError, ValueError):
        return TERM


def send_log(offset: int) -> int:
    """Write the log from an offset to stdout, until the code has ended; return the exit code."""
    out = sys.stdout.buffer
    with open(LOG, "rb") as log:
        log.seek(offset)
        while True:
            is_final = read_state().get("is_final")  # read first: then the log is complete
            data = log.read(65536)
            if data:
                out.write(data)
                out.flush()
            elif is_final:
                return 0
            touch()
            if select.select([0], [], [], 0.0 if data else LOOK)[0] and not os.read(0, 65536):
                return 1  # the notebook has closed the connection


def send_file(path: str) -> int:
    """Write a file, as far as it exists, to stdout; return the exit code."""
    import shutil

    if os.path.exists(path):
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    return 0


def main(words: list[str]) -> int:
    """Run a command of the notebook, and return the exit code."""
    command, value = words[0], words[1] if len(words) > 1 else ""
    if command in ("start", "guard"):
        start() if command == "start" else guard()
        return 0
    touch()
    if command == "read":
        return send_log(int(value))
    if command in ("log", "times"):
        return send_file(LOG if command == "log" else TIMES)
    if command == "state":
        print(json.dumps(read_state()))
    elif command == "abort":
        write_text(ABORT, value)
    elif command == "put":
        put_object(value, sys.stdin.buffer.read())
    elif command == "list":
        print(json.dumps([object_key(name) for name in sorted(os.listdir(OBJECTS))]))
    elif command == "get":
        with open(object_path(value), "rb") as file:
            sys.stdout.buffer.write(file.read())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
