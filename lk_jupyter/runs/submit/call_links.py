"""The way through the bucket for what is too large in a call of a function, or in its answer.

The links are secrets, so they are made last, and the request that holds them is kept nowhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from weakref import WeakSet

from lk_jupyter.errors import LkError
from lk_jupyter.protocol.bucket import answer_key, call_key
from lk_jupyter.protocol.parts import SETTINGS

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.package.bundle import Bundle

PART, LINKS = "_lk_call", "_lk_call.json"


#: How long a run may wait for its machine until its links end.
_QUEUE = timedelta(hours=12)

#: Sessions that have no bucket, as was found out once.
_without: WeakSet[Connection] = WeakSet()


def with_call_links(session: Connection, package: Bundle) -> Bundle:
    """Return the run with the links that its call needs; as it is when it makes none.

    Raises StorageError when the call itself is in the bucket and cannot be linked to.
    """
    files = json.loads(package.request.import_files or "{}")
    settings = json.loads(files[SETTINGS])["parts"].get(PART) if SETTINGS in files else None
    if not settings:
        return package
    life = _QUEUE + timedelta(seconds=package.timeout)
    links: dict[str, str] = {}
    if "data" not in settings:
        links["get"] = session.storage.presign(call_key(settings["token"]), life=life).url
    links |= _link_for_the_answer(session, settings["token"], life)
    request = package.request.model_copy(update={"import_files": json.dumps({**files, LINKS: json.dumps(links)})})
    return replace(package, request=request)


def _link_for_the_answer(session: Connection, token: str, life: timedelta) -> dict[str, str]:
    """Return where a large answer may go; nothing without a bucket: then it goes through the log."""
    if session in _without:
        return {}
    try:
        return {"put": session.storage.presign(answer_key(token), "PUT", life=life).url}
    except LkError:
        _without.add(session)
        return {}
