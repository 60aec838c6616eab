"""Sets variables of the notebook in a run, and sends variables back.

Small values are in the settings. Large values are transferred by links to the bucket, in a separate file that is
deleted immediately.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from contextlib import suppress
from importlib import import_module

from ..values import envelope as messages
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

LINKS = "_lk_links.json"

_links: dict[str, Any] = {}
_carried: dict[str, Any] = {}

#: The module that looks for a stop object, if this run has started to look.
_stop_watches: list[Any] = []

#: Names of the namespace that are not the author's, with the values; and whether this is a session.
hidden: dict[str, Any] = {}
is_session = False


def before(settings: dict[str, Any], namespace: dict[str, Any], links: dict[str, Any] | None = None) -> None:
    """Set the variables. Ends the run with one line on failure."""
    _carried.clear()
    driver.carries = False
    _links.clear()
    _links.update(_read_links() if links is None else links)
    if settings["blobs"] and not _links:
        raise SystemExit("The variables of this run can only be sent with lk_jupyter, from a notebook or from Python.")
    if settings["slots"] and _links and not is_session:
        from . import stop

        stop.watch_for_stop(_links["stop"], _links["limit"], _links.get("lease_end"))
        _stop_watches.append(stop)
    if not settings["message"]:
        return
    try:
        if settings["carry"]:
            _set_state(settings, namespace)
            return
        received = _read_message(settings)
        values = received.values()
    except messages.Failed as failure:
        raise SystemExit("The variables did not arrive: {}. Run the cell again.".format(failure)) from None
    if received.refused:
        raise SystemExit("\n".join(received.refused.values()) + "\nThe code was not run.")
    namespace.update(values)


def _set_state(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Set the variables that the cell reads, and record the state to find changes. Raises Failed."""
    from .. import ambient
    from ..carry.base import suppress_prints
    from ..carry.digests import unchanged_objects
    from ..carry.reader import Arriving
    from ..carry.visit import Visit
    from . import files

    content = json.loads(_read_message_text(settings))
    ambient.set_paths(content["carry"]["ambient"])
    for name in settings["deleted"]:  # by the notebook, since its last cell on this machine
        namespace.pop(name, None)
    with suppress_prints():
        _import_libraries(settings["libraries"])
    with suppress_prints():
        common = unchanged_objects(settings["kept"], settings["graphs"], namespace)
    arriving = Arriving(content, lambda message_leaf: _download_leaf(message_leaf, settings["blobs"]), common)
    with suppress_prints():
        visit = Visit(arriving, namespace, hidden)
    if visit.refused:
        raise SystemExit("\n".join(visit.refused.values()) + "\nThe code was not run.")
    watch = ambient.StateWatch(arriving.listed["ambient"])
    started = time.monotonic()
    with suppress_prints():
        visit.begin()
    cost = time.monotonic() - started
    if driver.record_last:
        driver.record_last(namespace.get("_"))
    driver.carries = True
    _carried.update(visit=visit, watch=watch, files=files.FolderWatch())
    if _links.get("moment") and not is_session and driver._key:
        from . import moment

        _carried["moments"] = moment.Moments(_links["moment"], lambda: _pack_moment(settings), cost)
        _carried["moments"].begin()


def _pack_moment(settings: dict[str, Any]) -> tuple[Callable[[], str], list[Any]]:
    """Return the changes until now: the message, once its leaves have places, and the writers of the large leaves."""
    from ..carry.base import suppress_prints

    visit, watch = _carried["visit"], _carried["watch"]
    with suppress_prints():
        departing, reasons = visit.end(settings["carry"])
    ambient = watch.changed()

    def make_text() -> str:
        text: str = departing.text(refused=reasons, sizes=departing.sizes, gone=visit.deleted, ambient=ambient)
        return text

    return make_text, departing.message.large


#: Bytes of a variable that is sent back even if the bucket accepts no large objects, such as a full bucket.
_SMALL_LIMIT = 4096


def _send_back(settings: dict[str, Any]) -> None:
    from ..carry.base import suppress_prints

    visit, watch = _carried["visit"], _carried["watch"]
    visit.flush_files()
    written, refused = _carried["files"].written_files()

    def send(limit: int | None, outputs: Any, files: Any, lacking: str = "") -> None:
        with suppress_prints():
            departing, reasons = visit.end(limit, outputs, files, settings.get("handles"))
        reasons = {name: "{} {}".format(name, lacking) for name in [*reasons, *written]} if lacking else reasons
        refused.update({name: why for name, why in reasons.items() if name not in refused})
        for leaf, received, place in visit.iterate_received_leaves(departing):
            if received.get("count", 1) > 1 and received["size"] == leaf["size"]:
                blobs = settings["blobs"][received["blob"] : received["blob"] + received["count"]]
                leaf.update(of=place, parts=[[size, key] for key, size in blobs])
        _upload_leaves(
            departing.message.large,
            lambda: departing.text(
                refused=refused,
                sizes=departing.sizes,
                gone=visit.deleted,
                ambient=watch.changed(),
                **({"handles": visit.handles} if visit.handles else {}),
                **({"last": visit.unsent_last} if visit.unsent_last else {}),
            ),
            settings["slots"],
        )

    try:
        try:
            send(settings["carry"], settings["outputs"], written)
        except messages.Failed as failure:
            send(_SMALL_LIMIT, (), {}, "could not be returned: {}".format(failure))
    except messages.Failed as failure:
        raise SystemExit("The variables could not be returned: {}.".format(failure)) from None


def after(settings: dict[str, Any], namespace: dict[str, Any], error: BaseException | None) -> None:
    """Send back the requested and the changed variables, also after an error."""
    if not _links:
        return
    for watch in _stop_watches:
        watch.end_watch()
    if _carried:
        if "moments" in _carried:
            _carried["moments"].end()
        _send_back(settings)
        if not is_session:
            from ..carry.visit import remove_finalizers

            remove_finalizers()
    elif settings["outputs"]:
        _send_named(settings, namespace)


def _send_named(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    message = messages.Envelope(settings["pickle"])
    for name in settings["outputs"]:
        if name in namespace:
            message.add(name, namespace[name])
        else:
            message.refused[name] = "{} was not set".format(name)
    _upload_or_exit(message.large, message.text, settings)


def _read_links() -> dict[str, Any]:
    """Read and delete the links; a run that was not started from a notebook has none."""
    path = os.path.join(driver.FOLDER, LINKS)
    try:
        with open(path, encoding="utf-8") as file:
            links: dict[str, Any] = json.load(file)
    except OSError:
        return {}
    try:
        os.unlink(path)
    except OSError:
        pass
    return links


def _read_message_text(settings: dict[str, Any]) -> str:
    """Return the message; a long message is in the bucket."""
    text = settings["message"]
    return bytes(_download_leaf(text, settings["blobs"])).decode("ascii") if isinstance(text, dict) else text


def _import_libraries(libraries: Iterable[str]) -> None:
    """Import the libraries of the values, and exclude the imported objects from garbage collection.

    Libraries stay loaded, and collecting takes long: each process ends with several collections. Not in a session, in
    which the code may have objects.
    """
    if is_session:
        return
    gc.disable()
    for name in libraries:
        with suppress(Exception):  # reading the value reports the error
            import_module(name)
    gc.freeze()
    gc.enable()


def _read_message(settings: dict[str, Any]) -> messages.Received:
    _import_libraries(settings["libraries"])

    def leaf(message_leaf: Any) -> Any:
        return _download_leaf(message_leaf, settings["blobs"])

    return messages.Received(_read_message_text(settings), leaf, settings["pickle"])


def _download_leaf(message_leaf: dict[str, Any], blobs: list[list[Any]]) -> Any:
    """Download a leaf: a part of one blob, or ``count`` complete blobs. Raises Failed for other bytes."""
    from ..values import transfer as rooms

    memory = rooms.allocate_memory(message_leaf["size"])
    first, position, parts = message_leaf["blob"], 0, {}
    for number in range(first, first + message_leaf.get("count", 1)):
        size = blobs[number][1] if "count" in message_leaf else len(memory)
        parts[number] = memoryview(memory)[position : position + size]
        position += size
    rooms.download_parts([(_links["inputs"][number], message_leaf["at"], part) for number, part in parts.items()])
    if hashlib.sha256(memory).hexdigest() != message_leaf["sha256"]:
        changed = [blobs[at][0] for at, part in parts.items() if hashlib.sha256(part).hexdigest() != blobs[at][0]]
        raise messages.Failed(
            "another program changed .lk/v/{0} in the bucket. Delete it: %lk_rm .lk/v/{0} --yes".format(changed[0])
        )
    return memory


def _upload_or_exit(
    large: list[tuple[dict[str, Any], Any]], make_text: Callable[..., str], settings: dict[str, Any]
) -> None:
    try:
        _upload_leaves(large, make_text, settings["slots"])
    except messages.Failed as failure:
        raise SystemExit("The variables could not be returned: {}.".format(failure)) from None


def _upload_leaves(large: list[tuple[dict[str, Any], Any]], make_text: Callable[..., str], sizes: list[int]) -> None:
    """Store the large leaves as one stream in slots, then the message with the places.

    All members of the organization can write to the bucket, so the log has the digest of the message, and the message
    the digests of leaves.
    """
    if large:
        from ..values import transfer as rooms

        slots = rooms.Slots(_links["outputs"], sizes)
        for leaf, write in large:
            leaf["at"] = slots.at
            leaf["sha256"] = _write_leaf(leaf, write, slots)
        slots.close()
    deliver(make_text().encode("ascii"), _links["values"])


def _write_leaf(leaf: dict[str, Any], write: Callable[[Any], Any], slots: Any) -> str:
    """Write a leaf into the slots, and return the SHA-256 of the bytes.

    The notebook has the ``parts`` of a received leaf, each with size and SHA-256. Unchanged parts are not written; the
    hash of a changed part becomes None.
    """
    content = hashlib.sha256()
    if "parts" not in leaf:

        def sink(_: int, piece: memoryview) -> None:
            content.update(piece)
            slots.write(piece)

        _split_leaf(write, [[leaf["size"], None]], sink)
        return content.hexdigest()

    parts = leaf["parts"]
    digests = [hashlib.sha256() for _ in parts]

    def update(number: int, piece: memoryview) -> None:
        content.update(piece)
        digests[number].update(piece)

    _split_leaf(write, parts, update)
    for part, digest in zip(parts, digests):
        part[1] = part[1] if part[1] == digest.hexdigest() else None
    _split_leaf(write, parts, lambda number, piece: slots.write(piece) if parts[number][1] is None else None)
    return content.hexdigest()


def _split_leaf(write: Callable[[Any], Any], parts: list[list[Any]], sink: Callable[[int, memoryview], Any]) -> None:
    """Call ``sink`` with the bytes of a leaf in order, each piece with the number of its part."""
    number, rest = 0, parts[0][0]

    def forward(piece: Any) -> None:
        nonlocal number, rest
        view = messages.byte_view(piece)
        while view.nbytes:
            while not rest:
                number += 1
                rest = parts[number][0]
            size = min(rest, view.nbytes)
            sink(number, view[:size])
            rest, view = rest - size, view[size:]

    write(forward)


#: Bytes of the largest message in the log; a longer message is stored in the bucket.
INLINE = 32 * 1024


def upload_message(text: bytes, link: str) -> None:
    """Store a message in the bucket, and report the digest in the log."""
    from ..values import transfer as rooms

    rooms.upload_object(link, [text])
    driver.frame("returned", {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()})


def return_message(text: bytes, link: str) -> None:
    """Write a short message into the log, which saves two requests; store a longer message in the bucket."""
    if len(text) > INLINE:
        upload_message(text, link)
    else:
        driver.frame("returned", {"message": text.decode("ascii")})


#: Hands over the message; a session has another way.
deliver = return_message
