"""What the journal keeps of a run, made from what was sent and from the record of the end."""

from __future__ import annotations

import hashlib
import re
import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.journal.cell import current_cell
from lk_jupyter.journal.journal import JournalEntry
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.outcome import duration_of, failure_of
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.redact import MARK, redact_values

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def code_hash(code: str) -> str:
    """Return the name of a code by its content; blank lines at its ends do not count."""
    return hashlib.sha256(code.strip().encode(errors="replace")).hexdigest()


def entry_of(session: Connection, package: Bundle, group: str | None = None) -> JournalEntry:
    """Return the entry of a run that is about to be sent from here."""
    place, request = current_cell(), package.request
    return JournalEntry(
        token=package.token,
        base_url=session.base_url,
        org=session.target.org,
        notebook=place.notebook,
        cell_id=place.cell_id,
        session=place.session,
        code=package.source.code,
        code_hash=code_hash(package.source.code),
        request=_kept(package),
        machine=package.machine.hardware_profile,
        price_per_hour=package.machine.price_per_hour,
        options=package.options.model_dump(mode="json", exclude_defaults=True),
        labels=request.labels or [],
        metadata={
            key: value
            for key, value in (request.metadata or {}).items()
            if key not in {REQUEST_KEY, FRAMES_KEY, PORTS_KEY}
        },
        run_name=request.run_name,
        created_at=time.time(),
        group=group,
    )


def _kept(package: Bundle) -> dict[str, Any]:
    """Return the request as it is kept: without its files if there is a secret, which may be packed in any of them.

    Words that are to be kept nowhere have a mark in their place.
    """
    request: dict[str, Any] = package.request.model_dump(mode="json", exclude_none=True)
    if package.hidden:
        words = re.compile("|".join(map(re.escape, sorted(package.hidden, key=len, reverse=True))))
        request = redact_values(request, partial(words.sub, MARK))
    return {**request, "import_files": MARK} if package.secrets and "import_files" in request else request


def end_of_entry(record: ExecutionRecord) -> dict[str, Any]:
    """Return what the end of a run changes in its entry; all moments are the server's."""
    succeeded = record.status.lower() in SUCCEEDED_STATES
    return {
        "state": record.status.lower(),
        "started_at": _seconds(record.start_time or record.job_start),
        "ended_at": _seconds(record.end_time or record.job_end or record.finish_time),
        "seconds": duration_of(record),
        "cost": record.billed,
        "reason": "" if succeeded else str(failure_of(record)),
    }


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
