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
    from typing import Any

#: Larger results are stored in the bucket, if the call has a link.
INLINE = 1 << 18

#: Bytes of the largest result in a log.
MOST_INLINE = 12_000_000
LINKS = "_lk_call.json"
_TRIES = 3

_call: dict[str, Any] = {}


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Keep the call, and remove the links: they are secrets."""
    _call.update(settings)
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
        sys.exit("The function was made for Python {}, and this is {}.".format(_call["python"], python))
    import cloudpickle

    try:
        function, calls = cloudpickle.loads(_read_payload())
        _register_source(function)
        answers = [function(*args, **kwargs) for args, kwargs in calls]
        answer = cloudpickle.dumps(answers)
    except Exception as error:
        _send_error(error)
        raise
    _send_results(answer)


def _register_source(function: Any) -> None:
    """Let tracebacks show the function's file and lines as the author sees both."""
    import types

    function = getattr(function, "__func__", function)  # of a method
    if isinstance(function, types.FunctionType) and _call["source"]:
        import linecache

        file, before = _call["file"], ["\n"] * (_call["line"] - 1)
        function.__code__ = function.__code__.replace(co_filename=file)
        linecache.cache[file] = len(_call["source"]), None, before + _call["source"].splitlines(True), file


def _read_payload() -> bytes:
    if "data" in _call:
        return a2b_base64(_call["data"])
    from urllib.request import urlopen

    with urlopen(_call["get"]) as answer:
        payload: bytes = answer.read(_call["size"] + 1)
    if sha256(payload).hexdigest() != _call["sha256"]:
        raise RuntimeError("The call was changed in the bucket, so it was not made.")
    return payload


def _send_results(answer: bytes) -> None:
    if len(answer) > INLINE and _call.get("put"):
        _upload(_call["put"], answer)
        driver.frame("call", {"size": len(answer), "sha256": sha256(answer).hexdigest()})
    elif len(answer) > MOST_INLINE:
        error = ValueError("{:,} bytes are too large for the log, and the run has no bucket".format(len(answer)))
        _send_error(error)
        raise error
    else:
        driver.frame("call", {"data": _encode(answer)})


def _upload(link: str, answer: bytes) -> None:
    import time
    from urllib.request import Request, urlopen

    for attempt in reversed(range(_TRIES)):
        try:
            urlopen(Request(link, answer, method="PUT")).close()
        except OSError:
            if not attempt:
                raise
            time.sleep(1)
        else:
            break


def _send_error(error: BaseException) -> None:
    import traceback

    import cloudpickle

    payload = {"error": "".join(traceback.format_exception(type(error), error, _function_trace(error.__traceback__)))}
    try:
        payload["data"] = _encode(cloudpickle.dumps(error))
    except Exception:
        pass  # the text of the error is enough
    driver.frame("call", payload)


def _function_trace(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback from the function on."""
    while trace and trace.tb_frame.f_code.co_filename == _function_trace.__code__.co_filename:
        trace = trace.tb_next
    return trace


def _encode(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
