"""Links to the bucket for what a run saves and resumes from."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lk_jupyter.protocol.bucket import checkpoint_key
from lk_jupyter.protocol.parts import SETTINGS
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.checkpoint import LINKS, PART

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: How long a run may wait for its machine until its link to the bucket ends.
_WAIT = timedelta(hours=6)


def with_links(session: Connection, package: Bundle) -> Bundle:
    """Return the run with links to what it saves and goes on from; they are secrets, so it is kept nowhere.

    Raises StorageError when the bucket cannot be used.
    """
    files = json.loads(package.request.import_files or "{}")
    settings = json.loads(files[SETTINGS])["parts"].get(PART) if SETTINGS in files else None
    if not settings:
        return package
    links: dict[str, str] = {}
    if "resume" in settings:
        links["get"] = session.storage.presign(settings["resume"], life=_WAIT).url
    if "after" in settings:
        key, life = checkpoint_key(package.token), _WAIT + timedelta(seconds=package.timeout)
        links |= {"put": session.storage.presign(key, "PUT", life=life).url, "key": key}
    request = package.request.model_copy(update={"import_files": json.dumps({**files, LINKS: json.dumps(links)})})
    return replace(package, request=request)
