"""Ends a run of a relay right after its last checkpoint, so that the next run restores the files and continues.

The code saves files in ``lk_jupyter.checkpoint_folder()``. ``Checkpoint`` reports each save, and other libraries leave
files that stay unchanged. Each save is marked in the log: the next run repeats the lines after the mark. The mark of a
save that isn't reported is up to 0.2 s late: a line may be repeated, and none is lost. After most of the time limit,
the files are uploaded, and the last message of the run reports them.
"""

from __future__ import annotations

import os
import threading
import time

from .. import checkpoints
from . import checkpoint, links
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Start of the run, approximately.
_START = time.monotonic()

#: Seconds between two looks at the folder, and without a change after which files that aren't reported are complete.
_LOOK, _QUIET = 0.2, 2.0

#: Seconds until a failed upload is repeated.
_PAUSE = 5.0


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Restore the files of the run before, and watch the folder."""
    import tempfile

    secret_links = checkpoint.read_links()
    checkpoint.set_folders(settings["folders"])
    driver.set_attempt(settings["attempt"])
    if "resume" in settings:
        folder = str(checkpoint.restore(secret_links["get"], settings["sha256"]))
    else:
        folder = tempfile.mkdtemp(prefix="lk_checkpoints_")
    saver = Saver(folder, secret_links, settings["after"], settings["latest"])
    os.environ[checkpoints.FOLDER] = folder
    os.environ[checkpoints.ADDRESS] = _serve_reports(saver)
    threading.Thread(target=saver.watch, name="lk-relay", daemon=True).start()


def _serve_reports(saver: Saver) -> str:
    """Accept reports of complete checkpoints from the processes of this run; return the address."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    secret = "/" + os.urandom(16).hex()

    class Reports(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path == secret:
                saver.add_complete()
            self.send_response(204 if self.path == secret else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing into the log of the code."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Reports)
    threading.Thread(target=server.serve_forever, name="lk-relay-reports", daemon=True).start()
    return "http://127.0.0.1:{}{}".format(server.server_address[1], secret)


class Saver:
    """Mark complete checkpoints in the log, and upload the last one: between ``after`` and ``latest`` seconds."""

    def __init__(self, folder: str, secret_links: dict[str, str], after: float, latest: float) -> None:
        self._folder, self._links = folder, secret_links
        self._after, self._latest = after, latest
        self._lock = threading.Lock()
        self._mark = 0
        self._is_reported = False
        self._retry_at = 0.0

    def add_complete(self) -> None:
        """Mark a checkpoint that the code reports, while the code waits; end the run if most of its time is over."""
        with self._lock:
            self._is_reported = True
            self._add_mark()
            if _compute_module_age() >= self._after:
                self._upload_and_exit()

    def watch(self) -> None:
        """Mark changed files that the code doesn't report, and end the run with files that stay unchanged."""
        state, changed_at = self._read_folder_state(), _compute_module_age()
        while True:
            time.sleep(_LOOK)
            with self._lock:
                now = self._read_folder_state()
                if now != state:
                    state, changed_at = now, _compute_module_age()
                    if not self._is_reported:
                        self._add_mark()
                is_due = _compute_module_age() >= self._latest or (changed_at >= self._after and not self._is_reported)
                if is_due and self._mark and (self._is_reported or _compute_module_age() - changed_at >= _QUIET):
                    self._upload_and_exit()

    def _add_mark(self) -> None:
        self._mark += 1
        driver.frame("relay", {"mark": self._mark})

    def _read_folder_state(self) -> dict[str, Any]:
        """Return the files of the folder, without drafts and links: path → size and time of the change."""
        state = {}
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if not name.endswith(".tmp") and not os.path.islink(path):
                        facts = os.stat(path)
                        state[path] = facts.st_size, facts.st_mtime_ns
                except OSError:  # replaced in this moment
                    pass
        return state

    def _upload_and_exit(self) -> None:
        """Upload the files, report the upload with the last message of the run, and end the run."""
        if time.monotonic() < self._retry_at:
            return
        packed = self._folder + ".tar"
        try:
            state = self._read_folder_state()
            self._pack_folder(packed, state)
            if not self._is_reported and self._read_folder_state() != state:
                return  # the code writes files
            checkpoint.upload(packed, self._links)
            size = sum(size for size, _ in state.values())
            driver.frame("relay", {"saved": self._mark, "bytes": size, "sha256": links.hash_file(packed)})
        except OSError as error:
            self._retry_at = time.monotonic() + _PAUSE
            driver.frame("relay", {"problem": links.describe_error(error)})
            return
        driver.delete_uploads()
        os._exit(0)

    def _pack_folder(self, packed: str, state: dict[str, Any]) -> None:
        import tarfile

        with tarfile.open(packed, "w") as tar:
            for path in sorted(state):
                tar.add(path, arcname=os.path.relpath(path, self._folder))


def _compute_module_age() -> float:
    return time.monotonic() - _START
