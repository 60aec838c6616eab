"""Sends exact numbers to the notebook: the values of ``lk_log(loss=0.31)`` and of TensorBoard's event files."""

from __future__ import annotations

import builtins
import math
import os
import struct
import sys
import time

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Seconds between two messages, and at least between two searches for event files.
PACE, SEARCH_PACE = 0.5, 2.0

#: Seconds that the end of the code waits for the thread: the variables are sent back after this.
_PATIENCE = 2.0

#: Folders of a search, numbers of a message, and numbers of a run.
MOST_FOLDERS, MOST_IN_MESSAGE, MOST = 500, 500, 100_000

#: Folders whose names show which part of the data a summary describes.
_DATA_FOLDERS = {"train", "training", "validation", "valid", "val", "test", "eval"}

_points: list[list[Any]] = []
_state = {"sent": 0.0, "count": 0, "calls": 0}
_positions: dict[str, int] = {}
_start = time.time()
_followers: list[Any] = []  # the thread that follows event files, and the event that stops the thread


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Define ``lk_log`` for all modules; follow event files in a thread if the code may write them."""
    vars(builtins).update(lk_log=lk_log)
    if settings["events"]:
        import threading

        stop = threading.Event()
        thread = threading.Thread(target=_follow_events, args=(stop,), name="lk-events", daemon=True)
        _followers.append((thread, stop))
        thread.start()


def after(settings: dict[str, Any], namespace: dict[str, Any], error: BaseException | None) -> None:
    """Send the rest."""
    if _followers:
        thread, stop = _followers.pop()
        stop.set()
        thread.join(_PATIENCE)  # two readers would send the same events twice
        _flush_writers()
        _read_events(os.getcwd())
    _send_points()


def lk_log(step: float | None = None, **values: Any) -> None:
    """Log exact values of this run, such as ``lk_log(loss=0.31)``; ``step`` is the count by default."""
    _state["calls"] += 1
    now = time.time()
    for name, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError("lk_log: {}={!r:.60} isn't a number.".format(name, value)) from None
        _add_point(name, _state["calls"] if step is None else float(step), number, now)
    if now - _state["sent"] >= PACE:
        _send_points()


def _add_point(name: str, step: float, value: float, moment: float) -> None:
    _state["count"] += 1
    if _state["count"] <= MOST:
        _points.append([name, step, value if math.isfinite(value) else str(value), round(moment, 3)])


def _send_points() -> None:
    _state["sent"] = time.time()
    while _points:
        points = _take_points()
        if points:
            driver.frame("scalars", {"points": points})


def _take_points() -> list[Any]:
    """Remove the points of the next message; any number of threads may send points at the same time."""
    points: list[Any] = []
    try:
        while len(points) < MOST_IN_MESSAGE:
            points.append(_points.pop(0))
    except IndexError:
        pass
    return points


def _follow_events(stop: Any) -> None:
    pause = SEARCH_PACE
    while not stop.wait(pause):
        start = time.time()
        _read_events(os.getcwd())
        _send_points()
        pause = max(SEARCH_PACE, 20 * (time.time() - start))  # a large folder must not cost the code its time


def _flush_writers() -> None:
    """Write what the writers of PyTorch still have in memory."""
    import gc

    module = sys.modules.get("torch.utils.tensorboard.writer") or sys.modules.get("tensorboardX.writer")
    for writer in gc.get_objects() if module else ():
        if type(writer) is getattr(module, "SummaryWriter", None):
            try:
                writer.flush()
            except Exception:  # a closed writer has nothing left
                pass


def _read_events(top: str) -> None:
    """Read the new events of all files below a folder that this run has written."""
    for number, (folder, folders, names) in enumerate(os.walk(top)):
        if number >= MOST_FOLDERS:
            return
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_lk")))
        for name in sorted(names):
            if ".tfevents." in name:
                try:
                    _read_event_file(os.path.join(folder, name))
                except (OSError, ValueError, IndexError, struct.error):
                    pass  # a damaged file is no reason to disturb the code


def _read_event_file(path: str) -> None:
    if os.path.getmtime(path) < _start - 1:
        return
    folder = os.path.basename(os.path.dirname(path))
    prefix = folder + "/" if folder in _DATA_FOLDERS else ""
    with open(path, "rb") as file:
        file.seek(_positions.get(path, 0))
        while True:
            head = file.read(12)
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
            record = file.read(size + 4) if 0 < size < 1 << 24 else b""
            if not size or len(record) < size + 4:
                return  # the rest is not written yet
            _positions[path] = file.tell()
            for name, step, value, moment in iterate_scalars(record[:size]):
                _add_point(prefix + name, step, value, moment)


def iterate_scalars(event: bytes) -> Iterator[tuple[str, float, float, float]]:
    """Return name, step, value and time of the scalars in an event of TensorBoard, a message of protocol buffers."""
    moment, step, summaries = 0.0, 0, []
    for number, value in _iterate_fields(event):
        if number == 1 and isinstance(value, bytes):
            moment = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, entry in _iterate_fields(summary):
            if number == 1 and isinstance(entry, bytes):
                name, scalar = _parse_scalar(entry)
                if name and scalar is not None:
                    yield name, float(step), scalar, moment


def _parse_scalar(entry: bytes) -> tuple[str, float | None]:
    name, scalar = "", None
    for number, value in _iterate_fields(entry):
        if number == 1 and isinstance(value, bytes):
            name = value.decode("utf-8", "replace")
        elif number == 2 and isinstance(value, bytes) and len(value) == 4:
            scalar = struct.unpack("<f", value)[0]
        elif number == 8 and isinstance(value, bytes):
            scalar = _parse_tensor_scalar(value)
    return name, scalar


def _parse_tensor_scalar(tensor: bytes) -> float | None:
    """Return the number of a tensor with one number, as TensorFlow 2 writes a scalar; None for another tensor."""
    for number, value in _iterate_fields(tensor):
        if number in (4, 5, 6) and isinstance(value, bytes) and len(value) in (4, 8):
            scalar: float = struct.unpack("<f" if len(value) == 4 else "<d", value)[0]
            return scalar
    return None


def _iterate_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Return number and value of the fields of a message; fixed and long values are bytes."""
    place = 0
    while place < len(message):
        key, place = _parse_varint(message, place)
        kind, size = key & 7, 0
        if kind == 0:
            number, place = _parse_varint(message, place)
            yield key >> 3, number
            continue
        if kind == 2:
            size, place = _parse_varint(message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            return
        yield key >> 3, message[place : place + size]
        place += size


def _parse_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            return value, place
