"""Saves a checkpoint of the code before the time limit, and restores the checkpoint of an earlier run.

The code's ``lk_checkpoint(folder)`` is called once, in the main thread, between two steps of the code. The files in the
folder are uploaded as one tar file, while the code continues. ``lk_resume`` is the folder with the checkpoint of an
earlier run, or None.
"""

from __future__ import annotations

import json
import os
import sys
import time

from . import links as transfer
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

#: Start of the run, approximately.
_START = time.monotonic()

#: Folders where clouds mount the bucket, in case the address of the bucket is unreachable.
_folders: list[str] = []

_sending: list[Any] = []
_timer: list[Any] = []


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Restore the checkpoint, and set the clock for the next checkpoint."""
    links = read_links()
    namespace["lk_resume"] = restore(links["get"], settings["sha256"]) if "resume" in settings else None
    if "after" in settings:
        set_folders(settings["folders"])
        _set_clock(
            max(0.01, settings["after"] - (time.monotonic() - _START)), lambda: _save_checkpoint(links, namespace)
        )


def after(settings: dict[str, Any], namespace: dict[str, Any], error: BaseException | None) -> None:
    """Wait until checkpoints are uploaded; nothing is saved after the end of the code."""
    if "after" not in settings:
        return
    if _timer:
        _timer.pop().cancel()
    elif hasattr(sys.modules.get("signal"), "SIGALRM"):
        _set_alarm(0)
    for thread in _sending:
        thread.join()


def set_folders(folders: list[str]) -> None:
    """Set the folders where clouds mount the bucket."""
    _folders[:] = folders


def read_links() -> dict[str, str]:
    """Return the links to the bucket, which are secrets, and delete the file."""
    path = os.path.join(driver.FOLDER, "_lk_checkpoint.json")
    if not os.path.exists(path):  # sent by something that keeps no links
        return {"get": "data:,", "put": "data:,", "key": "lost.tar"}
    with open(path, encoding="utf-8") as file:
        links: dict[str, str] = json.load(file)
    os.unlink(path)
    return links


def _set_clock(seconds: float, act: Callable[[], None]) -> None:
    import signal
    import threading

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda *_: act())
        _set_alarm(seconds)
    else:  # Windows: no signal interrupts the main thread there
        _timer.append(threading.Timer(seconds, act))
        _timer[0].daemon = True
        _timer[0].start()


def _set_alarm(seconds: float) -> None:
    import signal

    signal.setitimer(signal.ITIMER_REAL, seconds)


def _save_checkpoint(links: dict[str, str], namespace: dict[str, Any]) -> None:
    """Call the function of the code, and upload its files; a SystemExit ends the run after that."""
    import shutil
    import tempfile
    from pathlib import Path

    save, called = namespace.get("lk_checkpoint"), time.monotonic() - _START
    if not callable(save):
        _run_in_thread(_report_checkpoint, {"problem": "lk_checkpoint was not defined yet"})
        return
    folder, end = Path(tempfile.mkdtemp(prefix="lk_checkpoint_")), None
    try:
        save(folder)
    except SystemExit as build_exit_error:
        end = build_exit_error
    except Exception as error:
        _run_in_thread(
            _report_checkpoint, {"problem": "lk_checkpoint failed ({}: {})".format(type(error).__name__, error)}
        )
        shutil.rmtree(str(folder), ignore_errors=True)
        return
    _run_in_thread(_send_checkpoint, links, folder, called, end is not None)
    if end is not None:
        raise end


def _run_in_thread(act: Callable[..., None], *arguments: Any) -> None:
    """Do something in a thread: a signal may have come in the midst of a print."""
    import threading

    thread = threading.Thread(target=act, args=arguments, name="lk-checkpoint")
    _sending.append(thread)
    thread.start()


def _send_checkpoint(links: dict[str, str], folder: Any, called: float, is_end: bool) -> None:
    import shutil
    import tarfile

    packed = str(folder) + ".tar"
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            _report_checkpoint({"problem": "lk_checkpoint wrote no files into its folder"})
            return
        with tarfile.open(packed, "w") as tar:
            tar.add(str(folder), arcname=".")
        upload(packed, links)
        _report_checkpoint(
            {
                "seconds": round(called, 1),
                "is_end": is_end,
                "files": [str(path.relative_to(folder)) for path in files][:20],
                "count": len(files),
                "bytes": sum(path.stat().st_size for path in files),
                "size": os.path.getsize(packed),
                "sha256": transfer.hash_file(packed),
            }
        )
    except Exception as error:
        _report_checkpoint(
            {"problem": "the files of lk_checkpoint couldn't be saved ({})".format(transfer.describe_error(error))}
        )
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)
        if os.path.exists(packed):
            os.unlink(packed)


def upload(packed: str, links: dict[str, str]) -> None:
    """Upload a file; copy to the mounted bucket if the address is unreachable."""
    import shutil

    try:
        transfer.upload_file(links["put"], packed)
    except OSError:
        bucket = next(filter(os.path.ismount, _folders), os.environ.get("LK_STORAGE"))
        if not bucket:
            raise
        target = os.path.join(bucket, *links["key"].split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(packed, target)


def restore(url: str, digest: str) -> Path:
    """Return the folder of an earlier checkpoint, if the digest equals the digest in that run's log."""
    import tarfile
    import tempfile
    from pathlib import Path

    folder = tempfile.mkdtemp(prefix="lk_resume_")
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    packed = folder + ".tar"
    try:
        if transfer.download_file(url, packed) != digest:
            raise RuntimeError("The checkpoint of --resume was changed in the bucket, so it was not read.")
        with tarfile.open(packed, "r:") as tar:
            tar.extractall(folder, **safely)
    except (OSError, ValueError, OverflowError, tarfile.TarError) as error:
        raise RuntimeError(
            "The checkpoint of --resume can't be read: {}".format(transfer.describe_error(error))
        ) from None
    finally:
        if os.path.exists(packed):
            os.unlink(packed)
    return Path(folder)


def _report_checkpoint(payload: dict[str, Any]) -> None:
    driver.frame("checkpoint", payload)
