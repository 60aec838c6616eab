"""Run code on a VM: start the code, write its log, save its results, and delete the VM.

The file is uploaded alone. ``start`` leaves a supervisor behind, which outlives each SSH connection. The other commands
read the files of the supervisor, in the folder of this file:

- ``log``: the output of the code, valid UTF-8 that only grows, so that a byte offset always means the same text.
- ``state.json``: the state of the run, replaced in one step.
- ``objects``: results of the code, and requests to the code, by their key.
- ``contact``: the time of this file is the last contact of a notebook.

Secrets arrive on stdin. They are in no command line, no file and no environment variable.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FOLDER = os.path.dirname(os.path.abspath(__file__))
LOG, STATE, CONTACT, ABORT = (os.path.join(FOLDER, name) for name in ("log", "state.json", "contact", "abort"))
OBJECTS, WORK = os.path.join(FOLDER, "objects"), os.path.join(FOLDER, "work")

#: Seconds between two looks at the code, and between SIGTERM and SIGKILL.
LOOK, TERM = 0.1, 5.0

#: Attempts to save a result, and the most seconds between two attempts to delete the VM.
SAVE_TRIES, LONGEST_PAUSE = 5, 60.0

#: The reason of an end before the time limit of the code: the start or the installation took long.
OVER = "The time of the VM is over"

_PR_SET_DUMPABLE = 4


def start() -> None:
    """Read a request from stdin, and leave the supervisor of its code behind; a second start changes nothing."""
    request = json.load(sys.stdin)
    os.umask(0o077)
    for folder in (OBJECTS, WORK):
        os.makedirs(folder, exist_ok=True)
    try:
        os.close(os.open(STATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    write_state({"status": "running"})
    open(LOG, "ab").close()
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(os.path.join(FOLDER, "errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, target in ((0, null), (1, errors), (2, errors)):
        os.dup2(target, stream)
    _hide_memory()
    Supervisor(request).run()


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
        self._lock = threading.Lock()
        self._worker = threading.Thread(target=self._run_code, daemon=True)

    def run(self) -> None:
        """Do all steps; after an error of a step, and at the end of the VM's time, the VM is deleted as well."""
        api = self._request.get("api")
        self._worker.start()
        try:
            self._wait()
            if api:
                VmCloud(api).save(self._request["save"])
        finally:
            if api:
                VmCloud(api).delete(self._request["vm_id"])

    def _run_code(self) -> None:
        try:
            self._install_and_execute()
        except Exception as error:  # the notebook shows it
            self._finish("system_failure", None, "the supervisor failed: {}: {}".format(type(error).__name__, error))

    def _install_and_execute(self) -> None:
        link = self._request["link"]
        address = serve_objects()
        for name, text in self._request["files"].items():
            path = os.path.join(WORK, *name.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text.replace(link, address))
        python = self._install()
        if python:
            self._update({"started": time.time()})
            self._execute([python, "-u", self._request["script"]])

    def _install(self) -> str:
        """Return the Python of the code, with its requirements; empty if they can't be installed."""
        requirements = self._request.get("requirements")
        python = sys.executable or "python3"
        if not requirements:
            return python
        path, folder = os.path.join(FOLDER, "requirements.txt"), os.path.join(FOLDER, "env")
        with open(path, "w", encoding="utf-8") as file:
            file.write(requirements)
        inside = os.path.join(folder, "bin", "python")
        steps = ([python, "-m", "venv", "--system-site-packages", folder], [inside, "-m", "pip", "install", "-r", path])
        text = ""
        for command in steps:
            code, more = _output(command)
            text += more
            if code:
                self._update({"install_log": text[-20000:], "install_return_code": code})
                self._finish("failed", code, "the requirements could not be installed")
                return ""
        self._update({"install_log": text[-20000:], "install_return_code": 0})
        return inside

    def _execute(self, command: list[str]) -> None:
        import subprocess
        import threading

        seconds = min(self._request["timeout"], self._request["ttl"] - self._age() - 2 * TERM)
        end = time.monotonic() + seconds
        variables = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8")
        child = subprocess.Popen(
            command,
            cwd=WORK,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one pipe keeps the order of both streams, and no line is torn
            start_new_session=True,
        )
        writer = threading.Thread(target=_write_log, args=(child.stdout,), daemon=True)
        writer.start()
        kill_at = 0.0
        while child.poll() is None:
            now = time.monotonic()
            if not self._reason and os.path.exists(ABORT):
                self._reason, kill_at = "aborted", now + _read_grace()
                _signal_group(child.pid, signal.SIGINT)
            elif not self._reason and now > end:
                self._reason, kill_at = "timeout", now + TERM
                _signal_group(child.pid, signal.SIGTERM)
            elif self._reason and now > kill_at:
                _signal_group(child.pid, signal.SIGKILL)
            time.sleep(LOOK)
        _signal_group(child.pid, signal.SIGKILL)
        writer.join(TERM)
        limit = OVER if seconds < self._request["timeout"] else "Time limit of {} s".format(seconds)
        details = limit if self._reason == "timeout" else None
        self._finish(self._reason or ("failed" if child.returncode else "completed"), child.returncode, details)

    def _finish(self, status: str, return_code: int | None, details: str | None) -> None:
        changes = {"status": status, "return_code": return_code, "details": details, "ended": time.time()}
        self._update(dict(changes, is_final=True, log_size=os.path.getsize(LOG)))

    def _update(self, changes: Mapping[str, Any]) -> None:
        """Change the state of the run, and write the state; a final state doesn't change."""
        with self._lock:
            if not self._state.get("is_final"):
                self._state.update(changes)
                write_state(self._state)

    def _wait(self) -> None:
        """Wait until the code has ended and no notebook is in contact any more, or until the time of the VM is over."""
        while self._age() < self._request["ttl"] and (
            self._worker.is_alive() or time.time() - _last_contact() < self._request["linger"]
        ):
            time.sleep(LOOK)
        if self._worker.is_alive():
            self._finish("timeout", None, OVER)

    def _age(self) -> float:
        return time.monotonic() - self._started


class VmCloud:
    """The requests of the supervisor to the cloud: store results, and delete its VM."""

    def __init__(self, api: Mapping[str, str]) -> None:
        self._api = api

    def save(self, prefix: str) -> None:
        """Store the state, the log and all objects in the bucket."""
        for name in sorted(os.listdir(OBJECTS)):
            self._save(_key(name), os.path.join(OBJECTS, name))
        self._save(prefix + "log", LOG)
        self._save(prefix + "state", STATE)

    def delete(self, vm_id: str) -> None:
        """Delete the VM, repeatedly, until the cloud confirms that."""
        pause = 1.0
        while not self._is_deleted(vm_id):
            self._send("DELETE", "/vms/" + vm_id)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _save(self, key: str, path: str) -> None:
        from urllib.parse import quote

        with open(path, "rb") as file:
            content = file.read()
        mark = "lk-" + os.urandom(16).hex()
        head = '--{}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'.format(mark)
        body = head.encode() + content + "\r\n--{}--\r\n".format(mark).encode()
        kind = "multipart/form-data; boundary=" + mark
        for attempt in range(SAVE_TRIES):
            if self._send("POST", "/storage/upload?key=" + quote(key, safe=""), body, kind)[0] < 300:
                return
            time.sleep(2.0**attempt)

    def _is_deleted(self, vm_id: str) -> bool:
        status, answer = self._send("GET", "/vms/{}/status".format(vm_id))
        return status == 404 or answer.get("status") in ("terminated", "deleted", "destroyed")

    def _send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, dict[str, Any]]:
        """Return status and content of an answer; status 599 without an answer."""
        import urllib.error
        import urllib.request

        headers = {"Authorization": "Bearer " + self._api["key"], "Accept": "application/json"}
        headers.update({"Content-Type": kind} if kind else {})
        headers.update({"X-Org-Slug": self._api["org"]} if self._api.get("org") else {})
        request = urllib.request.Request(self._api["url"] + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = json.loads(answer.read() or b"{}")
                return answer.status, content if isinstance(content, dict) else {}
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code, {}
        except (OSError, ValueError):
            return 599, {}


def _output(command: list[str]) -> tuple[int, str]:
    import subprocess

    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _write_log(pipe: Any) -> None:
    """Copy the output of the code to the log; bytes that aren't UTF-8 are replaced, so that offsets stay exact."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with open(LOG, "ab", buffering=0) as log:
        data = b"-"
        while data:
            data = os.read(pipe.fileno(), 65536)
            log.write(decoder.decode(data, not data).encode("utf-8", "replace"))


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


def serve_objects() -> str:
    """Serve the objects to the code, on a port of this machine and below a secret path; return the address."""
    import threading
    from http.server import ThreadingHTTPServer

    prefix = "/{}/".format(os.urandom(24).hex())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(prefix))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://127.0.0.1:{}{}".format(server.server_address[1], prefix)


def _handler(prefix: str) -> Any:
    from http.server import BaseHTTPRequestHandler
    from urllib.parse import unquote

    class ObjectHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                with open(self._file(), "rb") as file:
                    content = file.read()
            except OSError:
                self._answer(404)
                return
            first, _, last = (self.headers.get("Range") or "").replace("bytes=", "").partition("-")
            if first.isdigit():
                self._answer(206, content[int(first) : int(last) + 1 if last.isdigit() else None])
            else:
                self._answer(200, content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(prefix):
                self._answer(403)
                return
            put_object(unquote(self.path[len(prefix) :]), content)
            self._answer(200)

        def _file(self) -> str:
            is_secret = self.path.startswith(prefix)
            return object_path(unquote(self.path[len(prefix) :])) if is_secret else os.path.join(OBJECTS, "")

        def _answer(self, status: int, content: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return ObjectHandler


def object_path(key: str) -> str:
    """Return the file of an object; no key leads out of the folder."""
    from urllib.parse import quote

    return os.path.join(OBJECTS, "o-" + quote(key, safe=""))


def _key(name: str) -> str:
    from urllib.parse import unquote

    return unquote(name[2:])


def put_object(key: str, content: bytes) -> None:
    """Store an object, completely or not at all."""
    path = object_path(key)
    draft = os.path.join(FOLDER, "draft-" + os.urandom(8).hex())
    with open(draft, "wb") as file:
        file.write(content)
    os.replace(draft, path)


def write_state(state: Mapping[str, Any]) -> None:
    """Replace the state of the run."""
    draft = STATE + ".new"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(draft, STATE)


def read_state() -> dict[str, Any]:
    """Return the state of the run; empty before the start."""
    try:
        with open(STATE, encoding="utf-8") as file:
            state: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {}
    return state


def _last_contact() -> float:
    try:
        return max(os.path.getmtime(CONTACT), os.path.getmtime(STATE))
    except OSError:
        return os.path.getmtime(STATE)


def touch() -> None:
    """Record the contact of a notebook."""
    with open(CONTACT, "ab"):
        os.utime(CONTACT)


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


def main(words: list[str]) -> int:
    """Run a command of the notebook, and return the exit code."""
    command, value = words[0], words[1] if len(words) > 1 else ""
    if command == "start":
        start()
        return 0
    touch()
    if command == "read":
        return send_log(int(value))
    if command == "state":
        print(json.dumps(read_state()))
    elif command == "abort":
        draft = ABORT + ".new"
        with open(draft, "w", encoding="ascii") as file:
            file.write(value)
        os.replace(draft, ABORT)
    elif command == "put":
        put_object(value, sys.stdin.buffer.read())
    elif command == "list":
        print(json.dumps([_key(name) for name in sorted(os.listdir(OBJECTS))]))
    elif command == "get":
        with open(object_path(value), "rb") as file:
            sys.stdout.buffer.write(file.read())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
