"""Links to the bucket for what a run saves and resumes from, and for what is too large in a call or its answer.

They are secrets, so they are made last, and the request that holds them is kept nowhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from lk_jupyter.errors import LkError
from lk_jupyter.protocol.bucket import answer_key, call_key, checkpoint_key
from lk_jupyter.protocol.parts import SETTINGS
from lk_jupyter.runs.package import checkpoint
from lk_jupyter.runs.package.bundle import Bundle

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: The part that makes a call of a function, and the file that has its links.
CALL, CALL_LINKS = "_lk_call", "_lk_call.json"

#: How long a run may wait for its machine until its links end.
_WAIT, _WAIT_OF_CALL = timedelta(hours=6), timedelta(hours=12)

#: Sessions that have no bucket, as was found out once.
_without: WeakSet[Connection] = WeakSet()


def with_links(session: Connection, package: Bundle) -> Bundle:
    """Return the run with the links that its parts need. Raises StorageError when the bucket cannot be used."""
    files = json.loads(package.request.import_files or "{}")
    parts = json.loads(files[SETTINGS])["parts"] if SETTINGS in files else {}
    links: dict[str, str] = {}
    if settings := parts.get(checkpoint.PART):
        links[checkpoint.LINKS] = json.dumps(_of_checkpoint(session, package, settings))
    if settings := parts.get(CALL):
        life = _WAIT_OF_CALL + timedelta(seconds=package.timeout)
        links[CALL_LINKS] = json.dumps(_of_call(session, settings, life))
    if not links:
        return package
    request = package.request.model_copy(update={"import_files": json.dumps({**files, **links})})
    return replace(package, request=request)


def _of_checkpoint(session: Connection, package: Bundle, settings: dict[str, Any]) -> dict[str, str]:
    links: dict[str, str] = {}
    if "resume" in settings:
        links["get"] = session.storage.presign(settings["resume"], life=_WAIT).url
    if "after" in settings:
        key, life = checkpoint_key(package.token), _WAIT + timedelta(seconds=package.timeout)
        links |= {"put": session.storage.presign(key, "PUT", life=life).url, "key": key}
    return links


def _of_call(session: Connection, settings: dict[str, Any], life: timedelta) -> dict[str, str]:
    """Return where the call is, if it is in the bucket, and where a large answer may go; else it goes to the log."""
    links: dict[str, str] = {}
    if "data" not in settings:
        links["get"] = session.storage.presign(call_key(settings["token"]), life=life).url
    if session not in _without:
        try:
            links["put"] = session.storage.presign(answer_key(settings["token"]), "PUT", life=life).url
        except LkError:
            _without.add(session)
    return links
