"""Let a run that a page aborts return its variables first, as an abort in a kernel does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from lk_jupyter.protocol.bucket import GRACE, stop_key
from lk_jupyter.protocol.metadata import REQUEST_KEY, returns_variables

if TYPE_CHECKING:
    from lk_jupyter.serverext.upstream import Upstream

#: Seconds between two looks whether the run has ended.
_PACE = 0.25

#: Ids of the runs that return their variables now.
_stopping: set[str] = set()


async def stops_itself(upstream: Upstream, execution_id: str) -> bool:
    """Request a run of this machine to return its variables and to end; return whether the run ended in time."""
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415 (at first use)
    from lk_jupyter.api.execution import Execution, is_final  # noqa: PLC0415 (the same)
    from lk_jupyter.config.signing import stop_content  # noqa: PLC0415 (the same)
    from lk_jupyter.serverext.storage import put  # noqa: PLC0415 (the same)

    end = time.monotonic() + GRACE
    if execution_id in _stopping:  # a second abort is sent immediately
        return False
    _stopping.add(execution_id)
    try:
        token = await asyncio.to_thread(_find_token, execution_id)
        if token is None:
            return False
        content = stop_content(token)
        await asyncio.wait_for(put(upstream, stop_key(token), len(content), _yield_content(content)), GRACE)
        while time.monotonic() < end:
            answer = await upstream.call(endpoint_of(Execution.status), execution_id=execution_id)
            if is_final(str(answer["status"])):
                return True
            await asyncio.sleep(_PACE)
    except Exception:  # noqa: BLE001 (the abort needs neither journal nor bucket nor state)
        return False
    finally:
        _stopping.discard(execution_id)
    return False


def _find_token(execution_id: str) -> str | None:
    """Return the token of a run that this machine started and that returns variables; None for another run."""
    from lk_jupyter.journal.journal import journal  # noqa: PLC0415 (at first use)

    entry = journal().get(execution_id)
    metadata = (entry.request.get("metadata") or {}) if entry else {}
    return str(metadata[REQUEST_KEY]) if returns_variables(metadata) else None


async def _yield_content(content: bytes) -> AsyncIterator[bytes]:
    yield content
