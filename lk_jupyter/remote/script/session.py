"""Python of a session between cells: exchanges variables, and releases the machine after a time without work.

Uploaded once per session. ``begin`` is called after the upload, ``before`` and ``after`` around each cell with state.
"""

from __future__ import annotations

import builtins
import hashlib
import hmac
import json
import os
import signal
import struct
import sys
import threading
import time

from .. import sign
from . import moment as moments
from . import run as driver
from . import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of the largest message in the answer; a longer message is stored in the bucket.
INLINE = 1_000_000

_LARGE = "({:,} bytes) stays in the session: a variable of more than {:,} bytes is returned only with --out {}"

#: Seconds until the first cell arrives: files and variables are uploaded before the cell.
_FIRST_CELL = 60.0

#: Kinds of messages that show something besides text, and the key in their metadata for their signature.
_SIGNED_MESSAGES, SIGNATURE = {"display_data", "execute_result", "update_display_data", "clear_output"}, "lk_signature"

_pace = 1.0
_settings = {"key": b""}
_answer: dict[str, Any] = {}
_cell_settings: dict[str, Any] = {}
_work = {"busy": 0, "since": time.monotonic(), "cells": 0, "requests": 0, "released": 0}

#: The number of cells at the last saved moment, and when the next moment may be saved.
_moment = {"cells": 0, "due": 0.0}


def begin(settings: dict[str, Any], shell: Any) -> None:
    """Release the machine after ``idle`` seconds without work, or before the limit of ``left`` seconds.

    No client is needed for the release. The variables are saved before. Outputs and answers are signed with ``key``,
    which is sent to the session only, and is in no record.
    """
    _settings["key"] = bytes.fromhex(settings["key"])
    _sign_outputs(shell.kernel.session)
    variables.deliver, variables.is_session = _add_message, True
    driver.frame = lambda kind, payload, stream=None: _answer.update({kind: payload})
    driver.record_last = lambda _: _adopt_last_values(shell)
    vars(builtins).setdefault("lk_log", _print_values)
    shell.events.register("pre_execute", _mark_busy)
    shell.events.register("pre_run_cell", _count_cell)
    shell.events.register("post_execute", _mark_idle)
    threading.Thread(target=_release_when_idle, args=(settings, shell), name="lk-idle", daemon=True).start()


def _adopt_last_values(shell: Any) -> None:
    """Let the next shown value replace ``_``: IPython replaces only values that it has set itself."""
    values = {name: shell.user_ns[name] for name in ("_", "__", "___") if name in shell.user_ns}
    shell.push(values, interactive=False)
    for name, value in values.items():
        setattr(shell.displayhook, name, value)


def _print_values(step: float | None = None, **values: Any) -> None:
    """Print values as a line: a session has no messages next to its output."""
    place = [] if step is None else ["step {}".format(step)]
    print(*place, *("{}={!r}".format(name, float(value)) for name, value in values.items()))


def _sign_outputs(session: Any) -> None:
    """Sign all outputs except text, so that the notebook trusts only the HTML of this session."""
    serialize = session.serialize

    def serialize_signed(message: Any, ident: Any = None) -> Any:
        kind = message["header"]["msg_type"]
        if kind in _SIGNED_MESSAGES:
            request = str((message["parent_header"] or {}).get("msg_id", ""))
            content = json.loads(session.pack(message["content"]))  # as it arrives: names are texts, tuples are lists
            signature = sign.sign_message(_settings["key"], request, kind, content).hex()
            message = dict(message, metadata=dict(message["metadata"], **{SIGNATURE: signature}))
        return serialize(message, ident)

    session.serialize = serialize_signed


def _mark_busy() -> None:
    _work["busy"] += 1
    _work["requests"] += 1


def _count_cell(_: Any) -> None:
    _work["cells"] += 1


def _mark_idle() -> None:
    _work.update(busy=0, since=time.monotonic())


def _release_when_idle(settings: dict[str, Any], shell: Any) -> None:
    idle, end = settings["idle"], time.monotonic() + settings["left"]
    margin = sign.session_margin(settings["left"])
    is_ending = False
    while not is_ending:
        while not _must_save_now(idle, end, margin):
            time.sleep(min(_pace, idle / 4))
            has_time = end - time.monotonic() > 2 * margin  # the save before the limit must not wait for an upload
            if settings["save"] and has_time and _is_moment_due():
                _save_moment(settings["save"], shell)
        is_at_limit = end - time.monotonic() < margin
        if is_at_limit and _work["busy"]:
            _interrupt_cell(end - margin / 4)  # the cell and a pickle must not use the variables at the same time
        requests = _work["requests"]
        if settings["save"]:
            _save_variables(settings["save"], shell)
        is_ending = is_at_limit or not (_work["busy"] or _work["requests"] > requests)  # saving takes time
    while _work["busy"]:  # the time limit ends the cell
        time.sleep(_pace)
    os.kill(os.getppid(), signal.SIGTERM)  # the server ends, and with the server the run and the bill


def _must_save_now(idle: float, end: float, margin: float) -> bool:
    """Return whether the variables must be saved now; a running cell gets half of the margin."""
    remaining = end - time.monotonic()
    if _work["busy"]:
        return remaining < margin / 2
    patience = idle if _work["cells"] else max(idle, _FIRST_CELL)
    return bool(_work["released"]) or remaining < margin or time.monotonic() - _work["since"] >= patience


def _interrupt_cell(end: float) -> None:
    """Interrupt the cell, and wait for its end, at the latest until ``end``."""
    os.kill(os.getpid(), signal.SIGINT)
    while _work["busy"] and time.monotonic() < end:
        time.sleep(0.1)


def _is_moment_due() -> bool:
    """Return whether cells have ended since the last saved moment, and another moment may be saved."""
    return not _work["busy"] and _work["cells"] > _moment["cells"] and time.monotonic() >= _moment["due"]


def _save_moment(place: dict[str, str], shell: Any) -> None:
    """Save the variables between two cells: if the machine is killed, the next machine restores this moment."""
    from ..carry.base import suppress_prints

    started, cells, requests = time.monotonic(), _work["cells"], _work["requests"]
    try:
        with suppress_prints():
            text, leaves = _pack_variables(shell.user_ns, shell.user_ns_hidden, moment=time.time())
        if not _work["busy"] and _work["requests"] == requests:  # a cell changes values while they are packed
            _upload_variables(place, text, leaves)
            _moment["cells"] = cells
    except Exception:  # the save before the end reports failures
        _moment["cells"] = cells
    ended = time.monotonic()
    _moment["due"] = ended + max(moments.PACE, (ended - started) / moments.SHARE)


def _save_variables(place: dict[str, str], shell: Any) -> None:
    """Put the variables into the bucket before the machine ends."""
    try:
        _upload_variables(place, *_pack_variables(shell.user_ns, shell.user_ns_hidden))
    except Exception:  # the next cell reports that nothing was saved
        stderr: Any = sys.__stderr__
        stderr.write("The variables of the session couldn't be saved.\n")


def _upload_variables(place: dict[str, str], text: bytes, leaves: list[bytes]) -> None:
    """Put packed variables into the bucket, signed: members of the organization can write there too."""
    from ..values import transfer as rooms

    pieces = [struct.pack("!q", len(text)), text, *leaves]
    signature = hmac.new(bytes.fromhex(place["key"]), digestmod=hashlib.sha256)
    for piece in pieces:
        signature.update(piece)
    rooms.upload_object(place["put"], [signature.digest(), *pieces])


def _pack_variables(namespace: dict[str, Any], hidden: dict[str, Any], **facts: Any) -> tuple[bytes, list[bytes]]:
    """Return all variables that can be sent as a message with ``facts``, and the large leaves after the message.

    Raises MemoryError for a moment that is too large.
    """
    from ..carry.base import Refused
    from ..carry.writer import Departing
    from ..values import envelope

    names = [name for name, value in namespace.items() if name[0] != "_" and hidden.get(name, hidden) is not value]
    reasons: dict[str, str] = {}
    while True:
        departing = Departing()
        try:
            for name in names:
                departing.add("name", name, namespace[name], name)
            break
        except Refused as reason:
            names.remove(name)
            reasons[name] = str(reason)
    departing.close()
    size = sum(leaf["size"] for leaf, _ in departing.message.large)
    if facts and not moments.fits(size):
        raise MemoryError
    leaves = envelope.pack_leaves(departing.message.large)
    return departing.text(left_out=reasons, **facts).encode("ascii"), leaves


def restore(text: str, shell: Any) -> None:
    """Set the variables that an earlier machine of the session has saved."""
    place = json.loads(text)
    _answer.clear()
    try:
        saved = read_saved(_download_object(place["get"]), place["key"])
        if saved is None:
            _answer["lost"] = "the variables were changed in the bucket"
            return
        values, reasons, moment = saved
        shell.user_ns.update(values)
        _answer.update(restored=sorted(values), left_out=reasons, moment=moment)
    except Exception as error:
        _answer["lost"] = "{}: {}".format(type(error).__name__, error).replace(place["get"], "the link")


def _download_object(link: str) -> bytes:
    import urllib.request

    from ..values import transfer as rooms

    with rooms.link_opener(link).open(urllib.request.Request(link), timeout=60) as answer:
        content: bytes = answer.read()
    return content


def read_saved(content: bytes, key: str) -> tuple[dict[str, Any], dict[str, str], float | None] | None:
    """Return the saved variables, name → reason of variables that weren't saved or can't be read, and their moment.

    The moment, in seconds since 1970, is None for variables that were saved before the machine ended. Return None for
    content that isn't signed with the key, whose bytes are given as hexadecimal digits.
    """
    from ..carry.reader import Arriving
    from ..values import envelope

    signature, rest = content[: sign.SIZE], memoryview(content)[sign.SIZE :]
    if not hmac.compare_digest(hmac.new(bytes.fromhex(key), rest, hashlib.sha256).digest(), signature):
        return None
    (size,) = struct.unpack_from("!q", rest)
    first = 8 + size
    arriving = Arriving(json.loads(bytes(rest[8:first])), envelope.packed_leaf_reader(rest[first:]))
    values = {entry["n"]: value for entry, value in arriving.read()}
    reasons = {**arriving.listed.get("left_out", {}), **arriving.refused}
    return values, reasons, arriving.listed.get("moment")


def release(_text: str, _shell: Any) -> None:
    """End the session soon, after its variables are saved."""
    _answer.clear()
    _work["released"] = 1


def connected(text: str, shell: Any) -> None:
    """Return the names of a list that have values, and names of a second list that share an object with these."""
    from ..carry.base import suppress_prints
    from ..carry.digests import connected_graphs

    names, candidates = json.loads(text)
    present = [name for name in names if name in shell.user_ns]
    _answer.clear()
    with suppress_prints():
        shared = connected_graphs(present, shell.user_ns, candidates)
    _answer["connected"] = [*present, *(name for name in candidates if name in shared and name not in names)]


def before(text: str, shell: Any) -> None:
    """Set the variables that the cell reads; a refusal is part of the answer."""
    request = json.loads(text)
    _answer.clear()
    _cell_settings.clear()
    _cell_settings.update(request["settings"])
    variables.hidden = shell.user_ns_hidden
    try:
        variables.before(request["settings"], shell.user_ns, request["links"])
    except SystemExit as refusal:
        _answer["refused"] = str(refusal.code)


def finish(question: str, shell: Any) -> str:
    """Send back the changes of a cell within the request of the cell, and return the signed answer."""
    _mark_busy()
    try:
        after("", shell)
    finally:
        _mark_idle()
    return answer(question)


def after(_text: str, shell: Any) -> None:
    """Send back the changes of the cell, as part of the answer."""
    if _answer:
        return
    try:
        from ..carry import visit

        visit.TOO_LARGE = _LARGE
        variables.after(_cell_settings, shell.user_ns, None)
    except SystemExit as refusal:
        _answer["refused"] = str(refusal.code)


def answer(question: str) -> str:
    """Return the answer as JSON, after a signature for this question alone."""
    text = json.dumps(_answer)
    return "{} {}".format(sign.signature(_settings["key"], question.encode(), text.encode()).hex(), text)


#: The type of a message with results of items before the answer.
ITEMS = "application/vnd.lk.items+json"


def call(text: str, shell: Any) -> None:
    """Call a function for an executor; the results or the error are part of the answer."""
    from . import call as function_call

    _answer.clear()
    _work["cells"] += 1
    function_call.prepare(json.loads(text))
    function_call.publish = lambda items: shell.display_pub.publish({ITEMS: items}, {})
    error: Exception | None = None
    try:
        function_call.run()
    except KeyboardInterrupt:
        _answer["call"] = {"interrupted": True}  # the machine has reached its time limit
    except SystemExit as end:
        error = function_call.build_exit_error(end)
    except Exception as failure:
        error = RuntimeError("The results couldn't be stored: {}.".format(failure))
    function_call.end_fork()
    if error and "call" not in _answer:
        function_call.send_error(error)


def _add_message(text: bytes, link: str) -> None:
    """Keep a message for the answer; store a long message in the bucket."""
    if len(text) > INLINE:
        variables.upload_message(text, link)
    else:
        _answer["message"] = text.decode("ascii")


def install(text: str, _shell: Any) -> None:
    """Install the packages of a requirements text with pip, unless all of the text are versions that are installed.

    The answer has the last lines of pip after a failure, and the changed versions of packages that are imported.
    """
    import subprocess
    import tempfile
    from importlib import invalidate_caches

    _answer.clear()
    if _are_installed(text):
        _answer["changed"] = {}
        return
    earlier = _list_loaded_versions()
    with tempfile.TemporaryDirectory(prefix="lk_install_") as folder:
        path = os.path.join(folder, "requirements.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        options = ["--disable-pip-version-check", "--no-input", "--quiet", "-r", path]
        process = subprocess.run(
            [sys.executable, "-m", "pip", "install", *options],
            cwd=folder,  # the run's folder may contain a module of the user with the name of another
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    invalidate_caches()
    if process.returncode:
        lines = process.stdout.decode("utf-8", "replace").strip().splitlines()
        _answer["problem"] = "\n".join(lines[-_PIP_LINES:]) or "pip ended with {}".format(process.returncode)
        return
    versions = _list_loaded_versions()
    _answer["changed"] = {
        name: [version, versions[name]] for name, version in earlier.items() if versions.get(name, version) != version
    }


#: Lines of pip's output that are reported after a failure.
_PIP_LINES = 5


def _are_installed(text: str) -> bool:
    """Return whether each line of a requirements text is an installed version: pip needs seconds to find this out."""
    from importlib import metadata

    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, version = line.partition("==")
        try:
            if metadata.version(name) != version:
                return False
        except (metadata.PackageNotFoundError, ValueError):  # such as an option of pip, or a range of versions
            return False
    return True


def _list_loaded_versions() -> dict[str, str]:
    """Return the name and the version of each installed package whose module is imported."""
    from importlib import metadata

    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"])
        if name.replace("-", "_").lower() in sys.modules:
            versions.setdefault(name, distribution.version)
    return versions


def environment(text: str, _shell: Any) -> None:
    """Report the version of Python, and the modules of a list that can't be imported."""
    from importlib.util import find_spec

    def is_missing(name: str) -> bool:
        try:
            return name not in sys.modules and find_spec(name) is None
        except (ImportError, ValueError):
            return False  # the import reports the error

    _answer.clear()
    _answer.update(python=sys.version.split()[0], missing=[name for name in json.loads(text) if is_missing(name)])


def files(folder: Any, texts: dict[str, str], rest: dict[str, Any]) -> None:
    """Write the files of a cell into the working folder; the rest are files that are not text, and folders."""
    from . import files

    files.write_files(rest)
    for name, text in texts.items():
        path = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        sys.modules.pop(name[: -len(".py")].replace("/", ".") if name.endswith(".py") else "", None)
