"""Saves a checkpoint of the code before its time is up, and restores the checkpoint of an earlier run.

The code's ``lk_checkpoint(folder)`` is called once, in the main thread, between two steps of the
code. The files in the folder go to the bucket as one tar file, while the code continues.
``lk_resume`` is the folder with the checkpoint of an earlier run, or None.
"""

from __future__ import annotations

import json
import os
import sys
import time

from . import run as driver

#: When the run began, as near as can be told from here.
_BORN = time.monotonic()

#: Where clouds show the bucket as a folder, in case its address cannot be reached.
_folders = []

_sending = []
_timer = []


def before(settings, namespace):
    """Restore the checkpoint, and set the clock for the next checkpoint."""
    links = _links()
    namespace["lk_resume"] = _brought_back(links["get"], settings["sha256"]) if "resume" in settings else None
    if "after" in settings:
        _folders[:] = settings["folders"]
        _set_clock(max(0.01, settings["after"] - (time.monotonic() - _BORN)), lambda: _save(links, namespace))


def after(settings, namespace, error):
    """Wait until what was saved is in the bucket; nothing is saved any more when the code has ended."""
    if "after" not in settings:
        return
    if _timer:
        _timer.pop().cancel()
    elif hasattr(sys.modules.get("signal"), "SIGALRM"):
        _alarm(0)
    for thread in _sending:
        thread.join()


def _links():
    """Return the links to the bucket, which are secrets, and take them away."""
    path = os.path.join(driver.HERE, "_lk_checkpoint.json")
    if not os.path.exists(path):  # sent by something that keeps no links
        return {"get": "data:,", "put": "data:,", "key": "lost.tar"}
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    os.unlink(path)
    return found


def _set_clock(seconds, act):
    import signal
    import threading

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda *_: act())
        _alarm(seconds)
    else:  # Windows: no signal interrupts the main thread there
        _timer.append(threading.Timer(seconds, act))
        _timer[0].daemon = True
        _timer[0].start()


def _alarm(seconds):
    import signal

    signal.setitimer(signal.ITIMER_REAL, seconds)


def _save(links, namespace):
    """Call the code's own function, and send what it left; SystemExit in it ends the run after that."""
    import shutil
    import tempfile
    from pathlib import Path

    save, called = namespace.get("lk_checkpoint"), time.monotonic() - _BORN
    if not callable(save):
        _aside(_tell, {"problem": "lk_checkpoint was not defined yet"})
        return
    folder, end = Path(tempfile.mkdtemp(prefix="lk_checkpoint_")), None
    try:
        save(folder)
    except SystemExit as asked:
        end = asked
    except Exception as error:
        _aside(_tell, {"problem": "lk_checkpoint failed ({}: {})".format(type(error).__name__, error)})
        shutil.rmtree(str(folder), ignore_errors=True)
        return
    _aside(_send, links, folder, called)
    if end is not None:
        raise end


def _aside(act, *given):
    """Do something in a thread: a signal may have come in the midst of a print."""
    import threading

    thread = threading.Thread(target=act, args=given, name="lk-checkpoint")
    _sending.append(thread)
    thread.start()


def _send(links, folder, called):
    import shutil
    import tarfile

    packed = str(folder) + ".tar"
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            _tell({"problem": "lk_checkpoint left nothing in its folder"})
            return
        with tarfile.open(packed, "w") as tar:
            tar.add(str(folder), arcname=".")
        _put(packed, links)
        _tell(
            {
                "seconds": round(called, 1),
                "files": [str(path.relative_to(folder)) for path in files][:20],
                "count": len(files),
                "bytes": sum(path.stat().st_size for path in files),
                "size": os.path.getsize(packed),
                "sha256": _digest(packed),
            }
        )
    except Exception as error:
        _tell({"problem": "what lk_checkpoint left could not be saved ({})".format(_cause(error))})
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)
        if os.path.exists(packed):
            os.unlink(packed)


def _put(packed, links):
    """Send a file to the bucket; into the folder that shows the bucket where its address cannot be reached."""
    import shutil
    import urllib.request

    headers = {"Content-Length": str(os.path.getsize(packed)), "Content-Type": "application/x-tar"}
    try:
        with open(packed, "rb") as file:
            request = urllib.request.Request(links["put"], data=file, headers=headers, method="PUT")
            _opened(request).close()
    except OSError:
        bucket = next(filter(os.path.ismount, _folders), os.environ.get("LK_STORAGE"))
        if not bucket:
            raise
        target = os.path.join(bucket, *links["key"].split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(packed, target)


def _digest(path):
    import hashlib

    content = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            content.update(piece)
    return content.hexdigest()


def _brought_back(url, digest):
    """Return the folder with what was saved at an address, if it is what the run that saved it said in its log."""
    import shutil
    import tarfile
    import tempfile
    from pathlib import Path

    folder = tempfile.mkdtemp(prefix="lk_resume_")
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    packed = folder + ".tar"
    try:
        with _opened(url) as answer, open(packed, "wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
        if _digest(packed) != digest:
            raise RuntimeError("What was saved for --resume was changed in the bucket, so it was not read.")
        with tarfile.open(packed, "r:") as tar:
            tar.extractall(folder, **safely)
    except (OSError, ValueError, OverflowError, tarfile.TarError) as error:
        raise RuntimeError("What was saved for --resume cannot be read: {}".format(_cause(error))) from None
    finally:
        if os.path.exists(packed):
            os.unlink(packed)
    return Path(folder)


def _opened(request):
    """Open an address; a proxy of the environment is for the world outside."""
    import urllib.request
    from urllib.parse import urlsplit

    url = request if isinstance(request, str) else request.full_url
    here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
    return opener.open(request, timeout=60)


def _cause(error):
    """Return an error in words, without the address, which is a secret."""
    return (
        "HTTP {}".format(error.code)
        if hasattr(error, "code")
        else "{}: {}".format(type(error).__name__, getattr(error, "reason", error))
    )


def _tell(payload):
    driver.frame("checkpoint", payload)
