"""Set variables of the notebook in a run, and send variables back.

A part: travels with a run. Small values are in the settings. Large values come and go by links
to the bucket, in a separate file that is deleted at once.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from contextlib import suppress
from importlib import import_module

from ..values import envelope as messages
from . import run as driver

LINKS = "_lk_links.json"

_links = {}
_carried = {}

#: Names of the namespace that are not the author's, each with its value; and whether this is a session.
hidden = {}
is_session = False


def before(settings, namespace, links=None):
    """Set the variables. Ends the run with one line where that cannot be."""
    _carried.clear()
    driver.carries = False
    _links.clear()
    _links.update(_taken() if links is None else links)
    if settings["blobs"] and not _links:
        raise SystemExit("The variables of this run can only be sent from a notebook or from Python: lk_jupyter.")
    if not settings["message"]:
        return
    try:
        if settings["carry"]:
            _carry(settings, namespace)
            return
        received = _received(settings)
        found = received.values()
    except messages.Failed as failure:
        raise SystemExit("The variables did not arrive: {}. Run the cell again.".format(failure)) from None
    if received.refused:
        raise SystemExit("\n".join(received.refused.values()) + "\nThe code was not run.")
    namespace.update(found)


def _carry(settings, namespace):
    """Set what the cell reads, and record it, so that changes are known. Raises Failed."""
    from .. import ambient
    from ..carry.base import silent
    from ..carry.reader import Arriving
    from ..carry.visit import Visit
    from . import files

    content = json.loads(_text(settings))
    ambient.put_paths(content["carry"]["ambient"])
    with silent():
        _import(settings["libraries"])
    kept = {int(token): namespace[name] for token, name in settings["kept"].items() if name in namespace}
    arriving = Arriving(content, lambda found: _leaf(found, settings["blobs"][found["blob"]][0]), kept)
    with silent():
        visit = Visit(arriving, namespace, hidden)
    if visit.refused:
        raise SystemExit("\n".join(visit.refused.values()) + "\nThe code was not run.")
    watch = ambient.StateWatch(arriving.listed["ambient"])
    with silent():
        visit.begin()
    if driver.record_last:
        driver.record_last(namespace.get("_"))
    driver.carries = True
    _carried.update(visit=visit, watch=watch, files=files.FolderWatch())


#: Bytes of a variable that still come back where the bucket takes no large ones, such as a full one.
_LITTLE = 4096


def _send_back(settings):
    from ..carry.base import silent

    visit, watch = _carried["visit"], _carried["watch"]
    written, refused = _carried["files"].written()

    def send(limit, outputs, files, lacking=""):
        with silent():
            departing, found = visit.end(limit, outputs, files)
        found = {name: "{} {}".format(name, lacking) for name in [*found, *written]} if lacking else found
        refused.update({name: why for name, why in found.items() if name not in refused})
        _store(
            departing.message.large,
            lambda: departing.text(refused=refused, sizes=departing.sizes, gone=visit.deleted, ambient=watch.changed()),
            settings["slots"],
        )

    try:
        try:
            send(settings["carry"], settings["outputs"], written)
        except messages.Failed as failure:
            send(_LITTLE, (), {}, "could not be sent back: {}".format(failure))
    except messages.Failed as failure:
        raise SystemExit("The variables could not be sent back: {}.".format(failure)) from None


def after(settings, namespace, error):
    """Send back what was asked for or has changed, also after an error: whatever is there then."""
    if not _links:
        return
    if _carried:
        _send_back(settings)
        if not is_session:
            from ..carry.visit import let_live

            let_live()
    elif settings["outputs"]:
        _send_named(settings, namespace)


def _send_named(settings, namespace):
    message = messages.Envelope(settings["pickle"])
    for name in settings["outputs"]:
        if name in namespace:
            message.add(name, namespace[name])
        else:
            message.refused[name] = "{} was not set".format(name)
    _send(message.large, message.text, settings)


def _taken():
    """Read the links and take them away; a run that was not started from a notebook has none."""
    path = os.path.join(driver.HERE, LINKS)
    try:
        with open(path, encoding="utf-8") as file:
            links = json.load(file)
    except OSError:
        return {}
    try:
        os.unlink(path)
    except OSError:
        pass
    return links


def _text(settings):
    """Return the message; a long one lies in the bucket."""
    text = settings["message"]
    return bytes(_leaf(text, settings["blobs"][text["blob"]][0])).decode("ascii") if isinstance(text, dict) else text


def _import(libraries):
    """Import what the values need, and keep it out of all searches for garbage.

    It stays, and a search of it takes long: each process ends with several. In a session the code may have objects.
    """
    if is_session:
        return
    gc.disable()
    for name in libraries:
        with suppress(Exception):  # reading the value says so
            import_module(name)
    gc.freeze()
    gc.enable()


def _received(settings):
    _import(settings["libraries"])

    def leaf(found):
        return _leaf(found, settings["blobs"][found["blob"]][0])

    return messages.Received(_text(settings), leaf, settings["pickle"])


def _leaf(found, key):
    from ..values import transfer as rooms

    memory = rooms.room(found["size"])
    rooms.fetch([(_links["inputs"][found["blob"]], found["at"], memory)])
    if hashlib.sha256(memory).hexdigest() != found["sha256"]:
        raise messages.Failed("somebody changed .lk/v/{0} in the bucket. Delete it: %lk_rm .lk/v/{0} --yes".format(key))
    return memory


def _send(large, text_of, settings):
    try:
        _store(large, text_of, settings["slots"])
    except messages.Failed as failure:
        raise SystemExit("The variables could not be sent back: {}.".format(failure)) from None


def _store(large, text_of, sizes):
    """Store the large leaves as one stream that is cut into slots, then the message that lists where they are.

    The bucket is everybody's in the organization, so the log says what the message is, and the message what they are.
    """
    from ..values import transfer as rooms

    slots = rooms.Slots(_links["outputs"], sizes)
    for leaf, write in large:
        leaf["at"], content = slots.at, hashlib.sha256()
        write(lambda piece, content=content: (content.update(memoryview(piece).cast("B")), slots.write(piece)))
        leaf["sha256"] = content.hexdigest()
    slots.close()
    deliver(text_of().encode("ascii"), _links["values"])


def to_bucket(text, link):
    """Store a message in the bucket, and say in the log what it is."""
    from ..values import transfer as rooms

    rooms.send(link, [text])
    driver.frame("returned", {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()})


#: Hands over the message; a session has another way.
deliver = to_bucket
