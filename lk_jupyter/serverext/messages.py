"""Send messages about runs whose kernel has ended: the Jupyter server remains when the laptop is closed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from decimal import Decimal

    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.journal.entry import JournalEntry
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider

#: Seconds after the start of a run without a message about its end.
_OLDEST_SECONDS = 14 * 86_400

#: Seconds that a kernel has to send the message itself, which knows more.
_KERNEL_SECONDS = 20.0


async def send_messages(desk: UpstreamProvider) -> None:
    """Send a message about each run that has ended, and each VM that should be deleted, if the user has set notify."""
    with suppress(LkError, RequestProblem):
        if await asyncio.to_thread(setting, "notify"):
            upstream = await desk.upstream()
            await asyncio.to_thread(_send_messages, upstream.connection)


def _send_messages(connection: Connection) -> None:
    from lk_jupyter.journal.journal import journal  # noqa: PLC0415 (few users want messages)
    from lk_jupyter.journal.messages import end_event, send_once  # noqa: PLC0415
    from lk_jupyter.vms.facts import list_overdue, overdue_line  # noqa: PLC0415
    from lk_jupyter.vms.ids import short_id  # noqa: PLC0415

    since = time.time() - _OLDEST_SECONDS
    for entry in journal().entries(going_on=True, base_url=connection.base_url, since=since):
        with suppress(LkError):
            if entry.execution_id and (line := _format_end(connection, entry)):
                title = f"{entry.title or 'Run'} ({entry.execution_id[:8]}) has ended"
                send_once(end_event(entry.execution_id), title, line)
    for facts in list_overdue(connection.client.now()):
        send_once(f"{facts.active_id}-overdue", f"VM {short_id(facts.active_id)} is still active", overdue_line(facts))


def _format_end(connection: Connection, entry: JournalEntry) -> str:
    """Return state, time and cost of a run that has ended; empty for an active run and for a short one."""
    from lk_jupyter.api.execution import is_final  # noqa: PLC0415 (as above)
    from lk_jupyter.journal.messages import needs_message  # noqa: PLC0415
    from lk_jupyter.protocol.vm_run import parse_run_key  # noqa: PLC0415
    from lk_jupyter.text.units import credits_label, duration_label  # noqa: PLC0415

    execution_id = entry.execution_id or ""
    if key := parse_run_key(execution_id):
        status, billed, seconds = _read_vm_end(connection, key)
    else:
        record = connection.client.execution.get(execution_id)
        age = connection.client.now() - record.end_time.timestamp() if record.end_time else _KERNEL_SECONDS
        if not is_final(record.status) or age < _KERNEL_SECONDS:
            return ""
        status, billed = record.status, record.billed
        start, end = record.start_time, record.end_time
        seconds = (end - start).total_seconds() if start and end else None
    if not status or not needs_message(status, seconds):
        return ""
    facts = [status]
    facts += [] if seconds is None else [duration_label(seconds)]
    facts += [] if billed is None else [credits_label(billed)]
    return f"{' · '.join(facts)}\nLog and results: %lk_attach {execution_id[:8]}"


def _read_vm_end(connection: Connection, key: str) -> tuple[str, Decimal | None, float | None]:
    """Return state, bill and seconds of a run whose VM has ended; an empty state while the VM is active."""
    from lk_jupyter.protocol.vm_run import PREFIX  # noqa: PLC0415 (as above)
    from lk_jupyter.vms.facts import read_facts  # noqa: PLC0415
    from lk_jupyter.vms.hosted import open_run  # noqa: PLC0415

    facts = read_facts(key)
    run = open_run(connection, f"{PREFIX}{key}")
    if not facts.state.get("is_final"):
        run.watch.read()
        if not run.watch.has_failed:
            return "", None, None
    state = run.state()
    if not state.get("is_final"):  # another VM continues the run
        return "", None, None
    seconds = state["ended"] - state["started"] if "started" in state and "ended" in state else None
    return state["status"], run.facts.billed, seconds
