"""Variables of the notebook that a run finds set, and those that it sends back.

A part: travels with a run. What is small is in the settings; what is large comes and goes by links
to the bucket, which lie in a file of their own that is taken away at once.
"""

from __future__ import annotations

import json
import os

import _lk_messages as messages

LINKS = "_lk_links.json"
HERE = os.path.dirname(os.path.abspath(__file__))

_links = {}


def before(settings, namespace):
    """Set the variables. Ends the run with one line where that cannot be."""
    _links.update(_taken())
    if settings["blobs"] and not _links:
        raise SystemExit("The variables of this run can only be sent from a notebook or from Python: lk_jupyter.")
    if not settings["message"]:
        return
    try:
        received = _received(settings)
        found = received.values()
    except messages.Failed as failure:
        raise SystemExit("The variables did not arrive: {}. Run the cell again.".format(failure)) from None
    if received.refused:
        raise SystemExit("\n".join(received.refused.values()) + "\nThe code was not run.")
    namespace.update(found)


def after(settings, namespace, error):
    """Send back what was asked for, also after an error: whatever is there then."""
    if not settings["outputs"] or not _links:
        return
    message = messages.Message(settings["pickle"])
    for name in settings["outputs"]:
        if name in namespace:
            message.add(name, namespace[name])
        else:
            message.refused[name] = "{} was not set".format(name)
    try:
        _send(message, settings["slots"])
    except messages.Failed as failure:
        raise SystemExit("The variables could not be sent back: {}.".format(failure)) from None


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


def _received(settings):
    text = settings["message"]
    if isinstance(text, dict):
        text = bytes(_leaf(text)).decode("ascii")
    return messages.Received(text, _leaf, settings["pickle"])


def _leaf(found):
    import _lk_rooms as rooms

    memory = rooms.room(found["size"])
    rooms.fetch([(_links["inputs"][found["blob"]], found["at"], memory)])
    return memory


def _send(message, sizes):
    """Send the large leaves as one stream that is cut into slots, then the message that tells where they are."""
    import _lk_rooms as rooms

    slots = rooms.Slots(_links["outputs"], sizes)
    for leaf, write in message.large:
        leaf["at"] = slots.at
        write(slots.write)
    slots.close()
    rooms.send(_links["values"], [message.text().encode("ascii")])
