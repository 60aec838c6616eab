"""Set variables of the notebook in a run, and send variables back.

A part: travels with a run. Small values are in the settings. Large values come and go by links
to the bucket, in a separate file that is deleted at once.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
from contextlib import suppress
from importlib import import_module

import _lk_envelope as messages
import _lk_run

LINKS = "_lk_links.json"
HERE = os.path.dirname(os.path.abspath(__file__))

_links = {}
_carried = {}

#: Names of the namespace that are not the author's, each with its value.
hidden = {}


def before(settings, namespace, links=None):
    """Set the variables. Ends the run with one line where that cannot be."""
    _carried.clear()
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
    import _lk_ambient
    import _lk_carry as carry
    import _lk_files

    content = json.loads(_text(settings))
    _lk_ambient.put_paths(content["carry"]["ambient"])
    with carry.silent():
        _import(settings["libraries"])
    kept = {int(token): namespace[name] for token, name in settings["kept"].items() if name in namespace}
    arriving = carry.Arriving(content, lambda found: _leaf(found, settings["blobs"][found["blob"]][0]), kept)
    with carry.silent():
        visit = carry.Visit(arriving, namespace, hidden)
    if visit.refused:
        raise SystemExit("\n".join(visit.refused.values()) + "\nThe code was not run.")
    watch = _lk_ambient.StateWatch(arriving.listed["ambient"])
    with carry.silent():
        visit.begin()
    if "_lk_rich" in sys.modules:
        sys.modules["_lk_rich"].shown_before(namespace.get("_"))
    _carried.update(visit=visit, watch=watch, files=_lk_files.FolderWatch())


#: Bytes of a variable that still come back where the bucket takes no large ones, such as a full one.
_LITTLE = 4096


def _send_back(settings):
    import _lk_carry

    visit, watch = _carried["visit"], _carried["watch"]
    written, refused = _carried["files"].written()

    def send(limit, outputs, files, lacking=""):
        with _lk_carry.silent():
            departing, found = visit.end(limit, outputs, files)
        found = {name: "{} {}".format(name, lacking) for name in [*found, *written]} if lacking else found
        refused.update({name: why for name, why in found.items() if name not in refused})
        _store(
            departing.message.large,
            lambda: departing.text(refused=refused, sizes=departing.sizes, gone=visit.gone, ambient=watch.changed()),
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
        if "_lk_session" not in sys.modules:
            sys.modules["_lk_carry"].let_live()
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
    path = os.path.join(HERE, LINKS)
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
    if "_lk_session" in sys.modules:
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
    import _lk_transfer as rooms

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
    import _lk_transfer as rooms

    slots = rooms.Slots(_links["outputs"], sizes)
    for leaf, write in large:
        leaf["at"], content = slots.at, hashlib.sha256()
        write(lambda piece, content=content: (content.update(memoryview(piece).cast("B")), slots.write(piece)))
        leaf["sha256"] = content.hexdigest()
    slots.close()
    deliver(text_of().encode("ascii"), _links["values"])


def to_bucket(text, link):
    """Store a message in the bucket, and say in the log what it is."""
    import _lk_transfer as rooms

    rooms.send(link, [text])
    _lk_run.frame("returned", {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()})


#: Hands over the message; a session has another way.
deliver = to_bucket
