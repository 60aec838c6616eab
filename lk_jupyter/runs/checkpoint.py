"""What a run saves before its time is up, and how the next one goes on from there.

Code that defines ``lk_checkpoint(folder)`` has it called late in its time; what it leaves in the
folder goes to the bucket. A run that is started with ``--resume`` finds that in ``lk_resume``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import UsageError
from lk_jupyter.options import RunOptions, line_of
from lk_jupyter.runs.bundle import REQUEST_KEY, Bundle, Source
from lk_jupyter.runs.companion import WARNING, Remark
from lk_jupyter.runs.cost import duration_label
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.parts import SETTINGS, Part
from lk_jupyter.runs.redact import redact

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session

#: The kind of the frames that tell of a checkpoint.
CHECKPOINT = "checkpoint"

#: The part of its time after which a run is warned of its end, and saves what it is to save.
LATE = 0.8

#: Where what runs have saved lies in the bucket.
CHECKPOINTS = ".lk/c/"

_PART, _LINKS = "_lk_checkpoint", "_lk_checkpoint.json"
_NAMES = re.compile(r"\blk_(?:checkpoint|resume)\b")
_TAKES_NOTHING = re.compile(r"^\s*def lk_checkpoint\(\s*\)", re.MULTILINE)

#: How long a run may wait for its machine until its link to the bucket ends.
_WAIT = timedelta(hours=6)


def checkpoint_parts(session: Session, source: Source, options: RunOptions, limit: int) -> list[Part]:
    """Return what goes along with code that saves itself, or goes on from what another run saved.

    ``limit`` is the time limit in seconds. Raises UsageError for a run that saved nothing, and
    StorageError when the bucket cannot be used.
    """
    if _TAKES_NOTHING.search(source.code):
        raise UsageError("lk_checkpoint is given the folder to save in: def lk_checkpoint(folder).")
    named = {match[0] for match in _NAMES.finditer(source.code)}
    if not (named or options.resume):
        return []
    settings: dict[str, Any] = {}
    if options.resume:
        settings["resume"] = _saved_by(session, options.resume)
    if "lk_checkpoint" in named:
        settings["after"] = LATE * limit
    return [Part(_PART, settings)]


def with_links(session: Session, package: Bundle) -> Bundle:
    """Return the run with links to what it saves and goes on from; they are secrets, so it is kept nowhere.

    Raises StorageError when the bucket cannot be used.
    """
    files = json.loads(package.request.import_files or "{}")
    settings = json.loads(files[SETTINGS])["parts"].get(_PART) if SETTINGS in files else None
    if not settings:
        return package
    links: dict[str, str] = {}
    if "resume" in settings:
        links["get"] = session.storage.presign(settings["resume"], life=_WAIT).url
    if "after" in settings:
        key, life = _key(package.token), _WAIT + timedelta(seconds=package.timeout)
        links |= {"put": session.storage.presign(key, "PUT", life=life).url, "key": key}
    request = package.request.model_copy(update={"import_files": json.dumps({**files, _LINKS: json.dumps(links)})})
    return replace(package, request=request)


def _key(token: str) -> str:
    return f"{CHECKPOINTS}{token}.tar"


def _saved_by(session: Session, wish: str) -> str:
    """Return the key of what a run has saved. Raises UsageError."""
    run = session.get(wish)
    entry = journal().get(run.execution_id)
    token = entry.token if entry else (run.record.metadata or {}).get(REQUEST_KEY)
    if not token or not session.storage.exists(_key(str(token))):
        raise UsageError(f"--resume: run {run.short_id} has saved nothing. Its code must define lk_checkpoint(folder).")
    return _key(str(token))


def told(payload: dict[str, Any]) -> Remark:
    """Return what a run says of its checkpoint, in words."""
    if "problem" in payload:
        return Remark(redact(f"Nothing was saved: {payload['problem']}."), WARNING)
    count, size = payload.get("count", 0), payload.get("bytes", 0)
    files = "1 file" if count == 1 else f"{count} files"
    return Remark(f"Saved {files}, {_size(size)}, after {duration_label(float(payload.get('seconds', 0)))}.")


def resume_line(package: Bundle | None, run_id: str) -> str:
    """Return what to write to go on from what a run has saved."""
    if package is None:
        return f"--resume {run_id}"
    options = package.options.model_copy(update={"resume": run_id})
    if package.source.is_cell:
        return redact(f"%%lk_run {line_of(options)}")
    return f'session.run(…, resume="{run_id}")'


def _size(count: float) -> str:
    if count < 1000:
        return "1 byte" if count == 1 else f"{count:.0f} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"
