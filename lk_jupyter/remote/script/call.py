"""Calls an uploaded function, and sends back the results or the error."""

from __future__ import annotations

import json
import os
import sys
from binascii import a2b_base64, b2a_base64
from hashlib import sha256

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from typing import Any

#: Larger results are stored in the bucket, if the call has a link.
INLINE = 1 << 18

#: Bytes of the largest answer in a log. For items, results after the second size are left to another call, so that a
#: third size of the next result always fits.
MOST_INLINE, _MOST_TOGETHER, MOST_ITEM = 12_000_000, 4_000_000, 8_000_000
LINKS = "_lk_call.json"
_TRIES = 3

#: Seconds between two messages with results of items before the answer, and the largest result in such a message.
_PACE, _MOST_EARLY = 0.005, 1 << 16

#: Seconds until an upload of an early answer fails, and the share of the uploads in the time of the items.
_UPLOAD_SECONDS, _UPLOAD_SHARE = 10.0, 0.25

#: Seconds for which a map waits for the bucket, and seconds between two tries.
_OUTAGE_SECONDS, _OUTAGE_PACE = 30.0, 0.2

_call: dict[str, Any] = {}

#: Sends results of items before the answer, as a session sets it; None in a run.
publish: Callable[[dict[str, Any]], object] | None = None


def prepare(settings: dict[str, Any]) -> None:
    """Keep the call that ``run`` makes, in place of an earlier call."""
    _call.clear()
    _call.update(settings, process=os.getpid())


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Keep the call, and remove the links: they are secrets."""
    prepare(settings)
    path = os.path.join(driver.FOLDER, LINKS)
    with open(path, encoding="utf-8") as file:
        _call.update(json.load(file))
    try:
        os.unlink(path)
    except OSError:
        pass


def run() -> None:
    """Make the calls one after another, and send back the list of results."""
    python = "{}.{}".format(*sys.version_info)
    if python != _call["python"]:
        driver.frame("call", {"python": python})
        sys.exit("The function needs Python {}, and this is Python {}.".format(_call["python"], python))
    import cloudpickle

    try:
        function, calls = cloudpickle.loads(_read_payload())
        _register_source(function)
        _register_backend()
        if "seconds" in _call:
            answers: list[Any] = _call_items(function, calls, _call["seconds"])
        else:
            answers = [function(*args, **kwargs) for args, kwargs in calls]
        answer = cloudpickle.dumps(answers)
    except Exception as error:
        end_fork()
        send_error(error)
        raise
    end_fork()
    failure = _send_results(answer)
    if failure and "seconds" in _call:
        _send_inline(cloudpickle.dumps([_replace_excess(answer, failure) for answer in answers]))
    elif failure:
        driver.frame("call", _describe_excess(len(answer), MOST_INLINE, failure))
        sys.exit("The result is too large.")


def end_fork() -> None:
    """End this process if the function has forked it: only the original process answers."""
    if os.getpid() != _call["process"]:
        os._exit(0)


def build_exit_error(end: SystemExit) -> RuntimeError:
    """Return the error of a function that ends its process: the machine makes further calls."""
    return RuntimeError("The function called sys.exit({!r}).".format(end.code))


def _call_items(function: Any, calls: list[Any], seconds: float | None) -> list[bytes | dict[str, str]]:
    """Call a function for items, and return for each item the pickled result, or the error as ``send_error`` sends it.

    After ``seconds``, the remaining items are left to another call, so that results arrive before the last item.
    """
    import time

    import cloudpickle

    start, size = time.monotonic(), 0
    early = EarlyResults() if publish and "key" in _call else None
    early_answer = EarlyAnswer(_call["put"]) if early and _call.get("put") else None
    answers: list[bytes | dict[str, str]] = []
    for args, kwargs in calls:
        try:
            answers.append(cloudpickle.dumps(function(*args, **kwargs)))
        except (Exception, SystemExit) as error:
            answers.append(_describe_error(build_exit_error(error) if isinstance(error, SystemExit) else error))
        except KeyboardInterrupt:  # the machine has reached its time limit: another machine makes the other calls
            if not answers:
                raise
            break
        end_fork()
        if early:
            early.add(answers[-1])
        if early_answer and len(answers) < len(calls):
            try:
                early_answer.store(answers)
            except KeyboardInterrupt:  # as above
                break
        size += sum(map(len, answers[-1].values())) if isinstance(answers[-1], dict) else len(answers[-1])
        if size > _MOST_TOGETHER or (seconds is not None and time.monotonic() - start > seconds):
            break
    if early:
        early.close()
    return answers


class EarlyResults:
    """Send results of items before the answer: if the machine is lost, only results of the last moment are lost."""

    def __init__(self) -> None:
        import threading

        self._first, self._publish_time = 0, 0.0
        self._entries: list[dict[str, str]] = []
        self._is_open = True
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, answer: bytes | dict[str, str]) -> None:
        """Add the result of the next item; a large result, and all later results, are left to the answer."""
        import contextvars
        import threading
        import time

        entry = answer if isinstance(answer, dict) else {"result": _encode_base64(answer)}
        with self._lock:
            self._is_open = self._is_open and sum(map(len, entry.values())) <= _MOST_EARLY
            if not self._is_open:
                return
            self._entries.append(entry)
            if time.monotonic() - self._publish_time >= _PACE:
                self._publish_entries()
            elif self._timer is None:  # the next item may take long
                self._timer = threading.Timer(_PACE, contextvars.copy_context().run, [self._publish_late])
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Leave the remaining results to the answer."""
        with self._lock:
            self._is_open = False
            self._entries.clear()

    def _publish_late(self) -> None:
        with self._lock:
            self._timer = None
            if self._entries:
                self._publish_entries()

    def _publish_entries(self) -> None:
        import time

        if publish:
            publish({"first": self._first, "entries": self._entries})
        self._first, self._publish_time = self._first + len(self._entries), time.monotonic()
        self._entries = []


class EarlyAnswer:
    """Store the results of the first items in the bucket before the next item starts.

    If the machine and the connection are lost together, the map repeats none of these items. Results of short items
    are stored together, so that the uploads take at most a quarter more time. Without an answer of the bucket, no item
    starts for some seconds: nothing could receive its result if the cloud has ended.
    """

    fastest = 0.0  # seconds of the fastest upload of this process
    is_lost = False  # whether the last upload of this process failed for too long

    def __init__(self, link: str) -> None:
        self._link, self._is_open, self._stored_at = link, True, 0.0

    def store(self, answers: list[bytes | dict[str, str]]) -> None:
        """Store the results so far, as a tuple: the list of the complete answer replaces the tuple."""
        import time

        import cloudpickle

        if not self._is_open or (time.monotonic() - self._stored_at) * _UPLOAD_SHARE < self.fastest:
            return
        answer = cloudpickle.dumps(tuple(answers))
        self._is_open = len(answer) <= INLINE
        if not self._is_open:
            return
        content, end = _add_signature(answer), time.monotonic() + _OUTAGE_SECONDS
        while not self._try_upload(content):
            self._is_open = time.monotonic() < end and not self.is_lost
            if not self._is_open:
                EarlyAnswer.is_lost = True
                return
            time.sleep(_OUTAGE_PACE)
        EarlyAnswer.is_lost = False

    def _try_upload(self, content: bytes) -> bool:
        """Upload once, and measure the time. Return False if another try may succeed."""
        import time
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        start = time.monotonic()
        try:
            urlopen(Request(self._link, content, method="PUT"), timeout=_UPLOAD_SECONDS).close()
        except OSError as error:
            self._is_open = not (isinstance(error, HTTPError) and error.code < 500)
            return not self._is_open
        self._stored_at = time.monotonic()
        seconds = self._stored_at - start
        EarlyAnswer.fastest = min(seconds, self.fastest or seconds)
        return True


def _register_source(function: Any) -> None:
    """Let tracebacks show the function's file and lines as the author sees both."""
    import types

    function = getattr(function, "__func__", function)  # of a method
    if isinstance(function, types.FunctionType) and _call["source"]:
        import linecache

        file, before = _call["file"], ["\n"] * (_call["line"] - 1)
        function.__code__ = function.__code__.replace(co_filename=file)
        linecache.cache[file] = len(_call["source"]), None, before + _call["source"].splitlines(True), file


def _register_backend() -> None:
    """Let a nested call of joblib use the backend ``lk`` by its name: this machine computes, and starts no others."""
    joblib = sys.modules.get("joblib.parallel")
    if joblib and "lk" not in joblib.BACKENDS:
        joblib.register_parallel_backend("lk", joblib.SequentialBackend)


def _read_payload() -> bytes:
    if "data" in _call:
        return a2b_base64(_call["data"])
    from urllib.request import urlopen

    with urlopen(_call["get"]) as answer:
        payload: bytes = answer.read(_call["size"] + 1)
    if sha256(payload).hexdigest() != _call["sha256"]:
        raise RuntimeError("The call was changed in the bucket, so the function was not called.")
    return payload


def _send_results(answer: bytes) -> str:
    """Send a large answer by the bucket, others by the log. Return the reason if neither is possible."""
    link, is_large, failure = _call.get("put"), len(answer) > INLINE, "the run has no bucket"
    content = _add_signature(answer) if "key" in _call else answer
    if link and (is_large or "key" in _call):
        try:
            _upload_with_retries(link, content)
        except OSError as error:
            link, failure = None, "its upload failed: {}".format(error)
    if link and is_large:
        driver.frame("call", {"size": len(content), "sha256": sha256(content).hexdigest()})
        return ""
    if len(answer) > MOST_INLINE:
        return failure
    _send_inline(answer)
    return ""


def _send_inline(answer: bytes) -> None:
    driver.frame("call", {"data": _encode_base64(answer)})


def _replace_excess(answer: bytes | dict[str, str], failure: str) -> bytes | dict[str, str]:
    """Return the answer for an item, or an error in place of a result that is too large for the log."""
    if isinstance(answer, bytes) and len(answer) > MOST_ITEM:
        return _describe_excess(len(answer), MOST_ITEM, failure)
    return answer


def _describe_excess(size: int, limit: int, failure: str) -> dict[str, str]:
    return {
        "excess": "The result has {:,} bytes, and {}. Without the bucket, up to {:,} bytes can be returned. Return a "
        "smaller result, such as the path of a file that the function stores.".format(size, failure, limit)
    }


def _add_signature(answer: bytes) -> bytes:
    """Return an answer after its signature: another process that continues the map has no log of this machine."""
    from .. import sign

    return sign.signature(bytes.fromhex(_call["key"]), answer) + answer


def _upload_with_retries(link: str, answer: bytes) -> None:
    import time
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    for attempt in reversed(range(_TRIES)):
        try:
            urlopen(Request(link, answer, method="PUT")).close()
        except OSError as error:
            if not attempt or (isinstance(error, HTTPError) and error.code < 500):
                raise
            time.sleep(1)
        else:
            break


def send_error(error: BaseException) -> None:
    """Send an error in place of results."""
    driver.frame("call", _describe_error(error))


def _describe_error(error: BaseException) -> dict[str, str]:
    """Return the traceback of an error from the function on, and the pickled error if possible."""
    import traceback

    import cloudpickle

    payload = {
        "error": "".join(traceback.format_exception(type(error), error, _find_function_trace(error.__traceback__)))
    }
    try:
        payload["data"] = _encode_base64(cloudpickle.dumps(error))
    except Exception:
        pass  # the text of the error is enough
    return payload


def _find_function_trace(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback from the function on."""
    while trace and trace.tb_frame.f_code.co_filename == _find_function_trace.__code__.co_filename:
        trace = trace.tb_next
    return trace


def _encode_base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
